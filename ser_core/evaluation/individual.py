"""Fairness to individuals: how evenly speakers are served.

Sources: arXiv 2406.06665, section 3; its published code for the two readings of UAR per speaker.
"""

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.metrics import recall_score

from ser_core.evaluation.performance import uar

Reading = Literal["spoken", "audmetric"]


def speaker_uar(predictions: pd.DataFrame, reading: Reading = "spoken") -> pd.Series:
    """UAR of each speaker, indexed by speaker.

    Args:
        predictions: columns speaker, emotion, predicted_emotion.
        reading: 'spoken' averages over the classes the speaker has spoken; 'audmetric' counts a class that was
            predicted but never spoken as recall 0, as the authors of arXiv 2406.06665 do. Never mix them in one table.
    """
    return pd.Series(
        {
            speaker: _READINGS[reading](part["emotion"], part["predicted_emotion"])
            for speaker, part in predictions.groupby("speaker")
        },
        name="uar",
        dtype=float,
    )


def gini(utilities: ArrayLike) -> float:
    """Gini coefficient, 0.5 · mean|x_i − x_j| / mean(x): 0 when all are served alike, towards 1 when few have it all.

    nan where nobody has anything.

    >>> gini([0.0, 1.0])
    0.5
    """
    x = np.asarray(utilities, dtype=float)
    if len(x) == 0 or x.mean() == 0:
        return float("nan")
    return float(0.5 * np.abs(x[:, None] - x[None]).mean() / x.mean())


def _spoken_or_predicted(truth: ArrayLike, prediction: ArrayLike) -> float:
    labels = np.union1d(np.asarray(truth), np.asarray(prediction))
    return float(recall_score(truth, prediction, labels=labels, average="macro", zero_division=0))


_READINGS = {"spoken": uar, "audmetric": _spoken_or_predicted}
