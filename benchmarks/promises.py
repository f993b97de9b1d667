"""Which tests and measurements hold each promise of README, and what they came to.

.venv/bin/pytest -n 2 --dist loadfile --junitxml=suite.xml && .venv/bin/python benchmarks/promises.py suite.xml

(of several files, what a later one says of a test counts) counts, for each promise, the tests that hold it and writes results/promises.json; quote.py puts the table into README, with
the figures that the commands named there have measured.
"""

import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from promised import PROMISES, Promise

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results"
COUNTED = RESULTS / "promises.json"


class BadPromise(ValueError):
    """A promise that nothing holds."""


def count(*suites: Path) -> dict[str, dict[str, int]]:
    """How many tests of each promise passed, failed and were skipped in a run of the suite; the last word on a test counts.

    Raises:
        BadPromise: a promise names a test that was not run.
    """
    said: dict[tuple[str, str], str] = {}
    for case in (case for suite in suites for case in ElementTree.parse(suite).iter("testcase")):
        outcome = next((kind for kind in ("failure", "error", "skipped") if case.find(kind) is not None), "passed")
        file, name = f"{case.get('classname', '').replace('.', '/')}.py", case.get("name", "")
        said[file, name] = {"failure": "failed", "error": "failed"}.get(outcome, outcome)
    ran: dict[str, list[str]] = {}
    for (file, name), outcome in said.items():
        ran.setdefault(f"{file}::{name.partition('[')[0]}", []).append(outcome)
    counted = {}
    for promise in PROMISES:
        outcomes: list[str] = []
        for wanted in promise.tests:
            names = [test for test in ran if f"{test}::".startswith(f"tests/{wanted}::")]
            found = [outcome for test in names for outcome in ran[test]]
            if not found:
                raise BadPromise(f"{promise.name} names {wanted}, which was not run; run the whole suite")
            outcomes += found
        counted[promise.name] = {kind: outcomes.count(kind) for kind in ("passed", "failed", "skipped")}
    return counted


def row(promise: Promise) -> tuple[str, str, str, str]:
    """Name, promise, how it is tested and by which command, what was measured."""
    tests = json.loads(COUNTED.read_text(encoding="utf-8"))["promises"][promise.name]
    files = list(dict.fromkeys(f"`tests/{one.partition('::')[0]}`" for one in promise.tests))
    how = [*files, f"`{promise.command}`"] if promise.command else files
    figures = []
    if promise.figure:
        figures.append(promise.figure(json.loads((RESULTS / promise.results).read_text(encoding="utf-8"))))
    if promise.tests:
        kept = {"passed": "passed", "failed": "**failed**", "skipped": "skipped"}
        figures.append("tests: " + ", ".join(f"{tests[kind]} {said}" for kind, said in kept.items() if tests[kind]))
    return promise.name, promise.words, ", ".join(how), "; ".join(figures)


def table() -> tuple[tuple[str, ...], list[tuple[str, str, str, str]]]:
    """Head and rows of README's table."""
    return ("", "promise", "held by", "measured"), [row(promise) for promise in PROMISES]


def main() -> int:
    """Count and write; 1 where a test failed or was skipped."""
    from ser_core.data.tables import write_json
    from ser_core.training.provenance import provenance

    counted = count(*map(Path, sys.argv[1:]))
    write_json(COUNTED, {"promises": counted, **provenance()})
    for name, tests in counted.items():
        print(name, tests)
    return int(any(tests["failed"] or tests["skipped"] for tests in counted.values()))


if __name__ == "__main__":
    sys.exit(main())
