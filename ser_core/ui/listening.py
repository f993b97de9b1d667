"""Who listens live just now: takes that grow, fed by the page piece by piece.

Sound comes over a route of its own, not through gradio's stream event: that keeps only the newest piece while a
handler is busy (12 of 20 arrived with a handler of 0.6 s), and puts every piece on the disk. Here nothing is lost, and
the take stays in memory.
"""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ser_core.ui.errors import sentence

MAX_LISTENERS = 4
"""At once; each costs about an eighth of a core."""

MAX_PIECE_BYTES = 4 * 2**20
_SILENT_FOR_S = 20.0
"""A page that sent nothing for so long is gone."""

_FULL_SCALE = 2**15
_RATES_HZ = (8_000, 192_000)


class NotListening(ValueError):
    """Sound for a take that is over, or never began."""


class BadPiece(ValueError):
    """Sound that cannot be taken in."""


@dataclass
class Listener:
    """One page that listens.

    Attributes:
        take: what it has heard; a `LiveTake`.
        whose: the profile whose enrolment it uses.
        show: from the take and its newest moment to what the page shows.
        last_heard: when it last sent something, `time.monotonic`.
        n_pieces: how many pieces were taken in.
    """

    take: object
    whose: str
    show: Callable[[object], dict]
    last_heard: float = field(default_factory=time.monotonic)
    n_pieces: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Listeners:
    """All of them; those who come too late wait in a row."""

    def __init__(self):
        self._listeners: dict[str, Listener] = {}
        self._waiting: dict[str, float] = {}
        self._lock = threading.Lock()

    def place_in_row(self, ticket: str) -> int:
        """0 if there is room for whoever holds this ticket, else how many places they have to wait."""
        with self._lock:
            self._forget_the_gone()
            self._waiting[ticket] = time.monotonic()
            return max(0, list(self._waiting).index(ticket) + 1 - (MAX_LISTENERS - len(self._listeners)))

    def open(self, ticket: str, take: object, whose: str, show: Callable[[object], dict]) -> str:
        """Begin; the token names the take, and nobody can guess it."""
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._waiting.pop(ticket, None)
            self._listeners[token] = Listener(take, whose, show)
        return token

    def leave(self, ticket: str) -> None:
        """No longer wait."""
        with self._lock:
            self._waiting.pop(ticket, None)

    def hear(self, token: str, piece: int, rate_hz: int, content: bytes) -> dict:
        """Take in a piece of sound: 16-bit little-endian samples, mono.

        Args:
            token: which take.
            piece: its number, from 0; one that came already is answered again, not taken in again.
            rate_hz: of the samples; one rate a take.
            content: the samples.

        Returns:
            What the page should show; empty if nothing is new.

        Raises:
            NotListening: no such take.
            BadPiece: too large, an odd number of bytes, or a rate no microphone has.
        """
        listener = self._find(token)
        if len(content) > MAX_PIECE_BYTES or len(content) % 2 or not _RATES_HZ[0] <= rate_hz <= _RATES_HZ[1]:
            raise BadPiece("this is not sound as the page sends it; reload the page and listen again")
        with listener.lock:
            listener.last_heard = time.monotonic()
            if piece < listener.n_pieces:
                return {}
            listener.n_pieces = piece + 1
            samples = np.frombuffer(content, dtype="<i2").astype(np.float32) / _FULL_SCALE
            moment = listener.take.feed(samples, rate_hz)
            shown = listener.show(listener.take) if moment else {}
            return shown | ({"full": True} if listener.take.full else {})

    def close(self, token: str) -> object:
        """End; the take is handed over and forgotten here.

        Raises:
            NotListening: no such take.
        """
        listener = self._find(token)
        with self._lock:
            self._listeners.pop(token, None)
        return listener.take

    def forget(self, whose: str) -> None:
        """End all takes that use somebody's enrolment: it was erased."""
        with self._lock:
            self._listeners = {token: one for token, one in self._listeners.items() if one.whose != whose}

    def tidy(self) -> None:
        """Forget the takes of pages that are gone, now rather than when somebody next listens."""
        with self._lock:
            self._forget_the_gone()

    def _find(self, token: str) -> Listener:
        with self._lock:
            self._forget_the_gone()
            if token not in self._listeners:
                raise NotListening("this take is over; press “Listen” to begin another")
            return self._listeners[token]

    def _forget_the_gone(self) -> None:
        too_old = time.monotonic() - _SILENT_FOR_S
        self._listeners = {t: one for t, one in self._listeners.items() if one.last_heard > too_old}
        self._waiting = {ticket: since for ticket, since in self._waiting.items() if since > too_old}


def answer(listeners: Listeners, token: str, piece: int, rate_hz: int, content: bytes) -> tuple[int, dict]:
    """The route's answer: an HTTP status, and what the page shows or why it must stop."""
    try:
        return 200, listeners.hear(token, piece, rate_hz, content)
    except NotListening as error:
        return 404, {"problem": sentence(error)}
    except BadPiece as error:
        return 400, {"problem": sentence(error)}
