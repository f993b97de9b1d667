"""The state of a run, written by the run itself and read by whoever looks at its folder.

A run holds a lock on its folder as long as it lives: the operating system lets go of it whatever way the process ends. So a
run that says that it is running and holds no lock is lost. Where a lock tells nothing, on another computer, the heartbeat
decides. A number of a process proves nothing: numbers are used again.
"""

import errno
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from ser_core.data.tables import BadJson, read_json, to_json, write_json
from ser_core.recipe import BadRecipe, check_range, settings_from
from ser_core.training.provenance import now
from ser_core.workspace import Workspace

StateName = Literal["queued", "running", "finished", "failed", "stopped", "lost"]
OVER = ("finished", "failed", "stopped", "lost")

STARTING = "starting"
"""What stands in the status before the run's own process says anything."""

STARTS_WITHIN_S = 600.0
BEAT_S = 2.0
SILENT_S = 30.0
"""After so long without a heartbeat a run on another computer is taken for lost."""


class RunIsActive(ValueError):
    """Another process works on the run folder."""


@dataclass(frozen=True)
class Status:
    """status.json.

    Attributes:
        state: what the run says of itself; 'lost' is for others to say.
        error: why it failed, in words.
        words: what it is doing.
        share: how much of all epochs is done, 0 to 1.
        eta_s: seconds to go; None where nobody knows.
        device: what it computes on.
        created, heartbeat: times.
        host, pid: where it runs.
    """

    state: StateName
    error: str = ""
    words: str = ""
    share: float = 0.0
    eta_s: float | None = None
    device: str = ""
    created: str = field(default_factory=now)
    heartbeat: str = field(default_factory=now)
    host: str = field(default_factory=platform.node)
    pid: int = field(default_factory=os.getpid)

    def __post_init__(self) -> None:
        check_range(self, share=(0, 1), pid=(1, 2**31 - 1))  # a signal to 0 or below would go to many
        try:
            datetime.fromisoformat(self.heartbeat).astimezone(UTC)
        except (ValueError, OverflowError):
            raise BadRecipe(f"'heartbeat' is '{self.heartbeat}', but a time was expected") from None

    @property
    def silent_s(self) -> float:
        """Seconds since the last heartbeat."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.heartbeat).astimezone(UTC)).total_seconds()


def read_status(folder: Path) -> Status | None:
    """What the run said last; None where it has said nothing yet."""
    try:
        return settings_from(Status, read_json(folder / "status.json"), "status.json")
    except (BadJson, BadRecipe):
        return None


def state_of(folder: Path) -> StateName | None:
    """The run's state as it is, not only as it said last; None where it has said nothing yet."""
    status = read_status(folder)
    if status is None or status.state in OVER:
        return status.state if status else None
    if status.host != platform.node():
        return "lost" if status.silent_s > SILENT_S else status.state
    if is_held(folder) or is_starting(status):
        return status.state
    status = read_status(folder)  # it may have ended between the two looks
    return status.state if status and status.state in OVER else "lost"


def is_starting(status: Status) -> bool:
    """Whether the run's process was just made, and reads what it needs before it takes its lock."""
    return status.words == STARTING and status.silent_s < STARTS_WITHIN_S and _exists(status.pid)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def is_held(folder: Path) -> bool:
    """Whether a process holds the lock of a run folder."""
    lock = _lock(folder)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # no place for locks
        return False
    lock.release()
    return False


class Reporter:
    """Writes status.json, at once when something changes and every two seconds all the same."""

    def __init__(self, folder: Path, device: str):
        self.folder = folder
        before = read_status(folder)  # of a run that goes on
        self._status = Status("queued", words="waiting", share=before.share if before else 0.0, device=device)
        self._writing = threading.Lock()
        self._over = threading.Event()

    def say(self, **changes) -> None:
        """Change what the status says."""
        with self._writing:
            self._status = replace(self._status, **changes)
            self._write()

    def progress(self, words: str, share: float, eta_s: float | None) -> None:
        """As `say`, but written with the next heartbeat: it comes with every batch."""
        self._status = replace(self._status, words=words, share=round(share, 4), eta_s=eta_s)

    def _write(self) -> None:
        self._status = replace(self._status, heartbeat=now())
        path = self.folder / "status.json"
        try:
            write_json(path, asdict(self._status))
        except OSError as error:
            if error.errno != errno.ENOSPC or not path.exists():
                raise
            _write_in_place(path, to_json(asdict(self._status)))  # a full disk still has room where the file stands

    def _beat(self) -> None:
        while not self._over.wait(BEAT_S):
            try:
                with self._writing:
                    self._write()
            except OSError:  # the run itself will meet it, and say so
                continue

    @contextmanager
    def beating(self) -> Iterator["Reporter"]:
        """Hold the folder's lock and keep the heart beating.

        Raises:
            RunIsActive: another process does.
        """
        lock = _lock(self.folder)
        try:
            lock.acquire(timeout=5.0)
        except Timeout:
            raise RunIsActive(f"the run '{self.folder.name}' is going on in another process; stop it first") from None
        heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        heart.start()
        try:
            yield self
        finally:
            self._over.set()
            heart.join()
            lock.release()


def try_device(workspace: Workspace, reporter: Reporter, device: str) -> FileLock | None:
    """The device's lock, acquired, if no other run computes on it and nobody else waits for longer; else None."""
    workspace.runs.mkdir(parents=True, exist_ok=True)
    mine = reporter.folder.resolve()
    ahead = [other for other in _queued(workspace, device) if other[1] != mine and other < (_created(mine), mine)]
    lock = FileLock(workspace.runs / f".{device}.lock")
    try:
        if not ahead:
            lock.acquire(timeout=0)
            return lock
    except Timeout:
        pass
    reporter.say(state="queued", words="waiting for another run on this device")
    return None


def _queued(workspace: Workspace, device: str) -> list[tuple[str, Path]]:
    folders = [path.parent for path in workspace.runs.glob("*/status.json")]
    waiting = [
        (status.created, folder.resolve())
        for folder in folders
        if (status := read_status(folder)) and status.state == "queued" and status.device == device
    ]
    return sorted((created, folder) for created, folder in waiting if is_held(folder))


def _created(folder: Path) -> str:
    status = read_status(folder)
    return status.created if status else now()


def _lock(folder: Path) -> FileLock:
    return FileLock(folder / "lock")


def _write_in_place(path: Path, text: str) -> None:
    with path.open("r+b") as file:
        file.write(text.encode())
        file.truncate()
