"""How long trainings take here, what memory they need, and how long they wait for data: the table that benchmarks/README.md quotes.

    python benchmarks/training.py --corpus ravdess=DIR [--workspace DIR] [--output FILE.md]

Heads on cached embeddings, 30 epochs; and the encoder learning as a whole, one epoch. Whisper tiny.en must be here.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

from ser_core.training.provenance import provenance
from ser_core.workspace import open_workspace

_RUNS = {
    "enrolment attention and baseline, 30 epochs each, cached embeddings": (
        "enrolment_attention", ("training.epochs=30",),
    ),
    "speaker reference and baseline, 30 epochs each, cached embeddings": ("speaker_reference", ("training.epochs=30",)),
    "baseline, all of the encoder learns, 1 epoch": ("baseline_finetuned", ("training.epochs=1",)),
    "baseline, LoRA, 1 epoch": ("baseline_finetuned", ("training.epochs=1", "encoder.tune=lora")),
    "enrolment attention, all of the encoder learns, 1 epoch": ("enrolment_attention_finetuned", ("training.epochs=1",)),
}  # fmt: skip


def main() -> int:
    """Measure, print and write."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True, metavar="NAME=DIR")
    parser.add_argument("--workspace", metavar="DIR")
    parser.add_argument("--output", metavar="FILE.md")
    arguments = parser.parse_args()
    workspace = str(open_workspace(arguments.workspace).root)
    _measured("baseline", ("training.epochs=1",), arguments.corpus, workspace)  # so that the embeddings are there
    rows = [f"| {what} | {_measured(*run, arguments.corpus, workspace)} |" for what, run in _RUNS.items()]
    about = provenance()
    table = "\n".join([
        f"{os.cpu_count()} cores, no GPU, torch {about['torch']}, commit {about['commit'][:12]}, "
        f"{arguments.corpus.partition('=')[0]}, Whisper tiny.en, seed 0.\n",
        "| run | whole run, s | an epoch, s | targets a second | waited for data, s an epoch | peak memory, GiB |",
        "|---|---|---|---|---|---|", *rows,
    ])  # fmt: skip
    print(table)
    if arguments.output:
        Path(arguments.output).write_text(table + "\n", encoding="utf-8")
    return 0


def _measured(recipe: str, settings: tuple[str, ...], corpus: str, workspace: str) -> str:
    """The cells of a row; start-up, embedding (cached), prediction and report are part of the whole run."""
    with tempfile.TemporaryDirectory() as folder:
        said = [word for setting in settings for word in ("--set", setting)]
        command = [
            sys.executable,
            "-m",
            "ser_core",
            "train",
            recipe,
            "--corpus",
            corpus,
            *said,
            "--output",
            f"{folder}/run",
        ]
        start = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--workspace", workspace], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, code, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
        seconds = time.perf_counter() - start
        if process.returncode:
            sys.exit(f"{recipe} ended with exit code {process.returncode}")
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
        records = [record for record in map(json.loads, lines) if record["method"].startswith(recipe)]
        epoch_s = sum(record["seconds"] for record in records) / len(records)
        waited_s = sum(record["waited_for_data_s"] for record in records) / len(records)
        peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**30
        n_train = _n_targets(Path(folder) / "run")
    return f"{seconds:.0f} | {epoch_s:.3g} | {n_train / epoch_s:.0f} | {waited_s:.3f} | {peak:.2f}"


def _n_targets(folder: Path) -> int:
    """Training targets, as the run counted them."""
    return json.loads((folder / "recipe.json").read_text())["n_train_targets"]


if __name__ == "__main__":
    sys.exit(main())
