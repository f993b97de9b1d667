"""What a run says of itself and what is so: a clock that was set, a computer that fell silent, a number used again."""

import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from filelock import FileLock

from ser_core.training.jobs import list_jobs, read_job
from ser_core.training.status import STARTING, Status
from ser_core.workspace import open_workspace


def run_that_says(folder: Path, state: str, hours_ago: float = 0.0, **said) -> Path:
    folder.mkdir(parents=True)
    then = (datetime.now(UTC) - timedelta(hours=hours_ago)).isoformat(timespec="seconds")
    (folder / "status.json").write_text(json.dumps(asdict(Status(state, created=then, heartbeat=then, **said))))
    return folder


@pytest.mark.parametrize("hours_ago", [24.0, 0.0, -24.0], ids=["set forward", "right", "set back"])
def test_whatever_the_clock_says_a_run_here_goes_on_while_its_lock_is_held_and_is_lost_after(tmp_path, hours_ago):
    folder = run_that_says(tmp_path / "run", "running", hours_ago)
    with FileLock(folder / "lock"):
        assert read_job(folder).state == "running"
    assert read_job(folder).state == "lost"


def test_a_run_on_another_computer_is_lost_once_it_is_silent_for_half_a_minute(tmp_path):
    for seconds, state in ((20, "running"), (40, "lost")):
        folder = run_that_says(tmp_path / str(seconds), "running", seconds / 3600, host="elsewhere")
        assert read_job(folder).state == state
    over = run_that_says(tmp_path / "over", "finished", 24.0, host="elsewhere")
    assert read_job(over).state == "finished"


def test_a_number_that_another_process_has_by_now_makes_no_run_alive(tmp_path):
    folder = run_that_says(tmp_path / "run", "running", pid=os.getpid(), host=platform.node())
    assert read_job(folder).state == "lost"
    started = run_that_says(tmp_path / "started", "queued", 1.0, pid=os.getpid(), words=STARTING)
    assert read_job(started).state == "lost"  # nothing starts for an hour


def test_runs_of_an_app_that_was_killed_are_found_again_by_the_next_one(tmp_path):
    workspace = open_workspace(tmp_path)
    folder = run_that_says(workspace.runs / "2026-01-01_a_1", "running")
    holds = f"from filelock import FileLock; lock = FileLock({str(folder / 'lock')!r}); lock.acquire(); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", holds], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as orphan:
        assert orphan.stdout.readline()
        assert [job.state for job in list_jobs(workspace)] == ["running"]
        orphan.kill()
    assert [job.state for job in list_jobs(workspace)] == ["lost"]
