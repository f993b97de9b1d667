"""A run is killed at random instants and resumed each time: is the last acknowledged state ever lost, is the result the same?

    python benchmarks/kills.py --corpus NAME=DIR [--kills 20] [--output FILE.json]

The whole run is made once undisturbed; then the same again, killed (SIGKILL) again and again.
"""

import json
import os
import signal
import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

import numpy as np

from ser_core.data.tables import write_json
from ser_core.training.jobs import Job, Order, read_job, resume_job, start_job
from ser_core.training.provenance import provenance
from ser_core.training.status import is_held
from ser_core.workspace import Workspace, open_workspace

_SETTINGS = ("training.epochs=120", "settings.embedding=64", "settings.hidden=64")


def main() -> int:
    """Measure, print and write; 1 if anything was lost."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True, metavar="NAME=DIR")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--output", metavar="FILE.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = open_workspace(folder)
        order = Order("smoke", (arguments.corpus,), settings=_SETTINGS, device="cpu", threads=1)
        whole = _until_over(start_job(order, workspace))
        found = _killed(order, workspace, arguments.kills)
        again = read_job(Path(found.pop("folder")))
        result = {
            **found, "finished": found["state"] == "finished",
            "the same result as undisturbed": _models(whole) == _models(again),
            "corpus": arguments.corpus.partition("=")[0], "seed": 0, **provenance(),
        }  # fmt: skip
    print(json.dumps(result, indent=2))
    if arguments.output:
        write_json(Path(arguments.output), result)
    return 0 if result["the same result as undisturbed"] and not result["kills_that_lost_an_epoch"] else 1


def _killed(order: Order, workspace: Workspace, n: int) -> dict:
    rng, job = np.random.default_rng(0), start_job(order, workspace)
    folder, states, lost, n_kills = job.folder, [], 0, 0
    while n_kills < n and not read_job(folder).is_over:
        _wait(lambda: (folder / "recipe.json").exists() and is_held(folder))
        time.sleep(float(rng.uniform(0.5, 6.0)))
        acknowledged = _seconds(folder)  # an epoch stands there only once its state is saved
        if read_job(folder).is_over:
            break
        os.kill(json.loads((folder / "status.json").read_text())["pid"], signal.SIGKILL)
        n_kills += 1
        _wait(lambda: not is_held(folder))
        states.append(read_job(folder).state)
        resume_job(read_job(folder), workspace)
        known = len(acknowledged)
        _wait(lambda known=known: len(_seconds(folder)) >= known or read_job(folder).is_over)
        lost += _seconds(folder)[:known] != acknowledged  # trained again, it would take other seconds
    job = _until_over(read_job(folder))
    if job.state != "finished":
        print(job.error, *job.log_tail(20), sep="\n", file=sys.stderr)
    return {
        "kills": n_kills,
        "states": sorted(set(states)),
        "kills_that_lost_an_epoch": lost,
        "state": job.state,
        "folder": str(folder),
    }


def _seconds(folder: Path) -> list[float]:
    """How long each epoch took: no two trainings take the same."""
    history = read_job(folder).history()
    return history["seconds"].tolist() if len(history) else []


def _until_over(job: Job) -> Job:
    _wait(lambda: read_job(job.folder).is_over)
    return read_job(job.folder)


def _models(job: Job) -> dict | None:
    return (job.report() or {}).get("models")


def _wait(condition) -> None:
    end = time.monotonic() + 900
    while not condition():
        if time.monotonic() > end:
            sys.exit("waited in vain")
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
