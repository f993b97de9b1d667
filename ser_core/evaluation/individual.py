"""Fairness to individuals: how evenly speakers are served.

Sources: arXiv 2406.06665, section 3, and its published code, for Gini, isoelastic welfare and the two readings of UAR per
speaker. The Gini of equally able speakers (its floor, and what exceeds it) is ours.
"""

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ser_core.evaluation.counts import Counts, count
from ser_core.evaluation.performance import recalls, uar_of_counts

Reading = Literal["spoken", "audmetric"]

ALPHAS = (0.0, 1.0, 2.0, 5.0)
"""Aversions to inequality that are reported by name; 0 is the mean, 1 the geometric mean, large ones near the minimum."""

CURVE = tuple(np.round(np.concatenate([np.arange(0, 5, 0.25), np.arange(5, 30.5, 1)]), 2).tolist())
"""Aversions at which the curve is drawn."""

N_EQUAL_WORLDS = 500


def speaker_uar(predictions: pd.DataFrame, reading: Reading = "spoken") -> pd.Series:
    """UAR of each speaker, indexed by speaker; seeds, if several, are pooled.

    Args:
        predictions: columns speaker, emotion, predicted_emotion.
        reading: 'spoken' averages over the classes the speaker has spoken; 'audmetric' counts a class that was
            predicted but never spoken as recall 0, as the authors of arXiv 2406.06665 do. Never mix them in one table.
    """
    counts = count(predictions.assign(seed=0))
    return pd.Series(uar_per_speaker(counts, reading)[:, 0], index=list(counts.speakers), name="uar", dtype=float)


def uar_per_speaker(counts: Counts, reading: Reading = "spoken") -> np.ndarray:
    """UAR of each speaker and seed, (S, R), by one of the two readings of `speaker_uar`."""
    return _READINGS[reading](counts.table)


def gini(utilities: ArrayLike) -> float:
    """Gini coefficient, 0.5 · mean|x_i − x_j| / mean(x): 0 when all are served alike, towards 1 when few have it all.

    nan where nobody has anything.

    >>> gini([0.0, 1.0])
    0.5
    """
    return float(gini_of_rows(np.asarray(utilities, dtype=float)[None])[0])


def gini_of_rows(utilities: np.ndarray) -> np.ndarray:
    """Gini coefficient of each row of (B, S), from the sorted values: Σ (2 i − S − 1) x_i / (S Σ x)."""
    x = np.sort(np.asarray(utilities, dtype=float), axis=-1)
    n = x.shape[-1]
    total = x.sum(axis=-1)
    weighted = ((2 * np.arange(1, n + 1) - n - 1) * x).sum(axis=-1)
    return np.divide(weighted, n * total, out=np.full(total.shape, np.nan), where=total > 0)


def gini_floor(counts: Counts, rng: np.random.Generator, n_worlds: int = N_EQUAL_WORLDS) -> float:
    """Gini that equally able speakers would show with as few utterances, mean over simulated worlds and seeds.

    In such a world every speaker recognises each class with the recall that all speakers have together; how many of
    the speaker's utterances of the class are right is binomial.
    """
    return float(np.mean([_floor_of_seed(counts.table[:, r], rng, n_worlds) for r in range(len(counts.seeds))]))


def _floor_of_seed(counts: np.ndarray, rng: np.random.Generator, n_worlds: int) -> float:
    spoken = counts.sum(axis=-1)  # (S, C)
    ability = np.nan_to_num(recalls(counts.sum(axis=0)))
    right = rng.binomial(spoken, ability, size=(n_worlds, *spoken.shape))
    recall = np.divide(right, spoken, out=np.zeros(right.shape), where=spoken > 0)
    utilities = recall.sum(axis=-1) / np.maximum(1, (spoken > 0).sum(axis=-1))
    return float(np.nanmean(gini_of_rows(utilities))) if utilities.any() else float("nan")


def lorenz(utilities: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Lorenz curve: the share of all UAR that the worst-served share of speakers has; on the diagonal all have the same.

    Returns:
        shares of speakers and of UAR, (S + 1,) each, from 0 to 1.
    """
    x = np.sort(np.asarray(utilities, dtype=float))
    total = x.sum()
    share = np.concatenate([[0.0], np.cumsum(x) / total if total > 0 else np.full(len(x), np.nan)])
    return np.linspace(0, 1, len(x) + 1), share


def isoelastic_welfare(utilities: ArrayLike, alpha: float) -> float:
    """Isoelastic social welfare, (mean x^(1 − α))^(1 / (1 − α)): the mean at α = 0, the geometric mean at 1, then towards the minimum.

    One speaker at 0 makes it 0 from α = 1 on. Computed in log space. nan without speakers.

    >>> isoelastic_welfare([0.25, 1.0], 1.0)
    0.5
    """
    x = np.asarray(utilities, dtype=float)
    if len(x) == 0 or np.isnan(x).any():
        return float("nan")
    if alpha == 0:
        return float(x.mean())
    if x.min() == 0 and (alpha >= 1 or x.max() == 0):
        return 0.0
    log = np.log(x[x > 0])
    if alpha == 1:
        return float(np.exp(log.mean()))
    power = (1 - alpha) * log
    top = power.max()
    return float(np.exp((top + np.log(np.exp(power - top).sum() / len(x))) / (1 - alpha)))


def share_worse(before: pd.Series, after: pd.Series) -> float:
    """Share of speakers whose UAR fell, 0 to 1; nan without speakers.

    >>> share_worse(pd.Series({"a": 0.5, "b": 0.5}), pd.Series({"a": 0.4, "b": 0.6}))
    0.5
    """
    return float((after < before[after.index] - 1e-9).mean()) if len(after) else float("nan")


def worst(utilities: pd.Series, k: int = 3) -> list[str]:
    """The k worst-served speakers, the worst first."""
    return [str(speaker) for speaker in utilities.sort_values(kind="stable").index[:k]]


def interval_of_speakers(counts: Counts) -> np.ndarray:
    """95 % interval of each speaker's UAR over other utterances of theirs, (S, 2), within 0 and 1.

    Normal approximation; the variance of a class is that of a binomial share with half an utterance added on both
    sides, so that a speaker with all utterances right does not look certain. Seeds are averaged.
    """
    table = counts.table.mean(axis=1)
    spoken = table.sum(axis=-1)
    right = np.diagonal(table, axis1=-2, axis2=-1)
    share = (right + 0.5) / (spoken + 1)
    variance = np.divide(share * (1 - share), spoken, out=np.zeros(spoken.shape), where=spoken > 0)
    half = 1.96 * np.sqrt(variance.sum(axis=-1)) / np.maximum(1, (spoken > 0).sum(axis=-1))
    centre = uar_per_speaker(counts).mean(axis=1)
    return np.clip(np.stack([centre - half, centre + half], axis=-1), 0, 1)


def _spoken_or_predicted(counts: np.ndarray) -> np.ndarray:
    """A class predicted but never spoken has recall 0."""
    occurs = (counts.sum(axis=-1) + counts.sum(axis=-2)) > 0
    return np.nan_to_num(recalls(counts)).sum(axis=-1) / np.maximum(1, occurs.sum(axis=-1))


_READINGS = {"spoken": uar_of_counts, "audmetric": _spoken_or_predicted}
