"""runs: what was trained, what is training; show one, stop one."""

import json
from argparse import ArgumentParser, Namespace

from ser_core.training.jobs import Job, find_job, list_jobs, stop_job
from ser_core.workspace import open_workspace


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=["list", "show", "stop"])
    parser.add_argument("name", nargs="?", metavar="RUN", help="its name, or its folder")
    parser.add_argument("--json", action="store_true")


def run(arguments: Namespace) -> int:
    """List, show or stop."""
    workspace = open_workspace(arguments.workspace)
    if arguments.action == "list":
        return _list(list_jobs(workspace), arguments.json)
    job = find_job(arguments.name or "", workspace)
    if arguments.action == "stop":
        job = stop_job(job)
    print(json.dumps(_as_json(job), indent=2) if arguments.json else _in_words(job))
    return 0


def _list(jobs: list[Job], as_json: bool) -> int:
    if as_json:
        print(json.dumps([_as_json(job) for job in jobs], indent=2))
        return 0
    for job in jobs:
        print(f"{job.name:<44} {job.state:<9} {_corpus(job):<16} {_result(job)}")
    if not jobs:
        print("no runs yet; start one with: python -m ser_core train smoke --corpus NAME=DIR")
    return 0


def _corpus(job: Job) -> str:
    return job.recipe.get("corpus", "")


def _result(job: Job) -> str:
    """UAR of what has finished; else what it is doing."""
    report = job.report()
    if not report:
        return job.progress.get("words", "")
    return ", ".join(f"{name} {model['uar']:.3f}" for name, model in report["models"].items())


def _as_json(job: Job) -> dict:
    order = job.order.to_json() if job.order else None
    return {"name": job.name, "state": job.state, "error": job.error, "progress": job.progress, "order": order}


def _in_words(job: Job) -> str:
    lines = [f"{job.name}: {job.state}{f' ({job.error})' if job.error else ''}"]
    if job.progress.get("words"):
        lines.append(job.progress["words"])
    history = job.history()
    if len(history):
        lines.append(history.groupby("method", sort=False).tail(1).to_string(index=False))
    if report := job.report():
        lines += [f"{name}: UAR {model['uar']:.3f} on test speakers" for name, model in report["models"].items()]
    if job.state == "failed":
        lines += ["the end of the log:", *job.log_tail()]
    if job.can_resume and job.order:
        lines.append(f"go on with: {job.order.in_words(job.folder, resume=True)}")
    return "\n".join(lines)
