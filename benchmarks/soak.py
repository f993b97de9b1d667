"""Does anything pile up? python benchmarks/soak.py --corpus DIR [--minutes 30] [--people 4] [--shared] [--output FILE.json]

Starts the app with the model compact in a workspace of its own, and lets people come and go: each opens a page, makes a profile,
enrols, compares, looks at Fairness, saves what can be saved, erases the profile and leaves; then comes as somebody new. Meanwhile
the app's memory (resident set), open files and threads are counted; at the end, what is left in the private folder.

1 if memory, files or threads grow, a file is left, a profile is left, or the app said something of a bug.
"""

import json
import os
import sqlite3
import sys
import tempfile
import threading
import time
import traceback
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import people
import psutil
from load import MODEL, PASSWORD, machine
from people import EMOTIONS, Page, Refused, utterance

from ser_core.data.tables import write_json
from ser_core.training.provenance import provenance

_EVERY_S = 2.0
_WARM_UP = 12  # visits
_VISIT_S = 25.0
"""A visit takes no less, or an account would record more often than it may."""

_MAY_GROW = {"memory_mib": 0.05, "open_files": 0.1, "threads": 0.1}
"""From the first tenth, after everything was done once, to the last: as a share of the first."""


def main() -> int:
    """Measure, print and write."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="RAVDESS")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--shared", action="store_true", help="an account each, at an app that is shared")
    parser.add_argument("--output", type=Path, metavar="FILE.json")
    arguments = parser.parse_args()
    accounts = [f"Person {place}" for place in range(arguments.people)] if arguments.shared else []
    with tempfile.TemporaryDirectory() as folder:
        if accounts:
            people.make_accounts(folder, dict.fromkeys(accounts, PASSWORD))
        options = ["--model", MODEL, *(["--shared"] if accounts else [])]
        with people.started(Path(folder), *options) as (url, app):
            result = soak(url, psutil.Process(app.pid), Path(folder), accounts, arguments)
    result |= {"people": arguments.people, "shared": arguments.shared, "model": MODEL, "cores": os.cpu_count()}
    result |= {"seed": 0, "machine": machine(), **provenance()}
    print(json.dumps(result, indent=2))
    if arguments.output:
        write_json(arguments.output, result)
    return 0 if result["passed"] else 1


def soak(url: str, app: psutil.Process, folder: Path, accounts: list[str], arguments) -> dict:
    """Let people come and go; what was counted meanwhile and what is left."""
    over, visits, troubles = threading.Event(), [], []
    crowd = [
        threading.Thread(target=come_and_go, args=[url, place, accounts, arguments.corpus, over, visits, troubles])
        for place in range(arguments.people)
    ]
    for one in crowd:
        one.start()
    while len(visits) < max(_WARM_UP, arguments.people) and not troubles:
        time.sleep(0.2)  # what is loaded on first use is there then, and what is kept of the latest visits
    counted, began = [], time.monotonic()
    while time.monotonic() - began < 60 * arguments.minutes and not troubles:
        counted.append((time.monotonic() - began, app.memory_info().rss / 2**20, app.num_fds(), app.num_threads()))
        time.sleep(_EVERY_S)
    over.set()
    for one in crowd:
        one.join()
    if troubles:
        return {"passed": False, "visits": len(visits), "troubles": troubles}
    time.sleep(1.0)
    kept = [path for path in folder.rglob("*") if path.is_file() and "temporary" in path.relative_to(folder).parts]
    kept = [path for path in kept if path.suffix != ".alive"]  # the running app's own lock
    databases = list(folder.rglob("profiles.sqlite3"))
    profiles = [name for database in databases for name in _profiles(database)]
    series = dict(zip(("memory_mib", "open_files", "threads"), map(grown, np.array(counted).T[1:]), strict=True))
    minutes, memory = np.array(counted).T[0] / 60, np.array(counted).T[1]
    half = len(minutes) // 2
    return {
        "minutes": round(float(minutes[-1]), 1),
        "visits": len(visits),
        **series,
        "memory_mib_per_minute": {
            "whole": round(float(np.polyfit(minutes, memory, 1)[0]), 3),
            "second half": round(float(np.polyfit(minutes[half:], memory[half:], 1)[0]), 3),
        },
        "files_left": [str(path.relative_to(folder)) for path in kept][:20],
        "profiles_left": profiles,
        "troubles": [],
        "passed": not (kept or profiles) and all(series[name]["grown"] <= share for name, share in _MAY_GROW.items()),
    }


def _profiles(database: Path) -> list[str]:
    """Those of all accounts."""
    with closing(sqlite3.connect(database)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM profiles")]


def grown(counted: np.ndarray) -> dict[str, float]:
    """Means of the first and the last tenth, and by what share the last is more."""
    tenth = max(1, len(counted) // 10)
    first, last = float(counted[:tenth].mean()), float(counted[-tenth:].mean())
    return {"first tenth": round(first, 1), "last tenth": round(last, 1), "grown": round(last / first - 1, 4)}


def come_and_go(url, place: int, accounts: list[str], corpus: Path, over, visits: list, troubles: list) -> None:
    """One visit after the other, each as somebody new."""
    rng, actors = np.random.default_rng(place), people.actors(corpus)
    while not over.is_set():
        talks = people.client(url)
        try:
            if accounts:
                people.sign_in(talks, accounts[place], PASSWORD)
            began = time.monotonic()
            visit(Page(talks), f"Guest {place} {len(visits)}", corpus, str(rng.choice(actors)), rng)
            visits.append(place)
            over.wait(max(0.0, began + _VISIT_S - time.monotonic()))
        except Exception as error:  # whatever it is, the soak has found something
            troubles.append("".join(traceback.format_exception(error))[-2000:])
            over.set()


def visit(page: Page, name: str, corpus: Path, actor: str, rng: np.random.Generator) -> None:
    """All that one does in an hour, in half a minute."""
    page.open()
    people.create(page, name)
    emotions = [str(one) for one in rng.permutation(list(EMOTIONS))]
    for emotion in emotions[:3]:
        people.enrol(page, emotion, utterance(corpus, actor, emotion))
    for emotion in emotions[:4]:
        insist(lambda e=emotion: people.compare(page, utterance(corpus, actor, e, take=2)))
    page.do("compare-meant", "input", compare_meant=emotions[0])
    page.do("compare-try")
    saved(page, "compare-visit-json")
    people.enrol(page, emotions[3], utterance(corpus, actor, emotions[3]))
    page.do(f"enrol-{emotions[0]}-delete")
    page.do(f"enrol-{emotions[0]}-undo")
    saved(page, "enrol-export")
    page.do("fairness-demo")
    page.do("fairness-detail", "input", fairness_detail="enrolment_attention")
    saved(page, "fairness-figure-speakers-csv")
    people.erase(page)
    page.close()


def saved(page: Page, button: str) -> None:
    """Press a button that makes a file, and save it."""

    def press() -> None:
        (file,) = page.do(button).values.values()
        page.saved(file)

    insist(press)


def insist(action: Callable[[], object]) -> None:
    """Do it; once more where somebody's erasure, which takes all files to be saved with it, came in between."""
    try:
        action()
    except Refused as error:
        if error.status != 404:
            raise
        insist(action)


if __name__ == "__main__":
    sys.exit(main())
