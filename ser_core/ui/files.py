"""Files that the page hands out or was given: in a private folder of this app alone (serve.py).

What is forgotten is looked for in all of the folder: gradio puts what was uploaded into folders of its own within it.
"""

import io
import secrets
import shutil
from collections.abc import Iterable
from contextlib import suppress
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
        self._given: set[str] = set()  # what was uploaded

    def apart(self) -> "PrivateFiles":
        """A folder of its own, which nobody can guess, for one account."""
        return PrivateFiles(self._all / _APART / secrets.token_hex(8), self._all)

    def check(self, arguments: Iterable[object]) -> None:
        """Look whether what a page sends names no file that was made for another account.

        Raises:
            NotUploaded: it does.
        """
        for argument in arguments:
            if isinstance(argument, list | tuple):
                self.check(argument)
            elif isinstance(argument, str) and str(self._all) in argument:
                if not self.may_see(argument):
                    raise NotUploaded("this file is not one of this page; choose it again")
                self._given.add(argument)

    def may_see(self, path: str) -> bool:
        """Whether a path, if it is one, is not in the folder of another account."""
        try:
            real = Path(path).resolve()
        except (OSError, ValueError):  # no path at all
            return True
        apart = (self._all / _APART).resolve()
        return not real.is_relative_to(apart) or real.is_relative_to(self._folder.resolve())

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
        """Delete all of the folder, and what was uploaded."""
        shutil.rmtree(self._folder, ignore_errors=True)
        for upload in list(self._given):
            self.forget_upload(upload)

    def _forget(self, pattern: str) -> None:
        for path in list(self._folder.rglob(pattern)):
            path.unlink(missing_ok=True)
            with suppress(OSError):  # others may still lie there
                path.parent.rmdir()

    def forget_upload(self, upload: str) -> None:
        """Delete what was uploaded; never a file of the person's own."""
        self._given.discard(upload)
        if self._all in Path(upload).parents:
            Path(upload).unlink(missing_ok=True)
