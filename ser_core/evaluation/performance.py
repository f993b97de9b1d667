"""How well a method does: unweighted average recall and its relatives."""

import warnings

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import recall_score


def uar(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Unweighted average recall over the classes that occur in the truth: 0 to 1, chance is 1 / classes.

    >>> uar(["anger", "anger", "fear"], ["anger", "fear", "fear"])
    0.75
    """
    truth = np.asarray(truth)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(
            recall_score(truth, np.asarray(prediction), labels=np.unique(truth), average="macro", zero_division=0)
        )
