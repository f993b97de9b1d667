"""corpora: can this folder be used, what is in it, what is wrong."""

import json
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path

import soundfile

from ser_core.data.corpora import load_corpora
from ser_core.data.manifest import BadCorpus, Corpus


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=["check"])
    parser.add_argument(
        "corpus", metavar="NAME=DIR", help="a layout (ravdess, emodb, nemo, crema_d) or any name for a manifest"
    )
    parser.add_argument("--json", action="store_true")


def run(arguments: Namespace) -> int:
    """Say what was found; exit 2 with the reason when it cannot be used."""
    corpus = _with_readable_files(load_corpora([arguments.corpus]))
    print(json.dumps(_found(corpus), ensure_ascii=False, indent=2) if arguments.json else _in_words(corpus))
    return 0


def _with_readable_files(corpus: Corpus) -> Corpus:
    """Look into every file's header.

    Raises:
        BadCorpus: more than one in twenty cannot be read.
    """
    bad = [path for path in corpus.table["path"] if not _has_audio(path)]
    if len(bad) > 0.05 * len(corpus):
        raise BadCorpus(
            f"{corpus.name}: {len(bad)} of {len(corpus)} files hold no audio that can be read here (the first is "
            f"'{Path(bad[0]).name}'); copy the corpus again"
        )
    found = tuple(f"'{Path(path).name}' holds no audio that can be read here" for path in bad)
    return replace(corpus, problems=(*corpus.problems, *found))


def _has_audio(path: str) -> bool:
    try:
        return soundfile.info(path).frames > 0
    except (soundfile.SoundFileRuntimeError, TypeError):
        return False


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
