"""How many utterances of each emotion are enough? 0, 1, 2, 3 or 5 of each, on the same targets.

An open question of arXiv 2406.06665. The largest set is reserved first and never a target, the smaller ones lie within
it. Which utterances are reserved is drawn anew for every seed.
"""

from collections.abc import Iterator

import numpy as np

from ser_core.data.manifest import BadCorpus, Corpus
from ser_core.inference.predict import Trained
from ser_core.studies.base import Hear
from ser_core.studies.conditions import NOBODY, Condition, as_choice, cells_of

TITLE = "How many enrolled utterances of each emotion are enough?"
READING = "To the right more utterances of each emotion are enrolled; the targets are the same at every size."
IN_ORDER = True

SIZES = (1, 2, 3, 5)
_SHARE_OF_CELLS = 0.9


def conditions(trained: Trained, hear: Hear) -> Iterator[Condition]:
    """Nobody, then growing sizes, the same for all speakers of the corpus."""
    rng = np.random.default_rng([trained.seed, trained.fold, 11])
    corpus = trained.utterances.corpus
    check(corpus)
    cells = [(who, what, list(rng.permutation(ids))) for who, what, ids in cells_of(corpus, trained.speakers)]
    largest = largest_size(sizes_of(corpus))
    of_size = {
        size: as_choice(
            [(speaker, emotion, one) for speaker, emotion, ids in cells for one in ids[: min(size, len(ids) - 1)]],
            corpus,
        )
        for size in SIZES
        if size <= largest
    }
    targets = trained.targets(of_size[largest])
    yield Condition(NOBODY, ((targets, of_size[1].iloc[:0]),), trained.utterances)
    for size, choice in of_size.items():
        yield Condition(f"{size} of each", ((targets, choice),), trained.utterances)


def check(corpus: Corpus) -> None:
    """Raises BadCorpus where not even one utterance an emotion can be spared."""
    if largest_size(sizes_of(corpus)) == 0:
        raise BadCorpus(
            f"{corpus.name}: most emotions have a single utterance of a speaker; at least two each are needed"
        )


def contrast(condition: str) -> str | None:
    """What a condition is compared with, beside nobody: a single utterance of each."""
    return None if condition == "1 of each" else "1 of each"


def sizes_of(corpus: Corpus) -> list[int]:
    """How many utterances each speaker has of each emotion."""
    return [len(ids) for *_, ids in cells_of(corpus, corpus.table["speaker"].unique())]


def largest_size(n_utterances: list[int]) -> int:
    """The largest of SIZES that nine in ten (speaker, emotion) can give and keep a target; smaller ones give what they can.

    >>> largest_size([8, 8, 4]), largest_size([1, 1])
    (3, 0)
    """
    fits = [size for size in SIZES if n_utterances and np.mean(np.array(n_utterances) > size) >= _SHARE_OF_CELLS]
    return max(fits, default=0)
