"""Does a run of two processes come to the result of one? python benchmarks/processes.py --corpus NAME=DIR [--recipe smoke]

The largest difference of any probability of the test speakers, between a run that torchrun divides among two processes, one
process that works through each batch in two parts, and one that takes it at once; each with one thread.
"""

import os
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path

import pandas as pd

from ser_core.workspace import open_workspace

_TORCHRUN = [
    "torch.distributed.run",
    "--nproc-per-node",
    "2",
    "--rdzv-backend",
    "c10d",
    "--rdzv-endpoint",
    "localhost:0",
]


def main() -> int:
    """Run the three and print the differences."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True, metavar="NAME=DIR")
    parser.add_argument("--recipe", default="smoke")
    parser.add_argument("--workspace", metavar="DIR")
    arguments = parser.parse_args()
    workspace = str(open_workspace(arguments.workspace).root)
    asked = [
        "-m",
        "ser_core",
        "train",
        arguments.recipe,
        "--corpus",
        arguments.corpus,
        "--device",
        "cpu",
        "--threads",
        "1",
    ]
    asked += ["--workspace", workspace]
    with tempfile.TemporaryDirectory() as folder:
        at_once, in_parts, two = (Path(folder) / name for name in ("at_once", "in_parts", "two"))
        _run([*asked, "--output", str(at_once)])
        _run([*asked, "--output", str(in_parts), "--set", "training.accumulate=2"])
        _run(["-m", *_TORCHRUN, *asked, "--output", str(two)])
        print(f"two processes against one that divides its batches: {_difference(two, in_parts):.5f}")
        print(f"two processes against one that takes them at once: {_difference(two, at_once):.5f}")
    return 0


def _run(arguments: list[str]) -> None:
    subprocess.run(
        [sys.executable, *arguments], check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def _difference(one: Path, other: Path) -> float:
    tables = [pd.read_csv(run / "predictions.csv") for run in (one, other)]
    p = [name for name in tables[0] if name.startswith("p_")]
    return float((tables[0][p] - tables[1][p]).abs().max().max())


if __name__ == "__main__":
    sys.exit(main())
