"""How long calls take: what `bench` and the benchmarks measure with. Imports nothing that would count as somebody's memory."""

import time
from collections.abc import Callable

WARM_UP = 3
"""Calls before those that count: the first ones fill caches."""


def timed(measured: Callable[[], object], repeats: int) -> list[float]:
    """Milliseconds of each call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        measured()
        times.append(1000 * (time.perf_counter() - start))
    return times
