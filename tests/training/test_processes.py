"""Trainings as processes: several together, killed ones, stopped ones, and those that wait their turn."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from ser_core.data.corpora import load_corpora
from ser_core.encoders.compact import Compact, CompactSettings
from ser_core.training.jobs import CannotDo, Order, list_jobs, read_job, resume_job, start_job, stop_job
from ser_core.training.run import Asked, train
from ser_core.training.status import is_held
from ser_core.workspace import open_workspace

PATIENCE_S = 120
SMALL = (
    "settings.embedding=16", "settings.hidden=16", "training.batch_size=24", "training.epochs=3",
)  # fmt: skip


@pytest.fixture(scope="module")
def order(tmp_path_factory) -> Order:
    """The smoke recipe, small, on the toy corpus."""
    from ser_core.data.corpora import load_corpus

    folder = tmp_path_factory.mktemp("material")
    torch.manual_seed(0)
    settings = CompactSettings(width=32, n_transformer_layers=2, n_heads=2, feedforward=32)
    Compact(settings).save(folder / "encoder")
    table = load_corpus("synthetic", folder / "toy").table
    odd = table.drop(table.index[[0, *range(1, len(table), 16)]])  # shares of unequal size
    odd[["path", "speaker", "gender", "emotion", "text_id"]].to_csv(folder / "toy.csv")
    return Order(
        "smoke", (f"toy={folder / 'toy.csv'}",), f"compact={folder / 'encoder'}", SMALL, device="cpu", threads=1
    )


@pytest.fixture
def workspace(tmp_path):
    return open_workspace(tmp_path / "workspace")


@pytest.fixture
def one_thread():
    """As torchrun gives each of its processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _wait(condition, what: str):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited in vain for {what}")


def _here(order: Order, folder: Path, workspace) -> None:
    """The same run in this process."""
    asked = Asked(order.seed, order.device)
    assert train(order.resolved(), load_corpora(list(order.corpora)), folder, workspace, asked, lambda line: None)


def _torchrun(order: Order, folder: Path, workspace) -> None:
    said = [*order.arguments(folder), "--workspace", str(workspace.root)]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launcher += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]  # any free port
    done = subprocess.run([*launcher, "-m", "ser_core", *said], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr


def _long(order: Order, n_epochs: int = 4000) -> Order:
    return replace(order, settings=(*SMALL[:-1], f"training.epochs={n_epochs}"))


def _n_epochs(job) -> int:
    return len(read_job(job.folder).history())


@pytest.mark.parametrize("tune", ["none", "all"])
def test_two_processes_come_to_the_result_of_one(order, workspace, tmp_path, tune, one_thread):
    settings = (*SMALL, f"encoder.tune={tune}", "training.epochs=1")
    _here(replace(order, settings=settings), tmp_path / "one", workspace)
    _here(replace(order, settings=(*settings, "training.accumulate=2")), tmp_path / "parts", workspace)
    _torchrun(replace(order, settings=settings), tmp_path / "two", workspace)
    one, parts, two = (pd.read_csv(tmp_path / name / "predictions.csv") for name in ("one", "parts", "two"))
    p = [name for name in one if name.startswith("p_")]
    np.testing.assert_allclose(parts[p], two[p], atol=2e-5)  # the same additions in the same order
    np.testing.assert_allclose(one[p], two[p], atol=1e-4)
    losses = [read_job(tmp_path / name).history()["emotion"] for name in ("one", "two")]
    np.testing.assert_allclose(*losses, atol=1e-4)


def test_a_killed_run_is_lost_and_goes_on_from_its_last_state_to_the_same_result(order, workspace, tmp_path):
    order = replace(order, settings=(*SMALL[:-1], "training.epochs=30"))
    _here(order, tmp_path / "whole", workspace)
    job = start_job(order, workspace)
    rng, seen = np.random.default_rng(0), 0
    for _ in range(3):
        _wait(lambda job=job: read_job(job.folder).state == "running", "it to begin")
        _wait(lambda job=job, seen=seen: _n_epochs(job) > seen, "an epoch")
        time.sleep(float(rng.uniform(0.0, 0.4)))
        pid = json.loads((job.folder / "status.json").read_text())["pid"]
        before = read_job(job.folder).history()
        seen = len(before)
        os.kill(pid, signal.SIGKILL)
        _wait(lambda job=job: not is_held(job.folder), "its lock")
        job = read_job(job.folder)
        assert job.state == "lost" and job.can_resume and not job.can_stop
        job = resume_job(job, workspace)
        _wait(lambda job=job, seen=seen: _n_epochs(job) >= seen, "what was reached before")
        kept = read_job(job.folder).history()[:seen]
        assert kept["seconds"].tolist() == before["seconds"].tolist()  # the very same epochs, not trained again
    _wait(lambda: read_job(job.folder).is_over, "the end")
    assert read_job(job.folder).state == "finished", read_job(job.folder).log_tail()
    models = [json.loads((folder / "report.json").read_text())["models"] for folder in (tmp_path / "whole", job.folder)]
    assert models[0] == models[1]


def test_a_run_is_found_stopped_resumed_and_stopped_again(order, workspace):
    job = start_job(_long(order), workspace)
    assert [one.name for one in list_jobs(workspace)] == [job.name]
    _wait(lambda: _n_epochs(job) > 1, "epochs")
    running = read_job(job.folder)
    assert running.state == "running"
    _wait(lambda: read_job(job.folder).progress["share"] > 0, "the heartbeat to say how far it is")
    with pytest.raises(CannotDo):
        resume_job(running, workspace)
    stopped = stop_job(running)
    assert stopped.state == "stopped" and not is_held(job.folder)
    n_before = _n_epochs(job)
    again = resume_job(stopped, workspace)
    _wait(lambda: _n_epochs(again) > n_before, "more epochs")
    assert stop_job(read_job(job.folder)).state == "stopped"
    epochs = read_job(job.folder).history()["epoch"]
    assert epochs.tolist() == list(range(1, len(epochs) + 1))


def test_one_run_a_device_the_others_wait_their_turn(order, workspace):
    first = start_job(_long(order), workspace)
    _wait(lambda: read_job(first.folder).state == "running", "the first to run")
    second = start_job(order, workspace)
    _wait(lambda: "waiting" in read_job(second.folder).progress.get("words", ""), "the second to wait")
    assert read_job(second.folder).state == "queued"
    stop_job(read_job(first.folder))
    _wait(lambda: read_job(second.folder).is_over, "the second to end")
    assert read_job(second.folder).state == "finished"


def test_a_run_that_does_not_listen_is_ended_and_keeps_its_state(order, workspace):
    job = start_job(_long(order), workspace)
    _wait(lambda: _n_epochs(job) > 1, "epochs")
    pid = json.loads((job.folder / "status.json").read_text())["pid"]
    os.kill(pid, signal.SIGSTOP)
    stopped = stop_job(read_job(job.folder), within_s=0.3)
    assert stopped.state == "stopped" and not is_held(job.folder)
    assert list((job.folder / "state" / "speaker_reference").glob("step-*"))


def test_what_cannot_be_done_is_said_before_anything_is_made(order, workspace):
    from ser_core.data.manifest import BadCorpus

    with pytest.raises(BadCorpus):
        start_job(replace(order, corpora=("ravdess=/nowhere",)), workspace)
    assert list_jobs(workspace) == []


def test_a_run_stopped_as_soon_as_it_was_started_is_stopped_and_can_be_resumed(order, workspace):
    job = start_job(order, workspace)
    stopped = stop_job(job)
    assert stopped.state == "stopped"
    _wait(lambda: not is_held(job.folder), "its end")
    again = resume_job(stopped, workspace)
    _wait(lambda: read_job(again.folder).is_over, "the end")
    assert read_job(again.folder).state == "finished", read_job(again.folder).log_tail()


def test_a_run_outlives_the_program_that_started_it(order, workspace):
    said = (
        "import json, sys, time; from ser_core.training.jobs import Order, start_job; from ser_core.workspace import open_workspace; "
        "asked = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(sys.argv[1]).items()}; "
        "start_job(Order(**asked), open_workspace(sys.argv[2])); print('started', flush=True); time.sleep(600)"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", said, json.dumps(order.to_json()), str(workspace.root)],
        stdout=subprocess.PIPE,
        text=True,
    )
    with program:
        assert program.stdout.readline() == "started\n"
        program.kill()
    (job,) = list_jobs(workspace)
    _wait(lambda: read_job(job.folder).is_over, "the end")
    assert read_job(job.folder).state == "finished"
