"""Where a training stands, on disk: complete or not there, whatever moment the computer fails at.

A state is written into a folder of its own with a hash of every file, pushed to the disk, and only then renamed to
step-00000012. The last two are kept; one that does not match its hashes is passed over. Nothing is ever unpickled.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ser_core.data.tables import read_json
from ser_core.data.whole import push_to_disk, sync

_KEPT = 2
_HASHES = "hashes.json"


class DamagedState(ValueError):
    """States are there, but none of them is whole."""


@dataclass(frozen=True)
class State:
    """What was saved.

    Attributes:
        step: how many states came before it.
        tensors: by name.
        content: the rest, as JSON holds it.
    """

    step: int
    tensors: dict[str, Tensor]
    content: dict[str, Any]


class States:
    """The states of one training in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def save(self, tensors: Mapping[str, Tensor], content: Mapping[str, Any]) -> None:
        """Write the next state; older ones go only when it is safe on the disk.

        Raises:
            OSError: it cannot be written; those before it are untouched.
        """
        step = max([_step(path) for path in self._stored()], default=0) + 1
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(".tmp-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        temporary = self.folder / f".tmp-{step}-{os.getpid()}"
        temporary.mkdir()
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary / "state.safetensors")
            (temporary / "state.json").write_text(json.dumps(content))
            hashes = {path.name: _hash(path) for path in sorted(temporary.iterdir())}
            (temporary / _HASHES).write_text(json.dumps(hashes))
            push_to_disk(temporary)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise OSError(_number(error), f"the state could not be saved ({error})") from error
        temporary.rename(self.folder / f"step-{step:08d}")
        sync(self.folder)
        for old in self._stored()[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def latest(self) -> State | None:
        """The newest state that is whole; None where nothing was saved yet.

        Raises:
            DamagedState: there are states, but all are damaged.
        """
        stored = self._stored()
        for path in reversed(stored):
            try:
                return _read(path)
            except (OSError, ValueError, SafetensorError):
                continue
        if stored:
            raise DamagedState(
                f"all {len(stored)} saved states in '{self.folder.name}' are damaged; start again in another output folder"
            )
        return None

    def _stored(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"))


def _read(path: Path) -> State:
    hashes = read_json(path / _HASHES)
    if not hashes or any(_hash(path / name) != there for name, there in hashes.items()):
        raise ValueError("the hashes do not match")
    return State(_step(path), load_file(path / "state.safetensors"), read_json(path / "state.json"))


def _number(error: Exception) -> int:
    """errno; safetensors says it in words only."""
    is_full = f"os error {errno.ENOSPC}" in str(error)
    return getattr(error, "errno", None) or (errno.ENOSPC if is_full else errno.EIO)


def _step(path: Path) -> int:
    return int(path.name.partition("-")[2])


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
