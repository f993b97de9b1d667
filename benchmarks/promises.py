"""Which tests and measurements hold each promise of README, and what they came to.

.venv/bin/pytest -n 2 --dist loadfile --junitxml=suite.xml && .venv/bin/python benchmarks/promises.py suite.xml

counts, for each promise, the tests that hold it and writes results/promises.json; quote.py puts the table into README, with
the figures that the commands named there have measured.
"""

import json
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results"
COUNTED = RESULTS / "promises.json"


class BadPromise(ValueError):
    """A promise that nothing holds."""


@dataclass(frozen=True)
class Promise:
    """One row of the table.

    Attributes:
        name: R1 to R20 and what else is promised.
        words: what is promised.
        tests: files of tests, or FILE::test_name; parameters of a test count as tests.
        results: a file in results/, and from what it holds to the figure in words.
        command: what measures it.
    """

    name: str
    words: str
    tests: tuple[str, ...] = ()
    results: str = ""
    figure: Callable[[Any], str] | None = None
    command: str = ""


def count(suite: Path) -> dict[str, dict[str, int]]:
    """How many tests of each promise passed, failed and were skipped in a run of the suite.

    Raises:
        BadPromise: a promise names a test that was not run.
    """
    ran: dict[str, list[str]] = {}
    for case in ElementTree.parse(suite).iter("testcase"):
        outcome = next((kind for kind in ("failure", "error", "skipped") if case.find(kind) is not None), "passed")
        test = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name', '').partition('[')[0]}"
        ran.setdefault(test, []).append({"failure": "failed", "error": "failed"}.get(outcome, outcome))
    counted = {}
    for promise in PROMISES:
        outcomes: list[str] = []
        for wanted in promise.tests:
            found = [
                one
                for test, several in ran.items()
                if test == wanted or test.startswith(f"{wanted}::")
                for one in several
            ]
            if not found:
                raise BadPromise(
                    f"{promise.name} names {wanted}, which {suite.name} does not hold; run the whole suite"
                )
            outcomes += found
        counted[promise.name] = {kind: outcomes.count(kind) for kind in ("passed", "failed", "skipped")}
    return counted


def row(promise: Promise, counted: dict[str, dict[str, int]]) -> tuple[str, str, str, str]:
    """Name and promise, how it is tested, what was measured, the command."""
    tests = counted[promise.name]
    figures = (
        [promise.figure(json.loads((RESULTS / promise.results).read_text(encoding="utf-8")))] if promise.figure else []
    )
    if promise.tests:
        n = sum(tests.values())
        figures.append(f"{tests['passed']} of {n} test{'' if n == 1 else 's'} passed")
    files = dict.fromkeys(f"`{one.partition('::')[0].removeprefix('tests/')}`" for one in promise.tests)
    measured_by = f"`{promise.command}`" if promise.command else ""
    return f"{promise.name} {promise.words}", ", ".join(files), "; ".join(figures), measured_by


def main() -> int:
    """Count and write; 1 where a test failed or was skipped."""
    from ser_core.data.tables import write_json
    from ser_core.training.provenance import provenance

    counted = count(Path(sys.argv[1]))
    write_json(COUNTED, {"promises": counted, **provenance()})
    for name, tests in counted.items():
        print(name, tests)
    return int(any(tests["failed"] or tests["skipped"] for tests in counted.values()))
