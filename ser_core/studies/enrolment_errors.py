"""What if the enrolment is wrong? Another speaker's, wrong labels, noise, or one bad utterance among good ones.

An open question of arXiv 2406.06665. Targets are the same under every condition, and clean.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ser_core.data.enrolment import first_of_each
from ser_core.data.manifest import BadCorpus, Corpus
from ser_core.inference.predict import Trained
from ser_core.studies.base import Hear
from ser_core.studies.conditions import Condition, altered, nobody

TITLE = "What if the enrolment is wrong?"
READING = (
    "Each lane is one kind of mistake in the enrolment; the recordings to recognise are the same in all of them, and clean. To "
    "exchange labels within a complete set matters only where recordings vote for their emotion (speaker_reference)."
)
IN_ORDER = False

RIGHT = "right enrolment"
SNRS_DB = (20.0, 10.0, 5.0, 0.0)


def conditions(trained: Trained, hear: Hear) -> Iterator[Condition]:
    """Right, nobody, and every kind of mistake; which utterances are hit is drawn by seed and fold."""
    rng = np.random.default_rng([trained.seed, trained.fold, 12])
    utterances, everybody = trained.utterances, first_of_each(trained.utterances.corpus)
    own = everybody[everybody["speaker"].isin(trained.speakers)].reset_index(drop=True)
    strangers = strangers_for(trained, everybody, rng)
    both = own.merge(
        strangers[["speaker", "emotion"]], on=["speaker", "emotion"]
    )  # what a stranger's could stand in for
    targets = trained.targets(own)
    labels = own["emotion"].to_numpy(dtype=object, copy=True)
    hit = one_of_each_speaker(own[own["utterance_id"].isin(both["utterance_id"])], rng)
    yield Condition(RIGHT, ((targets, own),), utterances)
    yield nobody(trained, targets, own)
    yield Condition("another speaker's, all", ((targets, strangers),), utterances)
    for name, swapped in (
        ("two labels exchanged", two_exchanged(own, rng)),
        ("all labels shuffled", all_moved(own, rng)),
        ("labels drawn at random", rng.choice(sorted(set(labels)), len(labels))),
        ("one bad: wrong label", wrong_at(labels, hit, rng)),
    ):
        longer, choice = altered(utterances, own, name, emotion=swapped)
        yield Condition(name, ((targets, choice),), longer)
    for snr in SNRS_DB:
        noisy = np.stack([hear(_path(utterances, one), snr) for one in own["utterance_id"]])
        longer, choice = altered(utterances, own, f"noise {snr:g}", features=noisy)
        yield Condition(f"noise at {snr:g} dB, all", ((targets, choice),), longer)
    kept = own[~own.index.isin(hit)]
    stranger = _same_cells(own.loc[hit], strangers)
    yield Condition("one bad: another speaker's", ((targets, pd.concat([kept, stranger])),), utterances)
    struck = own.loc[hit]
    noisy = np.stack([hear(_path(utterances, one), SNRS_DB[-1]) for one in struck["utterance_id"]])
    longer, choice = altered(utterances, struck, "one noisy", features=noisy)
    yield Condition(f"one bad: noise at {SNRS_DB[-1]:g} dB", ((targets, pd.concat([kept, choice])),), longer)


def check(corpus: Corpus) -> None:
    """Raises BadCorpus where there is no other speaker, or no other emotion, to make a mistake with."""
    n_speakers = corpus.table["speaker"].nunique()
    if n_speakers < 2 or len(corpus.emotions) < 2:
        raise BadCorpus(
            f"{corpus.name} has {n_speakers} speaker(s) and {len(corpus.emotions)} emotion(s) to look at; at least 2 of both are needed"
        )


def contrast(condition: str) -> str | None:
    """What a condition is compared with, beside nobody: the right enrolment."""
    return None if condition == RIGHT else RIGHT


def strangers_for(trained: Trained, everybody: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Somebody else's enrolment for each of the network's speakers: of the same corpus, and unheard as well, where possible."""
    corpus_of = trained.utterances.corpus.table.groupby("speaker")["corpus"].first()
    parts = []
    for speaker in sorted(set(everybody["speaker"]) & set(trained.speakers)):
        others = sorted(set(everybody["speaker"]) - {speaker})
        alike = [other for other in others if corpus_of[other] == corpus_of[speaker]] or others
        alike = [other for other in alike if other in trained.speakers] or alike
        parts.append(everybody[everybody["speaker"] == rng.choice(alike)].assign(speaker=speaker))
    return pd.concat(parts, ignore_index=True)


def one_of_each_speaker(choice: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Index of one enrolled utterance of each speaker."""
    return np.array([rng.choice(part.index) for _, part in choice.groupby("speaker", sort=True)])


def two_exchanged(choice: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """The labels with two of each speaker's exchanged."""
    labels = choice["emotion"].to_numpy(dtype=object, copy=True)
    for _, part in choice.groupby("speaker", sort=True):
        if len(part) > 1:
            one, other = rng.choice(part.index, 2, replace=False)
            labels[[one, other]] = labels[[other, one]]
    return labels


def all_moved(choice: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """The labels with none of each speaker's at its place (a cycle of random order)."""
    labels = choice["emotion"].to_numpy(dtype=object, copy=True)
    for _, part in choice.groupby("speaker", sort=True):
        order = rng.permutation(part.index)
        labels[order] = labels[np.roll(order, 1)]
    return labels


def wrong_at(labels: np.ndarray, hit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The labels with some replaced by another one of those that occur."""
    labels, known = labels.copy(), sorted(set(labels))
    for place in hit:
        labels[place] = rng.choice([word for word in known if word != labels[place]])
    return labels


def _same_cells(wanted: pd.DataFrame, among: pd.DataFrame) -> pd.DataFrame:
    """The rows of the same speaker and emotion; none where the stranger lacks the emotion."""
    return wanted[["speaker", "emotion"]].merge(among, on=["speaker", "emotion"], how="inner")


def _path(utterances, utterance_id: str) -> str:
    return utterances.corpus.table.loc[utterance_id, "path"]
