"""Does it matter which utterances are enrolled? Random draws; the same sentence or another; the same take or another.

Sentences, takes and recording days are looked at where the manifest knows them and every speaker has two of them. One
utterance of each emotion is reserved on either side and never a target; each target is then recognised with the
enrolment of its own side, and with that of the other: the same targets, and as many enrolled.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ser_core.data.enrolment import first_of_each, random_of_each
from ser_core.data.manifest import Corpus
from ser_core.figures.studies import DRAW
from ser_core.inference.predict import Trained
from ser_core.studies.base import Hear
from ser_core.studies.conditions import Condition, as_choice, nobody

TITLE = "Does it matter which utterances are enrolled?"
READING = (
    "Sentence and take: each recording is recognised with an enrolment that shares its sentence (take), and with one that "
    "does not, on the same recordings. Draws: twenty random choices of enrolment, each with the recordings that it leaves."
)
IN_ORDER = False

N_DRAWS = 20
SIDES = {"text_id": "sentence", "recording_day": "recording day", "session": "session", "take": "take"}
"""Columns with two sides, and what they are called; 'take' (repetitions) stands in for recording days."""


def conditions(trained: Trained, hear: Hear) -> Iterator[Condition]:
    """The alphabetical choice, nobody, both sides of whatever the manifest knows, random draws."""
    corpus, utterances = trained.utterances.corpus, trained.utterances
    first = first_of_each(corpus)
    targets = trained.targets(first)
    yield Condition("the first of each (arXiv 2406.06665)", ((targets, first),), utterances)
    yield nobody(trained, targets, first)
    for column, words in SIDES.items():
        sides = two_sides(trained, column)
        if sides is not None:
            yield from _same_and_other(trained, column, words, sides)
    for draw in range(N_DRAWS):
        choice = random_of_each(corpus, np.random.default_rng([draw, 2]))
        yield Condition(f"{DRAW} {draw + 1}", ((trained.targets(choice), choice),), utterances)


def check(corpus: Corpus) -> None:
    """Nothing is needed that cross-validation does not need anyway."""


def contrast(condition: str) -> str | None:
    """What a condition is compared with, beside nobody: another sentence (take …) with the same one."""
    return condition.replace("another ", "same ", 1) if condition.startswith("another ") else None


def two_sides(trained: Trained, column: str) -> dict[str, pd.DataFrame] | None:
    """One enrolled utterance of each emotion on both sides of a column, for the network's speakers.

    None where the column has not two values, or some speaker of the corpus lacks an emotion on one side.
    """
    corpus = trained.utterances.corpus
    table = corpus.table
    if column not in table:
        return None
    own = table[table["emotion"].isin(corpus.emotions) & table["duplicate_of"].isna()]
    values = sorted(own[column].dropna().astype(str).unique())
    if len(values) != 2:
        return None
    cells = own.groupby(["speaker", "emotion", own[column].astype(str)])
    if len(cells) < 2 * own.groupby(["speaker", "emotion"]).ngroups or cells.size().min() < 2:
        return None
    first = {key: min(part.index) for key, part in cells if key[0] in trained.speakers}
    return {
        value: as_choice([(key[0], key[1], one) for key, one in first.items() if key[2] == value], corpus)
        for value in values
    }


def _same_and_other(trained: Trained, column: str, words: str, sides: dict[str, pd.DataFrame]) -> Iterator[Condition]:
    reserved = pd.concat(sides.values(), ignore_index=True)
    targets = trained.targets(reserved)
    side_of = trained.utterances.corpus.table[column].astype(str).to_numpy()[targets]
    one, other = sides
    for name, pairs in (
        (f"same {words}", ((one, one), (other, other))),
        (f"another {words}", ((one, other), (other, one))),
    ):
        parts = tuple((targets[side_of == here], sides[enrolled]) for here, enrolled in pairs)
        yield Condition(name, parts, trained.utterances)
