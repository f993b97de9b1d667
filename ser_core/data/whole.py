"""Files and folders that are there whole or not at all, whatever moment the program is killed at or the disk is full at.

All is written beside its place, under a hidden name, and renamed once it is complete. What a killed program has left under
such a name counts as nothing, and goes with a later write.
"""

import errno
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

UNFINISHED = ".attune-unfinished"
"""What a hidden name ends in."""

_ABANDONED_S = 3600.0
"""Nobody writes one thing for so long."""

_DISK_TROUBLES = {
    errno.ENOSPC: "the disk is full: free some space, then try again; what was saved before is whole",
    errno.EDQUOT: "you may not keep more on this disk: delete something, then try again; what was saved before is whole",
    errno.EFBIG: "the disk takes no file of this size: free some space, then try again; what was saved before is whole",
    errno.EROFS: "the disk can only be read: allow this program to write there, or name another folder with --workspace",
}


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A file to write, which takes its place, and an earlier one's, once all of it is written; else it goes again."""
    _sweep_once(path.parent)
    hidden = path.with_name(f".{uuid4().hex}{UNFINISHED}")
    try:
        yield hidden
        hidden.replace(path)
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise


@contextmanager
def filled(folder: Path) -> Iterator[Path]:
    """A folder to write files into, which take their places in `folder`, made if absent, once all are written."""
    folder.mkdir(parents=True, exist_ok=True)
    _sweep_once(folder)
    hidden = folder / f".{uuid4().hex}{UNFINISHED}"
    hidden.mkdir()
    try:
        yield hidden
        for path in sorted(hidden.iterdir()):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


@contextmanager
def replaced(folder: Path, revised: bool = False) -> Iterator[Path]:
    """A folder to write, which takes its place, and an earlier one's, once all of it is on the disk; else it goes again.

    One program at a time may do so. Between two renames neither is in sight; killed there, the earlier one comes back with
    the next call.

    Args:
        folder: where it will be.
        revised: begin with a copy of what stands there.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep_once(folder.parent)
    hidden, before = folder.with_name(f".{folder.name}{UNFINISHED}"), folder.with_name(f".{folder.name}-before")
    shutil.rmtree(hidden, ignore_errors=True)
    if before.exists() and not folder.exists():  # killed between the two renames
        before.rename(folder)
    shutil.rmtree(before, ignore_errors=True)
    try:
        shutil.copytree(folder, hidden) if revised else hidden.mkdir()
        yield hidden
        push_to_disk(hidden)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    if folder.exists():
        folder.rename(before)
    hidden.rename(folder)
    shutil.rmtree(before, ignore_errors=True)


def removed(folder: Path) -> None:
    """Delete a folder: it is out of sight at once, whole, and what a kill leaves of it goes with a later write."""
    _sweep_once(folder.parent)
    hidden = folder.with_name(f".{folder.name}-{uuid4().hex}{UNFINISHED}")
    folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def push_to_disk(folder: Path) -> None:
    """Make sure that the files of a folder outlive a power cut."""
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """The same for one file, or for the names in one folder."""
    if os.name == "nt":  # where folders cannot be opened
        return
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def disk_trouble(error: BaseException) -> str:
    """In words, why the disk did not take something; empty where it is about something else."""
    number = getattr(error, "errno", None)
    if number is None:  # safetensors and NumPy say it in words only
        said = str(error)
        number = errno.ENOSPC if f"os error {errno.ENOSPC}" in said or "Not enough free space" in said else 0
    return _DISK_TROUBLES.get(number, "")


@lru_cache(maxsize=256)
def _sweep_once(folder: Path) -> None:
    """What others have left in a folder; looked for once, for there may be ten thousand files."""
    delete_abandoned(folder.glob(f".*{UNFINISHED}"))


def delete_abandoned(paths: Iterable[Path]) -> None:
    """Delete those files and folders that nobody has written to for an hour."""
    for left in paths:
        with suppress(OSError):  # gone meanwhile
            if time.time() - left.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
