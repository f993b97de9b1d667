"""Which utterances enrol a speaker, and which remain as targets. An enrolment utterance is never a target.

A choice of enrolment is a table with the columns speaker, emotion, utterance_id, text_id, one row an enrolled utterance.
"""

import numpy as np
import pandas as pd

from ser_core.data.manifest import BadCorpus, Corpus


def first_of_each(corpus: Corpus) -> pd.DataFrame:
    """The alphabetically first utterance of each speaker and class.

    Source: arXiv 2406.06665 and its published code.
    """
    return _choose(corpus, lambda ids: ids.min())


def random_of_each(corpus: Corpus, rng: np.random.Generator) -> pd.DataFrame:
    """One utterance of each speaker and class, drawn at random."""
    return _choose(corpus, lambda ids: rng.choice(sorted(ids)))


def of_another_speaker(choice: pd.DataFrame, speakers: list[str], rng: np.random.Generator) -> pd.DataFrame:
    """A control: every speaker gets somebody else's enrolment (a random cyclic shift of the speakers given).

    The rows keep the utterances of the other; the column 'speaker' says who is (wrongly) enrolled with them.

    Raises:
        BadCorpus: there is no other speaker.
    """
    if len(speakers) < 2:
        raise BadCorpus("another speaker's enrolment needs at least two speakers")
    order = list(rng.permutation(sorted(speakers)))
    other = {speaker: order[(place + 1) % len(order)] for place, speaker in enumerate(order)}
    parts = [choice[choice["speaker"] == other[speaker]].assign(speaker=speaker) for speaker in sorted(speakers)]
    return pd.concat(parts, ignore_index=True)


def target_rows(corpus: Corpus, choice: pd.DataFrame) -> np.ndarray:
    """Which rows may be targets, (N,) bool: of the corpus' classes, not enrolled, and no copy of an enrolled one."""
    enrolled = set(choice["utterance_id"])
    originals = corpus.table["duplicate_of"].dropna()
    copied = {original for copy, original in originals.items() if copy in enrolled}
    copies = {copy for copy, original in originals.items() if original in enrolled | copied}
    usable = corpus.table["emotion"].isin(corpus.emotions)
    return (usable & ~corpus.table.index.isin(enrolled | copies | copied)).to_numpy()


def _choose(corpus: Corpus, pick) -> pd.DataFrame:
    usable = corpus.table[corpus.table["emotion"].isin(corpus.emotions)].reset_index()
    chosen = usable.groupby(["speaker", "emotion"], sort=True)["utterance_id"].agg(pick).reset_index()
    order = {emotion: place for place, emotion in enumerate(corpus.emotions)}
    ordered = chosen.assign(order=chosen["emotion"].map(order)).sort_values(["speaker", "order"])
    text_id = ordered["utterance_id"].map(corpus.table["text_id"])
    return ordered[["speaker", "emotion", "utterance_id"]].assign(text_id=text_id).reset_index(drop=True)
