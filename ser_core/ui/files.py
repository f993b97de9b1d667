"""Files that the page hands out or was given: in a private folder of this app alone (serve.py).

What is forgotten is looked for in all of the folder: gradio puts what was uploaded into folders of its own within it.
"""

import io
import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

from ser_core.data.audio import SAMPLE_RATE
from ser_core.data.whole import written

_OURS = "attune-"
_APART = "accounts"


class NotUploaded(ValueError):
    """A file was named that this page was not given."""


class PrivateFiles:
    """The private folder: recordings to play, documents to save, what was uploaded."""

    def __init__(self, folder: Path, within: Path | None = None):
        """A folder; `within` is the one that uploads go to, the same if None."""
        self._folder, self._all = folder, within or folder

    def apart(self) -> "PrivateFiles":
        """A folder of its own, which nobody can guess, for one account."""
        return PrivateFiles(self._all / _APART / secrets.token_hex(8), self._all)

    def check(self, arguments: Iterable[object]) -> None:
        """Look whether what a page sends names no file that was made for another account.

        Raises:
            NotUploaded: it does.
        """
        if any(isinstance(argument, str) and not self.may_see(argument) for argument in arguments):
            raise NotUploaded("this file is not one of this page; choose it again")

    def may_see(self, path: str) -> bool:
        """Whether a path, if it is one, is not in the folder of another account."""
        normal = Path(os.path.normpath(path))
        return not normal.is_relative_to(self._all / _APART) or normal.is_relative_to(self._folder)

    def document(self, name: str, content: str | bytes) -> str:
        """Write something to be saved by the person, as attune-NAME, where nobody can guess it."""
        path = self._folder / "documents" / secrets.token_hex(8) / f"{_OURS}{name}"
        path.parent.mkdir(mode=0o700, parents=True)
        with written(path) as hidden:
            hidden.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    def forget_documents(self) -> None:
        """Delete all of them, for instance because somebody they speak of was erased."""
        self._forget(f"{_OURS}*")

    def playback(self, utterance_id: str) -> Path:
        """Where an enrolled recording is put for the page to play."""
        return self._folder / "playback" / f"{utterance_id}.wav"

    def write_playback(self, utterance_id: str, waveform: np.ndarray) -> None:
        """Put it there: (N,) float32, 16 kHz."""
        path = self.playback(utterance_id)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        stream = io.BytesIO()  # soundfile has no words for a full disk
        soundfile.write(stream, waveform, SAMPLE_RATE, format="WAV", subtype="PCM_16")
        with written(path) as hidden:
            hidden.write_bytes(stream.getvalue())

    def forget_playback(self, utterance_id: str) -> None:
        """Delete it."""
        self._forget(f"{utterance_id}.wav")

    def empty(self) -> None:
        """Delete all of the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _forget(self, pattern: str) -> None:
        for path in self._folder.rglob(pattern):
            path.unlink(missing_ok=True)

    def forget_upload(self, upload: str) -> None:
        """Delete what was uploaded; never a file of the person's own."""
        if self._all in Path(upload).parents:
            Path(upload).unlink(missing_ok=True)
