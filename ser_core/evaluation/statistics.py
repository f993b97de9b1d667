"""How sure we are: resampling speakers, because claims are about speakers and not about utterances."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

N_RESAMPLES = 2_000
N_FLIPS = 9_999
FEW_SPEAKERS = 2
"""Below this many there is nothing to resample."""

Interval = tuple[float, float]
UNKNOWN: Interval = (float("nan"), float("nan"))


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval; nan where it cannot be estimated."""

    value: float
    interval: Interval


def resampled(n_speakers: int, seed: int = 0, n: int = N_RESAMPLES) -> np.ndarray:
    """How often each speaker occurs in each bootstrap resample of the speakers, (n, S) int.

    The same seed gives the same resamples, so that two methods are resampled together.
    """
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_speakers, np.full(n_speakers, 1 / n_speakers), size=n)


def drawn(n_speakers: int, seed: int = 0, n: int = N_RESAMPLES) -> np.ndarray:
    """Which speakers each of the same resamples holds, (n, S) int, in order of their places."""
    times = resampled(n_speakers, seed, n)
    return np.repeat(np.tile(np.arange(n_speakers), n), times.ravel()).reshape(n, n_speakers)


def interval(values: np.ndarray, n_speakers: int) -> Interval:
    """The middle 95 % of resampled values; unknown with a single speaker, or where nothing could be computed."""
    values = values[~np.isnan(values)]
    if n_speakers < FEW_SPEAKERS or len(values) == 0:
        return UNKNOWN
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def sign_flip(differences: ArrayLike) -> float:
    """Two-sided p of paired differences under random signs: is their mean other than 0? Exact for up to 13 speakers.

    Every speaker counts once. nan with fewer than two speakers. The smallest p that n speakers can reach is 2 / 2^n.

    >>> sign_flip([0.1, 0.2, 0.3, 0.1])
    0.125
    """
    from scipy.stats import permutation_test  # slow to import: the app shows its page first

    values = np.asarray(differences, dtype=float)
    if len(values) < FEW_SPEAKERS:
        return float("nan")
    if not np.any(values):
        return 1.0
    tested = permutation_test(
        (values,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", vectorized=True,
        n_resamples=N_FLIPS, alternative="two-sided", rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(tested.pvalue)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p values adjusted for how many were tested (Holm 1979, Scandinavian Journal of Statistics 6(2)); nan stays nan.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    known = sorted((p, name) for name, p in p_values.items() if not np.isnan(p))
    adjusted, largest = dict.fromkeys(p_values, float("nan")), 0.0
    for place, (p, name) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - place) * p))
        adjusted[name] = largest
    return adjusted


def shuffled_within(groups: np.ndarray, strata: np.ndarray, seed: int = 0, n: int = N_RESAMPLES) -> np.ndarray:
    """Group numbers dealt out anew among the speakers of each stratum (corpus), (n, S) int: worlds without an effect."""
    rng = np.random.default_rng(seed)
    dealt = np.tile(groups, (n, 1))
    for stratum in np.unique(strata):
        places = np.flatnonzero(strata == stratum)
        dealt[:, places] = rng.permuted(dealt[:, places], axis=1)
    return dealt
