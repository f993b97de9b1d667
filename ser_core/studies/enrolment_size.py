"""How many utterances of each emotion are enough? 0, 1, 2, 3 or 5 of each, on the same targets.

An open question of arXiv 2406.06665. The largest set is reserved first and never a target, the smaller ones lie within
it. Which utterances are reserved is drawn anew for every seed.
"""

from collections.abc import Iterator

import numpy as np

from ser_core.data.manifest import BadCorpus
from ser_core.inference.predict import Trained
from ser_core.studies.base import NOBODY, Condition, Hear, as_choice, own_cells

TITLE = "How many enrolled utterances of each emotion are enough?"
READING = "To the right more utterances of each emotion are enrolled; the targets are the same at every size."
IN_ORDER = True

SIZES = (1, 2, 3, 5)
_SHARE_OF_CELLS = 0.9


def conditions(trained: Trained, hear: Hear) -> Iterator[Condition]:
    """Nobody, then growing sizes.

    Raises:
        BadCorpus: not even one utterance an emotion can be spared.
    """
    rng = np.random.default_rng([trained.seed, 11])
    cells = [(speaker, emotion, list(rng.permutation(ids))) for speaker, emotion, ids in own_cells(trained)]
    largest = largest_size([len(ids) for *_, ids in cells])
    corpus = trained.utterances.corpus
    if largest == 0:
        raise BadCorpus(
            f"{corpus.name}: most emotions have a single utterance of a speaker; at least two each are needed"
        )
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


def largest_size(n_utterances: list[int]) -> int:
    """The largest of SIZES that nine in ten (speaker, emotion) can give and keep a target; smaller ones give what they can.

    >>> largest_size([8, 8, 4]), largest_size([1, 1])
    (3, 0)
    """
    fits = [size for size in SIZES if np.mean(np.array(n_utterances) > size) >= _SHARE_OF_CELLS]
    return max(fits, default=0)
