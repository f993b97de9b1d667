"""How well a method does: unweighted average recall and its relatives."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def uar(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Unweighted average recall over the classes that occur in the truth: 0 to 1, chance is 1 / classes.

    >>> uar(["anger", "anger", "fear"], ["anger", "fear", "fear"])
    0.75
    """
    from sklearn.metrics import recall_score  # a second to import: the app shows its page first

    truth = np.asarray(truth)
    return float(recall_score(truth, np.asarray(prediction), labels=np.unique(truth), average="macro", zero_division=0))


def accuracy(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Share of utterances that are recognised, 0 to 1: large classes count more.

    >>> accuracy(["anger", "anger", "fear", "fear"], ["anger", "fear", "fear", "fear"])
    0.75
    """
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(truth, prediction))


def macro_f1(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Mean over the classes that occur in the truth of the harmonic mean of precision and recall, 0 to 1.

    >>> macro_f1(["anger", "fear"], ["anger", "fear"])
    1.0
    """
    from sklearn.metrics import f1_score

    truth = np.asarray(truth)
    return float(f1_score(truth, prediction, labels=np.unique(truth), average="macro", zero_division=0))


def confusion(truth: ArrayLike, prediction: ArrayLike, emotions: Sequence[str]) -> np.ndarray:
    """How often each class (row) was taken for which (column), (C, C) int."""
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(truth, prediction, labels=list(emotions))


def ccc(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Concordance correlation coefficient, 2 cov / (var + var + (difference of means)²), with moments over N: −1 to 1.

    nan for fewer than two values, values that are not finite, or where neither truth nor prediction varies.

    Source: Lin 1989, Biometrics 45(1); used as in arXiv 2309.02418, section 3.

    >>> ccc([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    1.0
    """
    x, y = np.asarray(truth, dtype=float), np.asarray(prediction, dtype=float)
    if len(x) < 2 or not (np.isfinite(x).all() and np.isfinite(y).all()) or np.ptp(x) == np.ptp(y) == 0:
        return float("nan")
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    return float(2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))


def ccc_of_rated(truth: ArrayLike, prediction: ArrayLike) -> float:
    """`ccc` over the utterances that were rated: a truth of nan does not count.

    >>> ccc_of_rated([1.0, 2.0, 3.0, float("nan")], [1.0, 2.0, 3.0, 9.0])
    1.0
    """
    x, y = np.asarray(truth, dtype=float), np.asarray(prediction, dtype=float)
    return ccc(x[~np.isnan(x)], y[~np.isnan(x)])


def recalls(counts: np.ndarray) -> np.ndarray:
    """Recall of each class from confusion counts (…, C, C), truth by prediction: (…, C), nan for a class nobody spoke."""
    spoken = counts.sum(axis=-1)
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    return np.divide(right, spoken, out=np.full(spoken.shape, np.nan), where=spoken > 0)


def mean_where_known(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of the values that are numbers; nan where none is."""
    known = ~np.isnan(values)
    n = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.divide(total, n, out=np.full(np.shape(n), np.nan), where=n > 0)


def uar_of_counts(counts: np.ndarray) -> np.ndarray:
    """UAR from confusion counts (…, C, C), as `uar` gives it, for many speakers or resamples at once: (…)."""
    return mean_where_known(recalls(counts))
