"""The program is killed (SIGKILL) at random instants: is anything acknowledged ever lost, is anything ever there by half?

    python benchmarks/kills.py writes [--kills 20] [--only WORDS] [--folder DIR] [--output FILE.json]
    python benchmarks/kills.py stops [--kills 4] [--output FILE.json]
    python benchmarks/kills.py training --corpus NAME=DIR [--kills 20] [--output FILE.json]

`writes` kills everything that writes (killed_writes.py), looks at what is there after each kill, and at last whether what the
killed ones left goes. `stops` cancels trainings, every second one of which does not listen, and takes the time. `training` makes a run once undisturbed; then the same again, killed and resumed again and again.
The other part of the output file stays.
"""

import json
import os
import signal
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ser_core.data.tables import write_json
from ser_core.data.whole import UNFINISHED
from ser_core.training.jobs import Job, Order, read_job, resume_job, start_job, stop_job
from ser_core.training.provenance import provenance
from ser_core.training.status import is_held
from ser_core.workspace import Workspace, open_workspace

_SETTINGS = ("training.epochs=120", "settings.embedding=64", "settings.hidden=64")


def main() -> int:
    """Measure, print and write; 1 if anything was lost."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("writes", "stops", "training"))
    parser.add_argument("--corpus", metavar="NAME=DIR", help="for training")
    parser.add_argument("--only", default="", metavar="WORDS", help="writes whose name holds them")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", metavar="DIR", help="where the writes go (default: the system's temporary folder)")
    parser.add_argument("--output", metavar="FILE.json")
    arguments = parser.parse_args()
    if arguments.what == "training" and not arguments.corpus:
        parser.error("training needs --corpus")
    result, is_well = {"writes": _writes, "stops": _stops, "training": _training}[arguments.what](arguments)
    print(json.dumps(result, indent=2))
    if arguments.output:
        path = Path(arguments.output)
        before = json.loads(path.read_text()) if path.exists() else {}
        write_json(path, {**before, arguments.what: {**result, "seed": arguments.seed, **provenance()}})
    return 0 if is_well else 1


def _writes(arguments: Namespace) -> tuple[dict, bool]:
    from killed_writes import WRITES  # torch, and one thread of it: forked processes inherit both

    torch.set_num_threads(1)
    rng, found = np.random.default_rng(arguments.seed), {}
    for name, write in WRITES.items():
        if arguments.only in name:
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                found[name] = _killed_write(write, Path(folder), arguments.kills, rng)
            print(f"{name}: {found[name]}", file=sys.stderr, flush=True)
    return {"each": found}, not any(one["problems"] or one["left"] for one in found.values())


def _killed_write(write, folder: Path, n_kills: int, rng: np.random.Generator) -> dict:
    """Kill it so often; what was acknowledged, what was wrong, and how many unfinished files are left at last."""
    write.prepare(folder)
    said, problems = [], []
    for life in range(n_kills):
        said += _one_life(partial(write.go, folder, life), float(rng.uniform(0.0, 1.5)))
        problems += _in_a_fork(partial(write.check, folder, said))
    left = list(folder.rglob(f"*{UNFINISHED}"))
    for path in left:
        os.utime(path, (0, 0))  # long ago
    _one_life(partial(write.go, folder, n_kills), 0.0)
    last = [path for path in folder.rglob(f"*{UNFINISHED}") if path.stat().st_mtime < 1]
    return {
        "kills": n_kills,
        "acknowledged": len(said),
        "problems": problems,
        "unfinished": len(left),
        "left": len(last),
    }


def _one_life(go: Callable, share: float) -> list[str]:
    """What a forked process acknowledged that was killed some time after its first word: a share of what that took."""
    heard, speaks = os.pipe()
    child, begun = os.fork(), time.monotonic()
    if child == 0:
        try:
            os.close(heard)
            go(lambda word: os.write(speaks, f"{word}\n".encode()))
        except BaseException as error:
            os.write(2, f"the writer failed: {error!r}\n".encode())
        finally:
            os._exit(1)
    os.close(speaks)
    content = os.read(heard, 10_000)
    time.sleep(min(0.3, share * (time.monotonic() - begun)))
    os.kill(child, signal.SIGKILL)
    if os.waitpid(child, 0)[1] != signal.SIGKILL:
        sys.exit("the writer ended by itself")
    while more := os.read(heard, 10_000):
        content += more
    os.close(heard)
    return content.decode().split()


def _in_a_fork(look: Callable[[], Iterable[str]]) -> list[str]:
    """What is found in a process of its own, which remembers nothing; its own trouble is a problem too."""
    heard, speaks = os.pipe()
    if (child := os.fork()) == 0:
        try:
            found = list(look())
        except BaseException as error:
            found = [repr(error)]
        os.write(speaks, json.dumps(found).encode())
        os._exit(0)
    os.close(speaks)
    with open(heard, "rb") as pipe:  # noqa: PTH123 - a number
        found = json.loads(pipe.read())
    os.waitpid(child, 0)
    return found


def _stops(arguments: Namespace) -> tuple[dict, bool]:
    seconds: dict[str, list[float]] = {"listens": [], "does not listen": []}
    with tempfile.TemporaryDirectory() as folder:
        workspace, corpora = open_workspace(folder), (f"synthetic={folder}/toy",)
        order = Order("smoke", corpora, settings=("training.epochs=4000", *_SETTINGS[1:]), device="cpu", threads=1)
        for place in range(arguments.kills):
            job = start_job(order, workspace)
            _wait(lambda job=job: len(_seconds(job.folder)) > 1)
            if place % 2:
                os.kill(json.loads((job.folder / "status.json").read_text())["pid"], signal.SIGSTOP)
            begun = time.monotonic()
            stop_job(read_job(job.folder))
            _wait(lambda job=job: not is_held(job.folder))
            seconds["does not listen" if place % 2 else "listens"].append(round(time.monotonic() - begun, 2))
    return {"seconds until the process is gone": seconds}, max(sum(seconds.values(), [])) <= 5.0


def _training(arguments: Namespace) -> tuple[dict, bool]:
    with tempfile.TemporaryDirectory() as folder:
        workspace = open_workspace(folder)
        order = Order("smoke", (arguments.corpus,), settings=_SETTINGS, device="cpu", threads=1)
        whole = _until_over(start_job(order, workspace))
        found = _killed(order, workspace, arguments.kills)
        again = read_job(Path(found.pop("folder")))
        result = {
            **found, "finished": found["state"] == "finished",
            "the same result as undisturbed": _models(whole) == _models(again),
            "corpus": arguments.corpus.partition("=")[0],
        }  # fmt: skip
    return result, result["the same result as undisturbed"] and not result["kills_that_lost_an_epoch"]


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
