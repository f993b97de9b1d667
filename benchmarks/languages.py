"""How surely the text encoder notices that a text is not English: `python benchmarks/languages.py --sentences DIR --corpus NAME=DIR …`

Sentences of five words or more count; prints what share of each source is taken for another language.
"""

import argparse

import pandas as pd

from ser_core.data.corpora import load_corpora
from ser_core.data.sentences import read_sentences
from ser_core.encoders.text import load_text_encoder


def main() -> None:
    """Print a line a source."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sentences", required=True, help="a folder of English sentences (data/sentences.py)")
    parser.add_argument("--corpus", action="append", default=[], metavar="NAME=DIR")
    arguments = parser.parse_args()
    encoder = load_text_encoder("minilm")
    sources = {"English comments": read_sentences(arguments.sentences).table["text"].iloc[:10_000]}
    for named in arguments.corpus:
        table = load_corpora([named]).table
        sources[f"{table['corpus'].iloc[0]} ({table['language'].iloc[0]})"] = pd.Series(table["text"].dropna().unique())
    for name, texts in sources.items():
        long = [text for text in texts if len(text.split()) >= 5]
        foreign = sum("English" in encoder.reading(text).note for text in long)
        print(f"{name}: {foreign} of {len(long)} taken for another language")


if __name__ == "__main__":
    main()
