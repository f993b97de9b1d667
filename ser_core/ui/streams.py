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
    """Which pages listen; what a page asked is dropped once it has left."""

    def __init__(self, queue: Queue):
        """Take over from a queue that nobody has asked for anything yet."""
        self._drop, self._open, self._looking = queue.clean_events, Counter[str](), set[asyncio.Task]()
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

    async def _clean(self, *, session_hash: str | None = None, event_id: str | None = None) -> None:
        if session_hash is None:
            await self._drop(event_id=event_id)
        else:
            look = asyncio.create_task(
                self._drop_if_left(session_hash)
            )  # whoever asks is being cancelled, and cannot wait
            self._looking.add(look)
            look.add_done_callback(self._looking.discard)

    async def _drop_if_left(self, page: str) -> None:
        await asyncio.sleep(LEFT_AFTER_S)
        if page not in self._open:
            self._waiting.forget(page)
            await self._drop(session_hash=page)
