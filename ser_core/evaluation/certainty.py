"""How sure a classifier may be: its temperature, how far its confidence is from its accuracy, and when it is not sure.

The confidence of an answer is the probability of the emotion it names. Source: Guo et al. 2017, "On Calibration of Modern
Neural Networks", arXiv 1706.04599.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

N_BINS = 15
"""Of the expected calibration error, as in the paper."""

TEMPERATURES = (0.2, 5.0)
"""The lowest and the highest: a few dev speakers who are always recognised would ask for zero."""

RIGHT_ENOUGH = 0.75
"""Answers that are told as sure shall be right so often."""

EVEN = 0.5
"""An answer with less is more probably wrong than right."""

MOST_REFUSED = 0.5
"""Of the dev answers: who is seldom sure is still asked for an answer."""


class BadCertainty(ValueError):
    """A temperature or a threshold that cannot be."""


@dataclass(frozen=True)
class Certainty:
    """What a classifier learned on dev speakers about its own answers.

    Attributes:
        temperature: its logits are divided by; above 1 it was too sure of itself. 1 for one that learned none.
        sure_from: an answer with less confidence is told as "not sure", 0 to 1; for one that learned none a guess.
    """

    temperature: float = 1.0
    sure_from: float = 0.4

    def __post_init__(self):
        if not (0 < self.temperature < float("inf") and 0 <= self.sure_from <= 1):
            raise BadCertainty(
                f"a temperature of {self.temperature} and a threshold of {self.sure_from} were found; a temperature above 0 and a "
                f"threshold between 0 and 1 were expected: train the model or install it again"
            )


def expected_calibration_error(confidence: ArrayLike, right: ArrayLike, n_bins: int = N_BINS) -> float:
    """Mean over bins of |accuracy − mean confidence|, weighted by how many answers are in them: 0 where 70 % means 70 % right.

    Bins are equal in width and include their upper end. Few answers make it too large. nan without any.

    Source: arXiv 1706.04599, section 2, equation 3.

    >>> expected_calibration_error([0.75, 0.75, 0.75, 0.75], [1, 1, 1, 0])
    0.0
    """
    confidence, right = np.asarray(confidence, dtype=float), np.asarray(right, dtype=float)
    if not len(confidence):
        return float("nan")
    place = np.digitize(confidence, np.linspace(0, 1, n_bins + 1)[1:-1], right=True)
    gaps = np.bincount(place, weights=right - confidence, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(confidence))


def error_by_chance(confidence: ArrayLike, rng: np.random.Generator, n_draws: int = 200) -> float:
    """The calibration error to expect of answers as confident as these were they right exactly as often; nan without any."""
    confidence = np.asarray(confidence, dtype=float)
    draws = rng.random((n_draws, len(confidence))) < confidence
    return float(np.mean([expected_calibration_error(confidence, right) for right in draws]))


def tempered(probability: ArrayLike, temperature: float) -> np.ndarray:
    """Probabilities (N, C) as they would be had their logits been divided by the temperature; no other class wins.

    >>> tempered([[0.8, 0.2]], 0.5).round(3).tolist()
    [[0.941, 0.059]]
    """
    return softmax(_log(np.asarray(probability, dtype=float)) / temperature, axis=1)


def fitted_temperature(probability: ArrayLike, truth: ArrayLike, weight: ArrayLike | None = None) -> float:
    """The temperature with the smallest negative log-likelihood, within `TEMPERATURES`.

    Source: arXiv 1706.04599, section 4.2; of two probabilities only their logarithms' difference counts, which logits share.

    Args:
        probability: at temperature 1, (N, C), zero for a class that the target's corpus lacks.
        truth: number of the true class, (N,).
        weight: how much each row counts, (N,); all alike if None.
    """
    p, truth = np.array(probability, dtype=float), np.asarray(truth)
    rows = np.arange(len(p))
    p[rows, truth] = np.maximum(p[rows, truth], np.finfo(np.float32).tiny)  # rounded to zero, yet it was said
    log_p = _log(p)

    def loss(log_temperature: float) -> float:
        scaled = log_p / np.exp(log_temperature)
        return float(np.average(logsumexp(scaled, axis=1) - scaled[rows, truth], weights=weight))

    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x))


def threshold(confidence: ArrayLike, right: ArrayLike, weight: ArrayLike | None = None) -> float:
    """From which confidence on an answer is told as sure.

    The lowest one, from a half on, at which the answers that reach it are right three times in four; but never so high that
    more than half of all answers are refused. With less than a half an answer is more probably wrong than right, if the
    confidence is calibrated, and is refused however good the others are; where few answers are good, the better half is told.

    Args:
        confidence: of each answer, calibrated, (N,), at least one.
        right: whether it is right, (N,) bool.
        weight: how much each answer counts, (N,); all alike if None.
    """
    confidence, right = np.asarray(confidence, dtype=float), np.asarray(right, dtype=float)
    share = np.ones(len(confidence)) if weight is None else np.asarray(weight, dtype=float)
    share = share / share.sum()
    highest = max(one for one in confidence if share[confidence < one].sum() <= MOST_REFUSED + 1e-9)
    for one in (EVEN, *np.unique(confidence[confidence > EVEN])):
        told = confidence >= one
        if told.any() and np.average(right[told], weights=share[told]) >= RIGHT_ENOUGH:
            return float(min(one, highest))
    return float(highest)


def fitted_certainty(probability: ArrayLike, truth: ArrayLike, corpus: ArrayLike) -> Certainty:
    """Temperature, then threshold, from answers about dev speakers; each corpus counts alike, however large it is.

    Args:
        probability: at temperature 1, (N, C), zero for a class that the target's corpus lacks.
        truth: number of the true class, (N,).
        corpus: of each target, (N,).
    """
    _, place, n = np.unique(np.asarray(corpus), return_inverse=True, return_counts=True)
    weight = 1.0 / n[place]
    temperature = fitted_temperature(probability, truth, weight)
    p = tempered(probability, temperature)
    from_there = threshold(p.max(axis=1), p.argmax(axis=1) == np.asarray(truth), weight)
    return Certainty(
        temperature, math.floor(1e4 * from_there) / 1e4
    )  # down: whoever set it passes, however it is rounded


def confidence_of(predictions: pd.DataFrame) -> np.ndarray:
    """The largest probability of each row, (N,); nan where the table holds none."""
    columns = predictions.filter(regex="^p_")
    return columns.max(axis=1).to_numpy(dtype=float) if columns.shape[1] else np.full(len(predictions), np.nan)


def calibration_error_of(predictions: pd.DataFrame) -> float:
    """`expected_calibration_error` of a table of predictions; nan where it holds no probabilities."""
    confidence = confidence_of(predictions)
    if np.isnan(confidence).any():
        return float("nan")
    return expected_calibration_error(confidence, predictions["predicted_emotion"] == predictions["emotion"])


def measured_certainty(predictions: pd.DataFrame, certainty: Certainty) -> dict[str, dict[str, float]]:
    """What came of a certainty, for each corpus of a table of predictions that were made with it.

    Returns:
        By corpus: n, ece_before (at temperature 1), ece, ece_by_chance (were it calibrated), not_sure (share refused), accuracy, accuracy_sure,
        accuracy_not_sure; nan where there is no such answer.
    """
    return {str(name): _measured(part, certainty) for name, part in predictions.groupby("corpus")}


def _measured(part: pd.DataFrame, certainty: Certainty) -> dict[str, float]:
    right = (part["predicted_emotion"] == part["emotion"]).to_numpy()
    confidence = confidence_of(part)
    before = tempered(part.filter(regex="^p_").fillna(0.0), 1 / certainty.temperature).max(axis=1)
    sure = confidence >= certainty.sure_from
    return {
        "n": len(part),
        "ece_before": expected_calibration_error(before, right),
        "ece": expected_calibration_error(confidence, right),
        "ece_by_chance": error_by_chance(confidence, np.random.default_rng(0)),
        "not_sure": float(np.mean(~sure)),
        "accuracy": float(np.mean(right)),
        "accuracy_sure": _share(right[sure]),
        "accuracy_not_sure": _share(right[~sure]),
    }


def _share(right: np.ndarray) -> float:
    return float(np.mean(right)) if len(right) else float("nan")


def _log(p: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):  # minus infinity for a class that the corpus lacks
        return np.log(p)
