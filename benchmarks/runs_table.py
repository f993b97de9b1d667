"""A table of finished runs, from their folders alone: python benchmarks/runs_table.py RUN … [--output FILE.md]

One row a run and method: what learned, best dev UAR, and UAR, worst speaker and Gini on the run's test speakers.
"""

import json
import sys
from argparse import ArgumentParser
from pathlib import Path

from ser_core.training.jobs import Job, read_job

_HEAD = (
    "| run | method | encoder learns | epochs | best dev UAR | test UAR (95 %) | worst speaker | Gini |",
    "|---|---|---|---|---|---|---|---|",
)


def main() -> int:
    """Print and write; runs of different speakers, seeds or corpora are refused."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--output", metavar="FILE.md")
    arguments = parser.parse_args()
    jobs = [read_job(folder) for folder in arguments.runs]
    alike = {
        json.dumps([job.recipe[key] for key in ("seed", "corpus", "train_speakers", "test_speakers")]) for job in jobs
    }
    if len(alike) > 1:
        sys.exit("the runs have different speakers, seeds or corpora: compare like with like")
    own = {job.recipe["name"] for job in jobs}  # a companion that has a run of its own is shown there
    rows = [row for job in jobs for row in _rows(job, own - {job.recipe["name"]})]
    first = jobs[0].recipe
    about = (
        f"{first['corpus']}, seed {first['seed']}; tested on {', '.join(first['test_speakers'])}; epoch chosen on "
        f"{', '.join(first['dev_speakers'])}; commits {', '.join(sorted({job.recipe['commit'][:12] for job in jobs}))}.\n"
    )
    table = "\n".join([about, *_HEAD, *rows])
    print(table)
    if arguments.output:
        Path(arguments.output).write_text(table + "\n", encoding="utf-8")
    return 0


def _rows(job: Job, elsewhere: set[str]) -> list[str]:
    history, tune = job.history(), job.recipe["encoder"]["tune"]
    rows = []
    for method, model in job.report()["models"].items():
        if method in elsewhere:
            continue
        epochs = history[history["method"] == method]
        low, high = model["uar_interval"]
        learns = tune if method == job.recipe["name"] or tune == "none" else f"no (tuned by {job.recipe['name']})"
        rows.append(
            f"| {job.name} | {method} | {learns} | {len(epochs)} | {epochs['dev_uar'].max():.3f} | {model['uar']:.3f} "
            f"({low:.3f} to {high:.3f}) | {model['speaker_spread']['min']:.3f} | {model['gini']:.3f} |"
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
