"""What a page asked is not forgotten because one of its streams breaks off.

A page closes the stream of its events when all that it knows of is done, and opens another one for what was asked in that very
moment. Gradio takes every stream that breaks off for the page's leave, and drops what it asked.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from gradio.queueing import Queue
from gradio.utils import LRUCache

LEFT_AFTER_S = 3.0
"""Without a stream for so long, a page has left."""


class _Waiting(LRUCache):
    """Messages to be sent, by page; gradio deletes them whenever a stream breaks off, and that twice if two do."""

    def __delitem__(self, page: str) -> None:
        pass

    def popitem(self, last: bool = True) -> tuple:
        page = next(reversed(self) if last else iter(self))
        found = page, self[page]
        self.forget(page)
        return found

    def forget(self, page: str) -> None:
        if page in self:
            super().__delitem__(page)


class Streams:
    """Which pages listen; what a page asked is dropped once it has left.

    A message that gradio hands to a stream in the instant in which that breaks off is lost all the same.
    """

    def __init__(self, queue: Queue):
        """Take over from a queue that nobody has asked for anything yet."""
        self._drop, self._open = queue.clean_events, Counter[str]()
        self._looks: dict[str, asyncio.TimerHandle] = {}
        self._dropping: set[asyncio.Task] = set()
        self._waiting = _Waiting(queue.pending_messages_per_session.max_size)
        queue.pending_messages_per_session, queue.clean_events = self._waiting, self._clean

    @contextmanager
    def open(self, page: str) -> Iterator[None]:
        """While a page listens."""
        self._open[page] += 1
        try:
            yield
        finally:
            self._open[page] -= 1
            if not self._open[page]:
                del self._open[page]

    def asked(self, page: str) -> None:
        """A page asks for something, and will listen when it has heard that it may: it has not left."""
        if page in self._looks:
            self._look_later(page)

    async def _clean(self, *, session_hash: str | None = None, event_id: str | None = None) -> None:
        if session_hash is None:
            await self._drop(event_id=event_id)
        else:
            self._look_later(session_hash)  # whoever asks is being cancelled, and cannot wait

    def _look_later(self, page: str) -> None:
        if earlier := self._looks.pop(page, None):
            earlier.cancel()
        self._looks[page] = asyncio.get_running_loop().call_later(LEFT_AFTER_S, self._look, page)

    def _look(self, page: str) -> None:
        del self._looks[page]
        if page not in self._open:
            self._waiting.forget(page)
            drop = asyncio.create_task(self._drop(session_hash=page))
            self._dropping.add(drop)
            drop.add_done_callback(self._dropping.discard)
