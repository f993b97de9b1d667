"""corpora: can this folder be used, what is in it, what is wrong."""

import json
from argparse import ArgumentParser, Namespace

from ser_core.data.corpora import load_corpora
from ser_core.data.manifest import Corpus


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=["check"])
    parser.add_argument(
        "corpus", metavar="NAME=DIR", help="a layout (ravdess, emodb, nemo, crema_d) or any name for a manifest"
    )
    parser.add_argument("--json", action="store_true")


def run(arguments: Namespace) -> int:
    """Say what was found; exit 2 with the reason when it cannot be used."""
    corpus = load_corpora([arguments.corpus])
    print(json.dumps(_found(corpus), ensure_ascii=False, indent=2) if arguments.json else _in_words(corpus))
    return 0


def _found(corpus: Corpus) -> dict:
    table = corpus.table
    counts = table.pivot_table(index="speaker", columns="emotion", values="path", aggfunc="size", fill_value=0)
    return {
        "corpus": corpus.name,
        "utterances": len(corpus),
        "emotions": list(corpus.emotions),
        "genders": table.groupby("gender")["speaker"].nunique().to_dict(),
        "speakers": {speaker: {word: int(n) for word, n in row.items()} for speaker, row in counts.iterrows()},
        "problems": list(corpus.problems),
    }


def _in_words(corpus: Corpus) -> str:
    table = corpus.table
    counts = table.pivot_table(index="speaker", columns="emotion", values="path", aggfunc="size", fill_value=0)
    genders = ", ".join(f"{n} {gender}" for gender, n in table.groupby("gender")["speaker"].nunique().items())
    head = f"{corpus.name}: {len(corpus)} utterances of {table['speaker'].nunique()} speakers ({genders})"
    return "\n".join(
        [head, counts[[*corpus.emotions]].to_string(), *(f"note: {problem}" for problem in corpus.problems)]
    )
