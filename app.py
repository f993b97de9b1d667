"""Start Attune in the browser: python app.py [--no-browser] [--port N] [--workspace DIR] [--model NAME] [--shared …]."""

import os
import signal
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace

from ser_core.workspace import open_workspace


def main() -> int:
    """Serve the app until it is stopped; 2 with one line on standard error for bad input."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    arguments = _arguments()
    try:
        workspace = open_workspace(arguments.workspace)
    except OSError as error:
        return _refused(f"the workspace cannot be used ({error.strerror}); name another folder with --workspace")
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    # live windows differ in length, and oneDNN would keep a program for each of a thousand lengths
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    os.environ["GRADIO_TEMP_DIR"] = str(workspace.temporary)
    from ser_core.ui.serve import Serving, serve  # after the environment, which gradio reads when it is imported

    options = {name: value for name, value in vars(arguments).items() if name not in ("workspace", "no_browser")}
    try:
        serve(workspace, Serving(**options, browser=not arguments.no_browser))
    except ValueError as error:  # every error for people is a small named ValueError
        if type(error) is ValueError:
            raise  # a bug
        return _refused(str(error))
    return 0


def _refused(why: str) -> int:
    print(f"app.py: {' '.join(why.split())}", file=sys.stderr)
    return 2


def _arguments() -> Namespace:
    parser = ArgumentParser(prog="app.py", description=__doc__, usage=SUPPRESS)
    parser.add_argument("--no-browser", action="store_true", help="do not open the browser")
    parser.add_argument("--port", metavar="N", help="default 7860, or the next that is free")
    parser.add_argument("--workspace", metavar="DIR", help="folder of profiles and caches (default ~/.attune)")
    parser.add_argument("--model", metavar="NAME", help="a model's name or folder (default: the best available here)")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto (default), cuda, mps or cpu")
    parser.add_argument(
        "--keep-days", type=int, metavar="N", help="erase profiles that nobody used for N days (default: never)"
    )
    shared = parser.add_argument_group("for a group", "several people sign in, each with profiles of their own")
    shared.add_argument(
        "--shared", action="store_true", help="make accounts first: python -m ser_core accounts add NAME"
    )
    shared.add_argument("--listen", metavar="ADDRESS", help="default: this computer only; else it needs a certificate")
    shared.add_argument(
        "--host-name", dest="host_names", action="append", default=[], metavar="NAME", help="by which it is reached"
    )
    shared.add_argument("--certificate", metavar="FILE", help="for https, with --private-key")
    shared.add_argument("--private-key", metavar="FILE")
    shared.add_argument("--corpora", metavar="DIR", help="where corpora lie that those who sign in may use")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
