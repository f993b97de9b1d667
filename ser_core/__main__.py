"""The command line: python -m ser_core COMMAND …"""

import os
import sys
from argparse import ArgumentParser, Namespace
from importlib import import_module
from pathlib import Path

if sys.argv[1:3] != ["models", "fetch"]:  # read once, when the hub's client is imported
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from ser_core import __version__  # noqa: E402 - after the environment
from ser_core.commands import COMMANDS  # noqa: E402
from ser_core.data.whole import disk_trouble  # noqa: E402
from ser_core.imports import uncollected  # noqa: E402

BAD_INPUT = 2
INTERRUPTED = 130


class _Parser(ArgumentParser):
    """Errors in one line, exit code 2."""

    def error(self, message: str):
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(BAD_INPUT)


def parse(argv: list[str]) -> Namespace:
    """What the words of a command line ask for; `run` is what does it. Exits with 2 where they ask for nothing there is."""
    parser = _Parser(prog="attune", description="Speech emotion recognition that adapts to the person who speaks.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for name, help_text in COMMANDS.items():
        subparser = commands.add_parser(name, help=help_text, description=help_text)
        if argv[:1] == [name]:
            with uncollected():
                module = import_module(f"ser_core.commands.{name}")
            module.add_arguments(subparser)
            subparser.add_argument(
                "--workspace", metavar="DIR", help="folder of profiles, caches and runs (default ~/.attune)"
            )
            subparser.set_defaults(run=module.run)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0 when it did what was asked, 2 with one line on standard error for bad input."""
    for stream in (sys.stdout, sys.stderr):  # a file's name need not be text
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    arguments = parse(sys.argv[1:] if argv is None else argv)
    try:
        return arguments.run(arguments)
    except ValueError as error:  # every error for people is a small named ValueError of ours
        if not type(error).__module__.startswith("ser_core."):
            raise  # a bug
        return _refused(arguments.command, str(error))
    except OSError as error:  # a file or folder of the person's that cannot be read or written
        name = f"'{Path(error.filename).name}': " if isinstance(error.filename, str) else ""
        said = disk_trouble(error) or f"{(error.strerror or str(error)).lower()}; check place and permissions"
        return _refused(arguments.command, f"{name}{said}")
    except EOFError:
        return _refused(arguments.command, "an answer was expected on standard input; run it in a terminal")
    except KeyboardInterrupt:
        print(f"attune {arguments.command}: interrupted", file=sys.stderr)
        return INTERRUPTED


def _refused(command: str, why: str) -> int:
    print(f"attune {command}: {' '.join(why.split())}", file=sys.stderr)
    return BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
