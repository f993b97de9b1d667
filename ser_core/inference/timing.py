"""How long calls take: what `bench` and the benchmarks measure with. Imports nothing that would count as somebody's memory."""

import math
import time
from collections.abc import Callable, Sequence

import numpy as np

WARM_UP = 3
"""Calls before those that count: the first ones fill caches."""


def timed(measured: Callable[[], object], repeats: int, within_s: float = math.inf) -> list[float]:
    """Milliseconds of each call; when so much time is over there are no further calls, but there is one at least."""
    times: list[float] = []
    while len(times) < repeats and (not times or sum(times) < 1000 * within_s):
        start = time.perf_counter()
        measured()
        times.append(1000 * (time.perf_counter() - start))
    return times


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile, and of how many values they are.

    >>> percentiles([10.0, 20.0, 30.0, 40.0])
    {'p50': 25.0, 'p95': 38.5, 'n': 4}
    """
    p50, p95 = (round(float(np.quantile(values, share)), 3) for share in (0.5, 0.95))
    return {"p50": p50, "p95": p95, "n": len(values)}
