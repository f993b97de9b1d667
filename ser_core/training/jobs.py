"""Runs seen from outside: started in a process of their own, found again by their folders, stopped, resumed, deleted.

A run is the very command that a person would type, in its own session: it outlives the page and the app.
"""

import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd

from ser_core.data.tables import BadJson, read_json, write_json
from ser_core.recipe import BadRecipe, Recipe, read_recipe, settings_from
from ser_core.training.provenance import now
from ser_core.training.status import OVER, STARTING, StateName, Status, is_held, is_starting, read_status, state_of
from ser_core.workspace import Workspace

STOP_WITHIN_S = 4.0  # so that it is gone within five

_WORDS = ("method", "stage")
"""Columns of a history that hold no numbers."""


class UnknownRun(ValueError):
    """No run of that name."""


class CannotDo(ValueError):
    """A run is not in the state that something needs."""


@dataclass(frozen=True)
class Order:
    """What a person asks for.

    Attributes:
        recipe: a name or a path.
        corpora: NAME=DIR each.
        encoder: NAME or NAME=DIR; the recipe's own if empty.
        settings: key=value each, as after --set.
        seed, device, threads, tensorboard: as on the command line.
    """

    recipe: str
    corpora: tuple[str, ...]
    encoder: str = ""
    settings: tuple[str, ...] = ()
    seed: int = 0
    device: str = "auto"
    threads: int = 0
    tensorboard: bool = False

    def to_json(self) -> dict[str, Any]:
        """As the run folder keeps it, to go on by."""
        return asdict(self)

    def with_whole_paths(self) -> "Order":
        """The same from any folder: relative paths of what is there made absolute."""
        corpora = tuple(f"{name}={_whole(path)}" for name, _, path in (one.partition("=") for one in self.corpora))
        name, equals, source = self.encoder.partition("=")
        recipe = _whole(self.recipe) if self.recipe.endswith(".toml") else self.recipe
        encoder = f"{name}={_whole(source) if Path(source).expanduser().exists() else source}" if equals else name
        return replace(self, recipe=recipe, corpora=corpora, encoder=encoder)

    def resolved(self) -> Recipe:
        """The recipe with all changes.

        Raises:
            BadRecipe: it cannot be used, or a seed or number of threads is below zero.
        """
        if self.seed < 0 or self.threads < 0:
            raise BadRecipe(f"seed {self.seed} and threads {self.threads}: numbers from 0 are needed")
        recipe = read_recipe(self.recipe)
        if self.encoder:
            name, _, source = self.encoder.partition("=")
            recipe = recipe.with_encoder(name, source)
        return recipe.changed(self.settings)

    def arguments(self, folder: Path, resume: bool = False) -> list[str]:
        """What follows `python -m ser_core`."""
        said = ["train", self.recipe]
        for flag, values in (("--corpus", self.corpora), ("--set", self.settings)):
            said += [word for value in values for word in (flag, value)]
        for flag, value, default in (
            ("--encoder", self.encoder, ""), ("--seed", self.seed, 0), ("--device", self.device, "auto"),
            ("--threads", self.threads, 0),
        ):  # fmt: skip
            said += [flag, str(value)] if value != default else []
        said += ["--tensorboard"] if self.tensorboard else []
        return [*said, "--output", str(folder), *(["--resume"] if resume else [])]

    def in_words(self, folder: Path, resume: bool = False) -> str:
        """The command as a person types it: to make the same run anew, or to go on with this one."""
        said = self.arguments(folder, resume)
        if not resume:  # a folder of its own
            said = said[: said.index("--output")]
        root = folder.parent.parent
        if folder.parent.name == "runs" and root != Path.home() / ".attune":
            said += ["--workspace", str(root)]
        return f"python -m ser_core {shlex.join(said)}"


@dataclass(frozen=True)
class Job:
    """A run folder seen from outside, as it was when it was read.

    Attributes:
        state: queued, running, finished, failed, stopped, or lost: it says that it runs, and nobody works on it.
        error: why it failed or is lost, in words.
        recipe: recipe.json; empty before the run has written it.
        order: what was asked for; None for folders made otherwise.
        progress: words, share (0 to 1), eta_s, heartbeat_age_s, as far as they are known.
        created: when it was asked for.
    """

    folder: Path
    state: StateName
    error: str
    recipe: dict[str, Any]
    order: Order | None
    progress: dict[str, Any]
    created: str

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.folder.name

    @property
    def is_over(self) -> bool:
        """Whether nothing computes for it, and nothing will by itself."""
        return self.state in OVER

    @property
    def can_stop(self) -> bool:
        """Whether there is something to stop."""
        return not self.is_over

    @property
    def can_resume(self) -> bool:
        """Whether it was broken off, and what was asked for is known."""
        return self.state in ("stopped", "failed", "lost") and self.order is not None

    @property
    def can_use(self) -> bool:
        """Whether it holds a model with two answers."""
        described = _read_json(self.folder / "checkpoint" / "model.json")
        return self.state == "finished" and bool(described.get("baseline")) and bool(described.get("personalisers"))

    def history(self) -> pd.DataFrame:
        """One row an epoch and method: method, stage, epoch, the losses, dev_<monitor>, seconds."""
        try:
            lines = (self.folder / "metrics.jsonl").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return pd.DataFrame()
        records = []
        for line in lines:
            with suppress(ValueError, RecursionError):  # the last one may be half written
                records.append(json.loads(line))
        table = pd.DataFrame([one for one in records if _is_of_an_epoch(one)])
        numbers = {name: pd.to_numeric(table[name], errors="coerce") for name in table.columns.difference(_WORDS)}
        return table.assign(**numbers)

    def log_tail(self, n: int = 50) -> list[str]:
        """The last lines of the log."""
        try:
            return (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace").splitlines()[-n:]
        except OSError:
            return []

    def report(self) -> dict[str, Any] | None:
        """report.json; None before the run has finished, or where it reports on no models."""
        report = _read_json(self.folder / "report.json")
        return report if isinstance(report.get("models"), dict) else None


def new_folder(workspace: Workspace, name: str) -> Path:
    """A name that no run has yet; nothing is made."""
    return workspace.runs / f"{datetime.now(UTC):%Y-%m-%d}_{name}_{uuid4().hex[:4]}"


def list_jobs(workspace: Workspace) -> list[Job]:
    """All runs of a workspace, newest first."""
    folders = [path for path in workspace.runs.glob("[!.]*") if path.is_dir()]
    return sorted((read_job(folder) for folder in folders), key=lambda job: (job.created, job.name), reverse=True)


def find_job(name: str, workspace: Workspace) -> Job:
    """A run by name or folder.

    Raises:
        UnknownRun: there is none.
    """
    for folder in (workspace.runs / name, Path(name)) if name else ():
        if folder.is_dir() and any((folder / file).is_file() for file in ("status.json", "order.json", "recipe.json")):
            return read_job(folder)
    names = [job.name for job in list_jobs(workspace)][:3]
    raise UnknownRun(f"there is no run '{name}'; the newest are {', '.join(names) or 'none'}")


def read_job(folder: Path) -> Job:
    """Look at a run folder."""
    recipe, asked = _read_json(folder / "recipe.json"), _read_json(folder / "order.json")
    order = recipe.get("order") or asked.get("order")
    status = read_status(folder)
    state, error = _state(folder, status)
    progress = {}
    if status is not None:
        progress = {"words": status.words, "share": status.share, "heartbeat_age_s": round(status.silent_s, 1)}
        progress |= {"eta_s": status.eta_s} if status.eta_s is not None and state == "running" else {}
    created = asked.get("created") or (status.created if status else recipe.get("written", ""))
    return Job(folder, state, error, recipe, _order(order), progress, str(created))


def _state(folder: Path, status: Status | None) -> tuple[StateName, str]:
    state = state_of(folder)
    if state is None:
        return "failed", "it ended before it began; the log says why"
    if state == "lost":
        return state, "the process ended without a word: the computer was switched off, or memory ran out"
    return state, status.error if status else ""


def start_job(order: Order, workspace: Workspace) -> Job:
    """Check an order and start it in a process of its own.

    Raises:
        BadRecipe, BadCorpus, LeakingSplit, EncoderUnavailable: nothing was started.
    """
    from ser_core.training.check import check_order

    order = order.with_whole_paths()
    check_order(order, workspace, estimated=False)
    folder = new_folder(workspace, order.resolved().name)
    folder.mkdir(parents=True)
    return _launch(order, folder, workspace)


def resume_job(job: Job, workspace: Workspace) -> Job:
    """Go on with a run where it was left.

    Raises:
        CannotDo: it is not stopped, failed or lost.
    """
    if not job.can_resume or is_held(job.folder):
        raise CannotDo(f"'{job.name}' is {job.state}: only what was stopped, failed or is lost can be resumed")
    return _launch(job.order, job.folder, workspace)


def _launch(order: Order, folder: Path, workspace: Workspace) -> Job:
    created = _read_json(folder / "order.json").get("created", now())
    write_json(folder / "order.json", {"order": order.to_json(), "created": created})
    (folder / "stop").unlink(missing_ok=True)
    said = [*order.arguments(folder, resume=True), "--workspace", str(workspace.root), "--background"]
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ser_core", *said], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True, cwd=Path(__file__).resolve().parents[2],
        )  # fmt: skip
    before = read_status(folder)
    share = before.share if before else 0.0
    write_json(folder / "status.json", asdict(Status("queued", words=STARTING, share=share, pid=process.pid)))
    threading.Thread(target=_wait_for, args=[process, folder], name="run-waiter", daemon=True).start()
    return read_job(folder)


def _wait_for(process: subprocess.Popen, folder: Path) -> None:
    """Where a run ends before it can say so itself, say it in its place."""
    code, status = process.wait(), read_status(folder)
    if code and status is not None and (status.words, status.pid) == (STARTING, process.pid):
        lines = read_job(folder).log_tail(1)
        error = lines[0] if lines else f"it ended with exit code {code} before it began"
        with suppress(OSError):
            write_json(folder / "status.json", asdict(Status("failed", error=error)))


def stop_job(job: Job, within_s: float = STOP_WITHIN_S) -> Job:
    """Ask a run to stop after its batch; one that does not within the time is ended, its saved state stays.

    Raises:
        CannotDo: it is over already.
    """
    if job.is_over:
        raise CannotDo(f"'{job.name}' is {job.state} already")
    asked = read_status(job.folder)
    (job.folder / "stop").touch()
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        time.sleep(0.1)
        if (now_ := read_job(job.folder)).is_over:
            return now_
    _end(job.folder, asked)
    return read_job(job.folder)


def _end(folder: Path, asked: Status | None) -> None:
    """End a run that does not listen; what it saved stays.

    Raises:
        CannotDo: it runs on another computer, or cannot be ended.
    """
    status = read_status(folder)
    if status is None or status.host != platform.node():
        raise CannotDo(f"'{folder.name}' runs on another computer: it was asked to stop, and will when it looks")
    if not (is_held(folder) or is_starting(status)):  # the number may be somebody else's by now
        return
    if asked is None or asked.pid != status.pid:  # it was resumed meanwhile
        return
    with suppress(OSError):
        is_leader = hasattr(os, "killpg") and os.getpgid(status.pid) == status.pid
        os.killpg(status.pid, signal.SIGKILL) if is_leader else os.kill(status.pid, signal.SIGTERM)
    end = time.monotonic() + STOP_WITHIN_S
    while is_held(folder):
        if time.monotonic() > end:
            raise CannotDo(f"'{folder.name}' does not end; it was asked to, and will after its batch")
        time.sleep(0.05)
    stopped = asdict(status) | {"state": "stopped", "words": "ended; it can be resumed from the last saved state"}
    write_json(folder / "status.json", stopped)


def delete_job(job: Job) -> Path:
    """Move a run out of sight; what comes back can be given to `restore_job`, and `empty_bin` deletes it.

    Raises:
        CannotDo: it is still going on.
    """
    if not job.is_over:
        raise CannotDo(f"'{job.name}' is {job.state}; stop it first")
    hidden = job.folder.with_name(f".deleted-{job.name}")
    shutil.rmtree(hidden, ignore_errors=True)
    return job.folder.rename(hidden)


def restore_job(hidden: Path) -> Job:
    """Undo `delete_job`.

    Raises:
        CannotDo: it is gone for good.
    """
    folder = hidden.with_name(hidden.name.removeprefix(".deleted-"))
    if not hidden.is_dir() or folder.exists():
        raise CannotDo(f"'{folder.name}' cannot be brought back any more")
    return read_job(hidden.rename(folder))


def empty_bin(workspace: Workspace) -> None:
    """Delete for good what was deleted."""
    for hidden in workspace.runs.glob(".deleted-*"):
        shutil.rmtree(hidden, ignore_errors=True)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except BadJson:
        return {}


def _is_of_an_epoch(line: Any) -> bool:
    return isinstance(line, dict) and "epoch" in line and all(isinstance(line.get(name), str) for name in _WORDS)


def _whole(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def _order(content: dict | None) -> Order | None:
    try:
        return settings_from(Order, content, "order.json") if content else None
    except BadRecipe:
        return None
