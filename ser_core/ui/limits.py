"""How often somebody may do something: so many times in so many seconds, counted in memory."""

import math
import threading
import time
from collections import deque

_MOST_KEYS = 10_000
"""Beyond them, those who came first are forgotten: nobody fills the memory with names."""


class TooOften(ValueError):
    """Something was done too often; `wait_s` says when it may be done again."""

    def __init__(self, words: str, wait_s: int):
        super().__init__(words)
        self.wait_s = wait_s


class Limit:
    """At most `most` times in any `within_s` seconds, for each key (a name, an address, an account)."""

    def __init__(self, most: int, within_s: float, what: str):
        """`what` begins the sentence that refuses: 'more than 5 sign-ins failed'."""
        self.most, self.within_s, self._what = most, within_s, what
        self._times: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def take(self, key: str) -> None:
        """Count one.

        Raises:
            TooOften: it is one too many; it is not counted.
        """
        now = time.monotonic()
        with self._lock:
            times = self._times.pop(key, None) or deque()
            while times and times[0] <= now - self.within_s:
                times.popleft()
            self._times[key] = times  # at the end: it was used last
            while len(self._times) > _MOST_KEYS:
                self._times.pop(next(iter(self._times)))
            if len(times) >= self.most:
                wait_s = max(1, math.ceil(times[0] + self.within_s - now))
                raise TooOften(f"{self._what}; wait {wait_s} s, then try again", wait_s)
            times.append(now)

    def forgive(self, key: str) -> None:
        """Take the last one back: it was no failure."""
        with self._lock:
            if self._times.get(key):
                self._times[key].pop()
