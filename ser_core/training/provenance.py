"""Which code and libraries made a file of numbers, and when."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from ser_core import __version__


def provenance() -> dict:
    """Versions, commit and time, for every file of numbers."""
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    return {
        "version": __version__,
        "commit": commit or "not a checkout",
        "modified": bool(changes),
        "python": platform.python_version(),
        "torch": version("torch"),
        "transformers": version("transformers"),
        "written": now(),
    }


def now() -> str:
    """The time, as files of this program write it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git(*arguments: str) -> str:
    try:
        here = Path(__file__).parent
        return subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=here, check=False).stdout.strip()
    except OSError:  # git is not installed
        return ""
