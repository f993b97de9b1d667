"""Speed beside what a user would pick instead, on one machine in one run.

    python benchmarks/speed.py [--threads 2] [--weights DIR] [--corpus NAME=DIR] [--output FILE.json]

Two answers (baseline and personalised, 7 enrolled) of every model that ships; one answer of the same Whisper encoder in
transformers' pipeline and of MFCC statistics with an SVM; a forward pass of encoders of wav2vec2-base's and WavLM-large's
size. Each in a process of its own, one after the other, warmed up. Peak memory is that of the whole process, Python and
libraries included. A slow system is repeated less often, as the table says: at least 5 times, within about 10 s; batches
1 to 5 times. Multiply-accumulates are those of one answer, Fourier transforms not counted.
"""

import json
import os
import platform
import subprocess
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from pathlib import Path

from speed_systems import PEERS

from ser_core.commands.training_arguments import count
from ser_core.data.tables import write_json
from ser_core.encoders import ENCODERS
from ser_core.inference.models import shipped_models
from ser_core.training.provenance import provenance
from ser_core.weights import EncoderUnavailable, find_folder
from ser_core.workspace import open_workspace

REFERENCE = "wav2vec2-base"
SYSTEMS = Path(__file__).with_name("speed_systems.py")
HEADS = (
    "system", "weights, M", "p50, ms", "p95, ms", "repetitions", "utterances a second", "in batches of 16",
    "peak memory, MiB", "multiply-accumulates, G", f"times faster than {REFERENCE}'s size",
)  # fmt: skip


class MeasurementFailed(ValueError):
    """A system's process did not end well; the message is what it said last."""


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    asked, load = _asked(words), os.getloadavg()[0]
    left_out = _without_weights(asked)
    rows = [_measured(name, asked) for name in asked.only if name not in left_out]
    report = {
        "cores": os.cpu_count(), "machine": platform.machine(), "load_before": round(load, 2), "seconds": asked.seconds,
        "systems": with_ratios(rows), "left_out": left_out, **provenance(),
    }  # fmt: skip
    print(as_markdown(report))
    if asked.output:
        asked.output.parent.mkdir(parents=True, exist_ok=True)
        write_json(asked.output, report)
    return 0


def _asked(words: Sequence[str] | None) -> Namespace:
    names = [*(info.name for info in shipped_models()), *PEERS]
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=count, default=0, help="CPU threads (default: as torch chooses)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of the utterance")
    parser.add_argument("--repetitions", type=count, default=30)
    parser.add_argument("--weights", metavar="DIR", help="the folder of Whisper tiny.en (default: SER_WEIGHTS)")
    parser.add_argument("--corpus", metavar="NAME=DIR", help="to fit the SVM on (default: random features)")
    parser.add_argument("--only", action="append", choices=names, help="may be repeated (default: all)")
    parser.add_argument("--workspace", metavar="DIR")
    parser.add_argument("--output", type=Path, metavar="FILE.json")
    asked = parser.parse_args(words)
    return Namespace(**{**vars(asked), "only": asked.only or names})


def _without_weights(asked: Namespace) -> dict[str, str]:
    """Finds the folder of Whisper; who is left out for want of it, and why."""
    try:
        asked.weights = find_folder(asked.weights or ENCODERS["whisper"][1], (open_workspace(asked.workspace).models,))
    except EncoderUnavailable as error:
        needs = {"whisper-pipeline", *(info.name for info in shipped_models() if info.encoder == "whisper")}
        return {name: str(error) for name in asked.only if name in needs}
    return {}


def _measured(name: str, asked: Namespace) -> dict:
    """One system's row, from a process of its own.

    Raises:
        MeasurementFailed: it did not end well.
    """
    print(f"measuring {name}", file=sys.stderr, flush=True)
    options = {"seconds": asked.seconds, "repetitions": asked.repetitions, "weights": asked.weights,
               "corpus": asked.corpus, "workspace": asked.workspace}  # fmt: skip
    given = [word for key, value in options.items() if value is not None for word in (f"--{key}", str(value))]
    done = subprocess.run(
        [sys.executable, str(SYSTEMS), name, *given],
        capture_output=True,
        text=True,
        check=False,
        env=_environment(asked),
    )
    if done.returncode:
        raise MeasurementFailed(f"{name} ended with exit code {done.returncode}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _environment(asked: Namespace) -> dict[str, str]:
    """Threads are limited from the start, for torch and all else; models find the same Whisper as its pipeline does."""
    threads = {"OMP_NUM_THREADS": str(asked.threads)} if asked.threads else {}
    weights = {"SER_WEIGHTS": str(asked.weights)} if asked.weights else {}
    return {**os.environ, **threads, **weights, "HF_HUB_OFFLINE": "1"}


def with_ratios(rows: Sequence[Mapping]) -> list[dict]:
    """With how many times faster each median is than the reference's; nan where that was not measured."""
    reference = {row["name"]: row["p50_ms"] for row in rows}.get(REFERENCE, float("nan"))
    return [{**row, "times_faster": round(reference / row["p50_ms"], 2)} for row in rows]


def as_markdown(report: Mapping) -> str:
    """The table that benchmarks/README.md quotes."""
    threads = "/".join(sorted({str(row["threads"]) for row in report["systems"]}))
    lines = [
        f"{report['cores']} cores ({report['machine']}), {threads} threads, no GPU, torch {report['torch']}, "
        f"commit {report['commit'][:12]}, load before the run {report['load_before']}, an utterance of {report['seconds']:g} s.",
        "", f"| {' | '.join(HEADS)} |", "|" + "---|" * len(HEADS), *map(_line, report["systems"]),
    ]  # fmt: skip
    return "\n".join([*lines, *(f"\nLeft out: {name}: {why}" for name, why in report["left_out"].items())])


def _line(row: Mapping) -> str:
    faster = row["times_faster"]
    cells = [
        row["what"], f"{row['weights_m']:.3g}", f"{row['p50_ms']:.4g}", f"{row['p95_ms']:.4g}", row["repetitions"],
        f"{row['utterances_per_s']:.3g}", f"{row['batch']['utterances_per_s']:.3g}", row["peak_mib"],
        f"{row['macs_g']:.3g}", "–" if faster != faster else f"{faster:.3g}",
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    sys.exit(main())
