"""SAMPLERS: in which order targets are drawn, and with which enrolment each of them is seen."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np

from ser_core.data.batches import Utterances

Draw = tuple[np.ndarray, list[np.ndarray]]
"""Rows of the targets (B,), and for each the rows of its enrolment."""

Sampler = Callable[[Utterances, np.ndarray, Mapping[str, np.ndarray], int, np.random.Generator], Iterator[Draw]]
"""(utterances, rows that may be targets, fixed enrolment rows of each speaker, batch size, rng) to one epoch."""

_NOBODY = np.empty(0, dtype=np.int64)


def in_order(utterances: Utterances, targets: np.ndarray, enrolment: Mapping[str, np.ndarray], batch_size: int):
    """Every target once, in order, with its speaker's fixed enrolment: how predictions are made."""
    speakers = utterances.corpus.table["speaker"].to_numpy()
    for start in range(0, len(targets), batch_size):
        rows = targets[start : start + batch_size]
        yield rows, [enrolment.get(speakers[row], _NOBODY) for row in rows]


def draw(
    utterances: Utterances,
    targets: np.ndarray,
    enrolment: Mapping[str, np.ndarray],
    batch_size: int,
    rng: np.random.Generator,
    *,
    balanced: bool,
    episodes: bool,
) -> Iterator[Draw]:
    """One epoch: as many targets as there are.

    Args:
        utterances: what is drawn from.
        targets: rows that may be targets.
        enrolment: each speaker's fixed enrolment.
        batch_size: targets in a batch.
        rng: the only source of chance.
        balanced: corpora equally often, and inside each corpus its emotions; else each target once.
        episodes: a fresh enrolment for each target (see `_Episodes`); else the speaker's fixed one.
    """
    order = rng.permutation(targets)
    if balanced:
        order = rng.choice(targets, size=len(targets), p=_balance(utterances, targets))
    fresh = _Episodes(utterances, targets, enrolment, rng) if episodes else None
    for rows, fixed in in_order(utterances, order, enrolment, batch_size):
        yield rows, [fresh.enrolment_for(row) for row in rows] if fresh else fixed


def draw_grouped(
    utterances: Utterances,
    targets: np.ndarray,
    enrolment: Mapping[str, np.ndarray],
    batch_size: int,
    rng: np.random.Generator,
) -> Iterator[Draw]:
    """One epoch, each target once with its speaker's fixed enrolment, four speakers at a time.

    So that an encoder that learns hears few enrolled utterances a batch: each is heard once, whomever it serves.
    """
    speakers = utterances.corpus.table["speaker"].to_numpy()[targets]
    order = rng.permutation(np.unique(speakers))
    groups = [rng.permutation(targets[np.isin(speakers, order[at : at + 4])]) for at in range(0, len(order), 4)]
    yield from in_order(utterances, np.concatenate(groups), enrolment, batch_size)


def draw_undersampled(
    utterances: Utterances,
    targets: np.ndarray,
    enrolment: Mapping[str, np.ndarray],
    batch_size: int,
    rng: np.random.Generator,
) -> Iterator[Draw]:
    """One epoch with at most as many targets of each label as the rarest class has, drawn anew every epoch.

    Source: arXiv 2506.10930, section 4.3, which undersamples the majority classes; that "other" and "no agreement" are
    drawn like classes is our reading.
    """
    label = utterances.corpus.table["emotion"].fillna("").to_numpy()[targets]
    groups = [rng.permutation(targets[label == name]) for name in np.unique(label)]
    rarest = min(len(group) for group in groups if utterances.emotion[group[0]] >= 0)
    order = rng.permutation(np.concatenate([group[:rarest] for group in groups]))
    yield from in_order(utterances, order, enrolment, batch_size)


def draw_mixed(
    utterances: Utterances,
    targets: np.ndarray,
    enrolment: Mapping[str, np.ndarray],
    batch_size: int,
    rng: np.random.Generator,
) -> Iterator[Draw]:
    """One epoch, as many targets as there are, in batches that hold every corpus, and every group in it, equally often.

    Each group is gone through in random order, again and again. Utterances of unknown group count as a group of their own where
    they have an emotion to learn from, and are left out where they have none (unless nobody's group is known).
    """
    useful = targets[(utterances.group[targets] >= 0) | (utterances.emotion[targets] >= 0)]
    pool = useful if len(useful) else targets
    corpora = [pool[utterances.source[pool] == one] for one in np.unique(utterances.source[pool])]
    turns = [[rows[utterances.group[rows] == one] for one in np.unique(utterances.group[rows])] for rows in corpora]
    n_each = -(-len(targets) // len(turns))
    ways = [_in_turn([_again_and_again(rows, rng) for rows in groups], n_each) for groups in turns]
    order = np.stack(ways, axis=1).ravel()[: len(targets)]
    yield from in_order(utterances, order, enrolment, batch_size)


def _in_turn(streams: list[Iterator[int]], n: int) -> np.ndarray:
    """n rows, one of each stream after the other."""
    return np.array([next(streams[place % len(streams)]) for place in range(n)], dtype=np.int64)


def _again_and_again(rows: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(rows).tolist()


def draw_same_speaker(
    utterances: Utterances,
    targets: np.ndarray,
    enrolment: Mapping[str, np.ndarray],
    batch_size: int,
    rng: np.random.Generator,
    *,
    n_each: int = 32,
    filled: bool = True,
) -> Iterator[Draw]:
    """One epoch in batches of a few speakers with `n_each` utterances each.

    Args:
        utterances, targets, enrolment, batch_size, rng: as for `draw`.
        n_each: utterances of a speaker.
        filled: a last handful of a speaker is filled up with utterances drawn again; else a speaker's are dealt into handfuls
            of about that many, and none stands twice in an epoch.
    """
    n_each = min(n_each, batch_size)
    handfuls: list[np.ndarray] = []
    for speaker in np.unique(utterances.speaker[targets]):
        own = rng.permutation(targets[utterances.speaker[targets] == speaker])
        n_more = -len(own) % n_each if filled else 0
        own = np.concatenate([own, rng.choice(own, n_more)])
        handfuls.extend(np.array_split(own, max(1, round(len(own) / n_each))))
    order, at_once = rng.permutation(len(handfuls)), batch_size // n_each
    for start in range(0, len(order), at_once):
        rows = np.concatenate([handfuls[place] for place in order[start : start + at_once]])
        yield from in_order(utterances, rows, enrolment, len(rows))


def _balance(utterances: Utterances, targets: np.ndarray) -> np.ndarray:
    cells = utterances.corpus.table.iloc[targets].groupby(["corpus", "emotion"], sort=False, dropna=False)
    per_cell = cells["speaker"].transform("size").to_numpy()
    corpora = utterances.corpus.table["corpus"].iloc[targets]
    n_cells = corpora.map(cells.size().groupby("corpus").size()).to_numpy()
    weight = 1.0 / (per_cell * n_cells)
    return weight / weight.sum()


class _Episodes:
    """Enrolments as people will give them: any utterance of a class, some classes missing, another sentence.

    A target is never in its own enrolment. Where the speaker has said other sentences, the enrolled ones differ from the
    target's, so that a method cannot learn to compare sentences.
    """

    P_MISSING = 0.15
    P_FEW = 0.15
    """How often only one to three utterances are enrolled."""

    def __init__(self, utterances, targets, enrolment, rng):
        table = utterances.corpus.table
        self.rng = rng
        self.texts = table["text_id"].fillna("").astype(str).to_numpy()
        self.speakers = table["speaker"].to_numpy()
        pool = np.unique(np.concatenate([targets, *enrolment.values()]))
        self.pools: dict[str, list[np.ndarray]] = {}
        for speaker in np.unique(self.speakers[pool]):
            own = pool[self.speakers[pool] == speaker]
            own = own[utterances.emotion[own] >= 0]
            self.pools[speaker] = [own[utterances.emotion[own] == code] for code in np.unique(utterances.emotion[own])]

    def enrolment_for(self, row: int) -> np.ndarray:
        classes = self.pools[self.speakers[row]]
        keep = self.rng.random(len(classes)) >= self.P_MISSING
        if self.rng.random() < self.P_FEW:
            keep[:] = False
            keep[self.rng.permutation(len(classes))[: self.rng.integers(1, 4)]] = True
        chosen = [self._pick(rows, row) for rows, kept in zip(classes, keep, strict=True) if kept]
        return np.array([pick for pick in chosen if pick >= 0], dtype=np.int64)

    def _pick(self, rows: np.ndarray, target: int) -> int:
        """One of the rows at random: of another sentence if there is one, never the target; -1 if there is none."""
        others = rows[(self.texts[rows] != self.texts[target]) | (self.texts[rows] == "")]
        others = others if len(others) else rows
        others = others[others != target]
        return int(others[self.rng.integers(len(others))]) if len(others) else -1


SAMPLERS: dict[str, Sampler] = {
    "shuffled": partial(draw, balanced=False, episodes=False),
    "balanced": partial(draw, balanced=True, episodes=False),
    "episodes": partial(draw, balanced=False, episodes=True),
    "balanced_episodes": partial(draw, balanced=True, episodes=True),
    "grouped": draw_grouped,
    "undersampled": draw_undersampled,
    "mixed": draw_mixed,
    "same_speaker": draw_same_speaker,
}
