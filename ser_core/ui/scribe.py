"""The Whisper that writes down what was said: loaded when first wanted; missing on most computers."""

import threading
from typing import TYPE_CHECKING

import numpy as np

from ser_core.workspace import Workspace

if TYPE_CHECKING:  # these take seconds to import: the page is served first
    from ser_core.inference.transcription import Transcriber, Transcript


class Scribe:
    """One Whisper, the best that is on this computer."""

    def __init__(self, workspace: Workspace, device: str = "auto"):
        """Nothing is loaded before somebody asks."""
        self._workspace, self._device = workspace, device
        self._transcriber: Transcriber | None = None
        self._loading = threading.Lock()

    @property
    def why_not(self) -> str:
        """What is missing and how to get it; empty where one is here."""
        from ser_core.inference.transcription import available

        if self._transcriber is not None or available(self._workspace):
            return ""
        return (
            "Whisper, which writes down what is said, is not on this computer: the tab About fetches it. "
            "Until then, type the words yourself."
        )

    def write(self, waveform: np.ndarray) -> "Transcript":
        """What is said in a waveform (N,) float32, 16 kHz; the first time waits until Whisper is loaded.

        Raises:
            TranscriberUnavailable: there is none.
        """
        from ser_core.inference.transcription import Transcriber

        with self._loading:
            if self._transcriber is None:
                self._transcriber = Transcriber(self._workspace, None, self._device)
        return self._transcriber.transcribe(waveform)
