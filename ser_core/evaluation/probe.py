"""What can be read off an embedding: a small classifier, trained anew, guesses emotion, gender or speaker from it.

Source: the question "is gender gone?" of arXiv 2501.00995. The answer of a network's own adversary is none: it was trained
against, and one that is right in 35 % of two classes is not neutral (flip its answers and it is right in 65 %). So the
probe is trained afresh on frozen embeddings, and measured on utterances it has not learned from. What it finds is there;
whether the network uses it is another question, and what it does not find, a stronger probe might.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from ser_core.evaluation.performance import mean_where_known, uar
from ser_core.evaluation.statistics import UNKNOWN, Interval, interval, resampled

MIN_GROUPS = 3
"""A class that fewer speakers (or, where speakers need not stay apart, fewer utterances) have is neither learned nor asked."""

MIN_FOR_INTERVAL = 5
"""With fewer speakers an interval would be a guess itself."""

N_FOLDS = 5


class BadEmbeddings(ValueError):
    """Embeddings that no probe can learn from."""


@dataclass(frozen=True)
class Probed:
    """How well a probe did; every number is nan where it is not estimable.

    Attributes:
        balanced_accuracy: mean recall over the classes asked, 0 to 1.
        interval: 95 %, resampling the groups (speakers); unknown with fewer than MIN_FOR_INTERVAL.
        chance: what guessing reaches, 1 / classes.
        n_utterances, n_classes, n_groups: that were asked.
    """

    balanced_accuracy: float
    interval: Interval
    chance: float
    n_utterances: int
    n_classes: int
    n_groups: int


def probe(
    embeddings: ArrayLike, labels: ArrayLike, groups: ArrayLike | None = None, scored: ArrayLike | None = None
) -> Probed:
    """Cross-validated balanced accuracy of a fresh linear probe; arguments as for `ask`."""
    return score(ask(embeddings, labels, groups, scored))


def ask(
    embeddings: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike | None = None,
    scored: ArrayLike | None = None,
    kind: str = "linear",
) -> pd.DataFrame:
    """What a fresh probe answers to utterances it has not learned from.

    Args:
        embeddings: (N, D).
        labels: what is to be guessed, (N,); rows without one (None, nan) are left out.
        groups: who must not be on both sides, (N,): the speakers. None keeps only the utterances apart.
        scored: which rows are asked, (N,) bool; the others are only learned from. All if None.
        kind: one of PROBES.

    Returns:
        One row an utterance asked, indexed by its place: label, predicted, group, chance. Empty where it is not estimable.

    Raises:
        BadEmbeddings: rows out of step, or values that are not numbers.
    """
    x, y = np.asarray(embeddings, dtype=float), np.asarray(labels, dtype=object)
    g = np.arange(len(y)) if groups is None else np.asarray(groups)
    asked = np.ones(len(y), dtype=bool) if scored is None else np.asarray(scored, dtype=bool)
    _check(x, y, g, asked)
    usable = _usable(y, g)
    place, x, y, g, asked = np.flatnonzero(usable), x[usable], y[usable].astype(str), g[usable], asked[usable]
    classes, make = np.unique(y), PROBES[kind]
    with threadpool_limits(limits=1):  # small matrices: 40 times quicker than two threads on busy cores, and repeatable
        parts = (
            [_fold(x, y, g, held_out, asked, place, make) for held_out in _folds(y, g, asked)]
            if len(classes) > 1
            else []
        )
    empty = pd.DataFrame({"label": [], "predicted": [], "group": []}, dtype=object)
    return pd.concat([part for part in parts if len(part)] or [empty]).assign(chance=1 / max(1, len(classes)))


def score(answers: pd.DataFrame) -> Probed:
    """Balanced accuracy of a table of answers; several networks' tables may be joined before."""
    if answers.empty:
        return Probed(float("nan"), UNKNOWN, float("nan"), 0, 0, 0)
    return Probed(
        balanced_accuracy=uar(answers["label"], answers["predicted"]),
        interval=_interval(answers),
        chance=float(answers.groupby("label")["chance"].mean().mean()),
        n_utterances=len(answers),
        n_classes=answers["label"].nunique(),
        n_groups=answers["group"].nunique(),
    )


def _check(x: np.ndarray, y: np.ndarray, g: np.ndarray, asked: np.ndarray) -> None:
    if x.ndim != 2 or not len(x) == len(y) == len(g) == len(asked):
        raise BadEmbeddings(
            f"embeddings of shape {x.shape} beside {len(y)} labels, {len(g)} groups and {len(asked)} marks; one row of (N, D) "
            f"for each of them was expected"
        )
    if not np.isfinite(x).all():
        raise BadEmbeddings("some embeddings hold values that are not numbers; look at the network that made them")


def _usable(y: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Rows with a label that enough groups have, (N,) bool."""
    table = pd.DataFrame({"label": y, "group": g})
    return (table.groupby("label")["group"].transform("nunique") >= MIN_GROUPS).to_numpy()


def _folds(y: np.ndarray, g: np.ndarray, asked: np.ndarray) -> Iterator[np.ndarray]:
    """Which groups are held out, fold after fold; where a group has one class (gender), classes are dealt out evenly."""
    label_of = pd.Series(y[asked]).groupby(g[asked]).agg(["first", "nunique"])
    names, labels = label_of.index.to_numpy(), label_of["first"].to_numpy()
    fewest = min(np.unique(labels, return_counts=True)[1]) if len(labels) else 0
    if (label_of["nunique"] == 1).all() and fewest > 1:
        split = StratifiedKFold(min(N_FOLDS, fewest), shuffle=True, random_state=0).split(names, labels)
    elif len(names) > 1:
        split = KFold(min(N_FOLDS, len(names)), shuffle=True, random_state=0).split(names)
    else:
        split = [(None, np.arange(len(names)))]
    for _, held_out in split:
        yield names[held_out]


def _fold(x, y, g, held_out: np.ndarray, asked: np.ndarray, place: np.ndarray, make) -> pd.DataFrame:
    """Learn from all groups but those held out, ask about these; a class that is not learned is not asked."""
    learned = ~np.isin(g, held_out)
    rows = ~learned & asked & np.isin(y, y[learned])
    predicted = (
        make().fit(x[learned], y[learned]).predict(x[rows]) if len(np.unique(y[learned])) > 1 and rows.any() else []
    )
    rows = rows if len(predicted) else np.zeros(len(y), dtype=bool)
    return pd.DataFrame({"label": y[rows], "predicted": predicted, "group": g[rows]}, index=place[rows], dtype=object)


def _linear() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2_000))


def _kernel() -> Pipeline:
    return make_pipeline(StandardScaler(), SVC(class_weight="balanced"))


PROBES: dict[str, Callable[[], Pipeline]] = {"linear": _linear, "kernel": _kernel}
"""Standardise, then a logistic regression; or a support vector machine, whose radial kernel finds what lies along no line."""


def _interval(answers: pd.DataFrame) -> Interval:
    """Resample the groups; without one of the classes a resample says nothing, unless the groups are the classes."""
    right = answers["label"] == answers["predicted"]
    cells = right.groupby([answers["group"], answers["label"]])
    n_right, n_asked = (cells.agg(what).unstack(fill_value=0).to_numpy(dtype=float) for what in ("sum", "count"))
    if len(n_asked) < MIN_FOR_INTERVAL:
        return UNKNOWN
    times = resampled(len(n_asked))
    recall = np.divide(
        times @ n_right, counted := times @ n_asked, out=np.full(counted.shape, np.nan), where=counted > 0
    )
    whole = (counted > 0).all(axis=1) | (answers["group"] == answers["label"]).all()
    return interval(np.where(whole, mean_where_known(recall), np.nan), len(n_asked))
