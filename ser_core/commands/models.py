"""models: what can be used here, and why not the rest; `models fetch NAME` is the only thing that downloads."""

import json
from argparse import ArgumentParser, Namespace

from ser_core.inference.models import describe, fetch, shipped_models
from ser_core.workspace import open_workspace


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["fetch"], help="fetch a model's encoder from the hub")
    parser.add_argument("name", nargs="?", metavar="NAME")
    parser.add_argument("--json", action="store_true")


def run(arguments: Namespace) -> int:
    """List, or fetch."""
    workspace = open_workspace(arguments.workspace)
    if arguments.action == "fetch":
        fetch(arguments.name or "", workspace)
        print(json.dumps({"fetched": arguments.name}) if arguments.json else f"fetched {arguments.name}")
        return 0
    lines = describe(shipped_models(), workspace)
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
    return 0
