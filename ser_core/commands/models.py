"""models: what can be used here, and why not the rest; `models fetch NAME` is the only thing that downloads.

`models use RUN` puts the model of a finished run into the list, `models forget NAME` takes it off and deletes it.
`models export NAME --output DIR` writes a model as ONNX graphs.
"""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ser_core.inference.models import describe, fetch, forget_model, known_models, use_model
from ser_core.inference.transcription import available
from ser_core.training.jobs import find_job
from ser_core.workspace import Workspace, open_workspace


class NoFolderNamed(ValueError):
    """An export has to go somewhere."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "action", nargs="?", choices=["fetch", "use", "forget", "export"],
        help="fetch a model's encoder from the hub; use the model of a run, or forget it; export one to ONNX, for the CPU",
    )  # fmt: skip
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="of the model; for use the run's, for export also a folder"
    )
    parser.add_argument(
        "--as", dest="new_name", metavar="NAME", help="what a run's model is called (default: as the run)"
    )
    parser.add_argument("--output", metavar="DIR", help="the folder that export makes")
    parser.add_argument("--json", action="store_true")


def run(arguments: Namespace) -> int:
    """List, fetch, use, forget or export."""
    workspace = open_workspace(arguments.workspace)
    if arguments.action == "fetch":
        fetch(arguments.name or "", workspace)
        print(json.dumps({"fetched": arguments.name}) if arguments.json else f"fetched {arguments.name}")
        return 0
    if arguments.action in _ACTIONS:
        return _ACTIONS[arguments.action](arguments, workspace)
    lines = describe(known_models(workspace), workspace)
    if arguments.json:
        print(json.dumps(lines, indent=2))
        return 0
    default = next((line["name"] for line in lines if line["available"]), None)
    for line in lines:
        state = (
            ("default" if line["name"] == default else "ready")
            if line["available"]
            else f"not available: {line['reason']}"
        )
        print(f"{line['name']:<18} {state}")
    writers = available(workspace)
    here = f"ready: {', '.join(writers)}" if writers else "not here: models fetch whisper-base.en gets it"
    print(f"{'(writes words)':<18} {here}")
    return 0


def _export(arguments: Namespace, workspace: Workspace) -> int:
    from ser_core.inference.onnx import export_onnx  # here, because it takes seconds

    if not arguments.output:
        raise NoFolderNamed("an export needs a folder to be made; name it with --output DIR")
    export = export_onnx(arguments.name, workspace, Path(arguments.output))
    if arguments.json:
        said = {"exported": arguments.output, "largest_difference": export.largest_difference}
        print(json.dumps({**said, "file_bytes": export.file_bytes}, indent=2))
        return 0
    print(f"exported to {arguments.output}; no probability is off torch's by more than {export.largest_difference:.1e}")
    for name, n_bytes in export.file_bytes.items():
        print(f"  {name:<40} {n_bytes / 1e6:7.2f} MB")
    return 0


def _use(arguments: Namespace, workspace: Workspace) -> int:
    job = find_job(arguments.name or "", workspace)
    info = use_model(job.folder, workspace, arguments.new_name or job.name)
    print(json.dumps({"used": info.name}) if arguments.json else f"'{info.name}' is on the list of models")
    return 0


def _forget(arguments: Namespace, workspace: Workspace) -> int:
    forget_model(arguments.name or "", workspace)
    print(json.dumps({"forgotten": arguments.name}) if arguments.json else f"'{arguments.name}' is deleted")
    return 0


_ACTIONS = {"use": _use, "forget": _forget, "export": _export}
