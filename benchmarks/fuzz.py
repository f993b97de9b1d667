"""Whatever comes in, a reader gives a valid value or its own small named error: 100,000 bent inputs, and coverage-guided minutes.

    python benchmarks/fuzz.py [--cases SHARE] [--readers NAME …] [--seed N] [--coverage-guided SECONDS] [--output FILE.json] [--keep DIR]

Cases are valid inputs of the project's own making, bent (fuzz_mutations.py), and one in twenty made from nothing by hypothesis. They
run in a process of their own: one that hangs (`LIMIT_S`), dies or grows by more than `MOST_MIB` is a finding, as is any
exception that no reader names. `--coverage-guided` gives every reader as many seconds of atheris (extra `fuzz`) beside.
"""

import faulthandler
import hashlib
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from argparse import ArgumentParser
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

LIMIT_S = 5.0
"""Of one case, by the clock; a computer that is busy with other things needs more."""

MOST_MIB = 512
"""By which reading one case may raise the peak of resident memory; an utterance of eight channels at 192 kHz takes 420."""

ADDRESSES_GIB = 8
"""Beyond which memory is refused to a worker; what was mapped before is not counted."""

FROM_NOTHING = 0.05
"""Share of the cases that are not bent but made from nothing."""

FOUND = Path(__file__).resolve().parents[1] / "tests" / "found"
"""Inputs that once went wrong; each is read again first."""


@dataclass
class Told:
    """What a worker tells of a reader."""

    cases: int = 0
    seconds: float = 0.0
    outcomes: Counter = field(default_factory=Counter)
    peak_growth_mib: float = 0.0
    findings: dict[str, tuple[int, bytes]] = field(default_factory=dict)


def case_of(name: str, number: int, seed: int, valid: list[bytes]) -> bytes:
    """Case `number` of a reader, always the same one for a seed."""
    from fuzz_mutations import bent
    from fuzz_readers import READERS

    rng = Random(f"{seed}-{name}-{number}")
    if rng.random() < FROM_NOTHING:
        return from_nothing(READERS[name].kind, rng)
    return bent(READERS[name].kind, rng.choice(valid), rng)


def from_nothing(kind: str, rng: Random) -> bytes:
    """Drawn by hypothesis: JSON values for what reads JSON, text for what reads text, else bytes."""
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from hypothesis import strategies as st

    plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    tree = st.recursive(
        plain,
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
        max_leaves=20,
    )
    as_bytes = {
        "json": tree.map(lambda value: json.dumps(value).encode()),
        "csv": st.lists(st.lists(st.text(max_size=10), max_size=6), max_size=6).map(
            lambda rows: "\n".join(map(",".join, rows)).encode()
        ),
        "toml": st.text(max_size=200).map(str.encode),
        "settings": st.lists(st.text(max_size=40), max_size=4).map(lambda lines: "\n".join(lines).encode()),
    }.get(kind, st.binary(max_size=300))
    drawn = [b""]

    @seed(rng.getrandbits(32))
    @settings(
        max_examples=4, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(as_bytes)
    def draw(value: bytes) -> None:
        drawn[0] = value

    draw()
    return drawn[0]


def where(error: BaseException) -> str:
    """Kind of an exception and the line of ours that it passed last: what tells one finding from another."""
    steps = traceback.extract_tb(error.__traceback__)
    own = [step for step in steps if "ser_core" in Path(step.filename).parts] or steps
    return f"{type(error).__name__} at {Path(own[-1].filename).name}:{own[-1].lineno} ({' '.join(str(error).split())[:120]})"


def work(name: str, first: int, last: int, seed: int, number, connection) -> None:
    """In a process of its own: read what once went wrong, then cases `first` to `last`, and tell."""
    faulthandler.enable(os.fdopen(os.dup(2), "w"))
    for stream in (1, 2):  # what libraries say of broken files
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    with tempfile.TemporaryDirectory() as place:
        from fuzz_readers import READERS, outcome

        reader, folder, told = READERS[name], Path(place), Told()
        path = folder / reader.file
        valid = reader.make(folder)
        for content in valid:
            path.write_bytes(content)
            outcome(reader, path)
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (mapped + ADDRESSES_GIB * 2**30,) * 2)
        from_nothing(reader.kind, Random(0))  # what it needs is loaded now, not within the first case
        lowest = peak = _peak_mib()
        start = time.perf_counter()
        for number.value in range(first, last):
            content = case_of(name, number.value, seed, valid)
            path.write_bytes(content)
            try:
                told.outcomes[outcome(reader, path)] += 1
                finding = ""
            except Exception as error:
                finding = where(error)
            grown, peak = _peak_mib() - peak, _peak_mib()
            if grown > MOST_MIB:
                finding = finding or f"memory grew by {grown:.0f} MiB"
            if finding:
                key = finding.partition(" (")[0]
                n, smallest = told.findings.get(key, (0, content))
                told.findings[key] = (n + 1, min(content, smallest, key=len))
        told.cases, told.seconds, told.peak_growth_mib = last - first, time.perf_counter() - start, peak - lowest
        connection.send(told)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fuzz(name: str, n_cases: int, seed: int) -> Told:
    """All cases of a reader, in as many processes as it takes; those that end one are findings."""
    context, whole, first = multiprocessing.get_context("fork"), Told(), 0  # what takes long to import is there already
    while first < n_cases:
        number = context.Value("q", -1)
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(name, first, n_cases, seed, number, theirs))
        process.start()
        theirs.close()
        told, why = _wait(process, ours, number)
        process.join()
        if told is not None:
            whole.cases += told.cases
            whole.seconds += told.seconds
            whole.outcomes += told.outcomes
            whole.peak_growth_mib = max(whole.peak_growth_mib, told.peak_growth_mib)
            for key, (n, content) in told.findings.items():
                before, smallest = whole.findings.get(key, (0, content))
                whole.findings[key] = (before + n, min(content, smallest, key=len))
            break
        if number.value < 0:
            raise SystemExit(f"the valid inputs of '{name}' could not be read")
        with tempfile.TemporaryDirectory() as place:  # made again, to be kept
            from fuzz_readers import READERS

            content = case_of(name, number.value, seed, READERS[name].make(Path(place)))
        n, smallest = whole.findings.get(why, (0, content))
        whole.findings[why] = (n + 1, min(content, smallest, key=len))
        whole.cases += number.value + 1 - first  # what they told is lost with the process
        first = number.value + 1
    return whole


def _wait(process, connection, number) -> tuple[Told | None, str]:
    """What the worker tells, or why it cannot."""
    current, since = number.value, time.monotonic()
    while True:
        if connection.poll(0.2):
            try:
                return connection.recv(), ""
            except EOFError:
                process.join()
                return None, f"the process ended with {process.exitcode}"
        if number.value != current:
            current, since = number.value, time.monotonic()
        elif current >= 0 and time.monotonic() - since > LIMIT_S:
            process.kill()
            return None, f"a case took longer than {LIMIT_S:g} s"


# guided by coverage


def guide(name: str, seconds: int, seed: int, corpus: Path) -> None:
    """In a process of its own that atheris ends: every line that a case newly reaches makes it worth bending."""
    import atheris

    with atheris.instrument_imports(
        include=["ser_core", "soundfile", "json", "csv", "zipfile", "tomllib", "safetensors"]
    ):
        from fuzz_readers import READERS, outcome
    from fuzz_mutations import bent

    reader, folder = READERS[name], Path(tempfile.mkdtemp(dir=corpus))
    path, found, n = folder / reader.file, corpus / "found", 0
    found.mkdir(exist_ok=True)
    valid = reader.make(folder)
    for place, content in enumerate(valid):
        (corpus / "valid").mkdir(exist_ok=True)
        (corpus / "valid" / str(place)).write_bytes(content)

    def one(content: bytes) -> None:
        nonlocal n
        n += 1
        (corpus / "n").write_text(str(n)) if n % 50 == 0 else None
        path.write_bytes(content)
        try:
            outcome(reader, path)
        except Exception as error:
            key = where(error)
            file = found / hashlib.sha256(key.partition(" (")[0].encode()).hexdigest()[:16]
            if not file.exists() or len(content) < len(file.read_bytes()):
                file.write_bytes(content)
                file.with_suffix(".txt").write_text(key)

    def mutate(content: bytes, most: int, number: int) -> bytes:
        rng = Random(number)
        try:
            changed = bent(reader.kind, content, rng) if rng.random() < 0.5 else atheris.Mutate(content, most)
        except Exception:  # what is bent already may have no structure left
            changed = atheris.Mutate(content, most)
        return changed[:most]

    atheris.Setup(
        [sys.argv[0], f"-max_total_time={seconds}", f"-timeout={LIMIT_S:.0f}", f"-seed={seed + 1}", "-max_len=200000", "-rss_limit_mb=6000",
         "-print_final_stats=1", f"-artifact_prefix={found}/", str(corpus / "grown"), str(corpus / "valid")],
        one, custom_mutator=mutate,
    )  # fmt: skip
    (corpus / "grown").mkdir(exist_ok=True)
    atheris.Fuzz()


def guided(name: str, seconds: int, seed: int) -> dict:
    """What atheris found in a reader: runs, coverage, findings."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, __file__, "--guide", name, str(seconds), "--seed", str(seed), "--corpus", place]
        done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
        said = done.stderr
        stats = dict(line[6:].split(": ", 1) for line in said.splitlines() if line.startswith("stat::"))
        covered = [line for line in said.splitlines() if " cov: " in line]
        found = Path(place) / "found"
        findings = {file.read_text(): file.with_suffix("").read_bytes() for file in found.glob("*.txt")}
        findings |= {
            file.name[:40]: file.read_bytes() for file in found.glob("*-*")
        }  # libFuzzer's own: crash-, timeout-, oom-
        if done.returncode and not findings:
            findings[f"atheris ended with {done.returncode}: {said[-300:]}"] = b""
        return {
            "runs": int(stats.get("stat::number_of_executed_units", stats.get("number_of_executed_units", 0))),
            "covered": int(covered[-1].split(" cov: ")[1].split()[0]) if covered else 0,
            "covered_at_first": int(covered[0].split(" cov: ")[1].split()[0]) if covered else 0,
            "grown": len(list((Path(place) / "grown").glob("*"))),
            "findings": findings,
        }  # fmt: skip


def keep(folder: Path | None, name: str, findings: dict[str, bytes]) -> None:
    """Write what was found, to be made small and kept in tests/found."""
    for key, content in findings.items() if folder else ():
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / hashlib.sha256(key.encode()).hexdigest()[:8]).write_bytes(content)


def main() -> int:
    """Fuzz, print and write; 1 if anything was found."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        "--cases", type=float, default=1.0, metavar="SHARE", help="of the cases of each reader (default: all)"
    )
    parser.add_argument("--readers", nargs="+", metavar="NAME")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--coverage-guided", type=int, default=0, metavar="SECONDS", help="of atheris for each reader, beside"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where inputs that go wrong are written")
    parser.add_argument("--output", type=Path, metavar="FILE.json")
    parser.add_argument("--guide", nargs=2, help="used by the command itself")
    parser.add_argument("--corpus", type=Path, help="used by the command itself")
    arguments = parser.parse_args()
    if arguments.guide:
        guide(arguments.guide[0], int(arguments.guide[1]), arguments.seed, arguments.corpus)
        return 0
    from fuzz_readers import READERS

    result: dict = {"readers": {}, "coverage_guided": {}}
    for name in arguments.readers or READERS:
        told = fuzz(name, round(arguments.cases * READERS[name].n_cases), arguments.seed) if arguments.cases else Told()
        findings = {key: n for key, (n, _) in told.findings.items()}
        keep(arguments.keep, name, {key: content for key, (_, content) in told.findings.items()})
        result["readers"][name] = {
            "cases": told.cases, "seconds": round(told.seconds, 1), "outcomes": dict(told.outcomes.most_common()),
            "peak_growth_mib": round(told.peak_growth_mib, 1), "findings": findings,
        }  # fmt: skip
        print(
            f"{name}: {told.cases} cases, {told.seconds:.0f} s, {dict(told.outcomes)}, {findings or 'nothing found'}",
            flush=True,
        )
        if arguments.coverage_guided:
            by_coverage = guided(name, arguments.coverage_guided, arguments.seed)
            keep(arguments.keep, name, by_coverage["findings"])
            result["coverage_guided"][name] = {**by_coverage, "findings": sorted(by_coverage["findings"])}
            print(f"{name}, guided: {result['coverage_guided'][name]}", flush=True)
    return _summed_up(result, arguments)


def _summed_up(result: dict, arguments) -> int:
    from ser_core.data.tables import write_json
    from ser_core.training.provenance import provenance

    readers, by_coverage = result["readers"].values(), result["coverage_guided"].values()
    n_found = sum(len(one["findings"]) for one in (*readers, *by_coverage))
    whole = {
        "cases": sum(one["cases"] for one in readers),
        "seconds": round(sum(one["seconds"] for one in readers), 1),
        "guided_runs": sum(one["runs"] for one in by_coverage),
        "guided_seconds_each": arguments.coverage_guided,
        "findings": n_found,
        "limits": {"seconds_a_case": LIMIT_S, "peak_growth_mib": MOST_MIB, "addresses_gib": ADDRESSES_GIB},
        "seed": arguments.seed,
        "cores": os.cpu_count(),
        **provenance(),
        **result,
    }
    print(f"{whole['cases']} cases in {whole['seconds']:.0f} s, {whole['guided_runs']} guided runs, {n_found} findings")
    if arguments.output:
        write_json(arguments.output, whole)
    return int(n_found > 0)


if __name__ == "__main__":
    sys.exit(main())
