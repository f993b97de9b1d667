"""Everything that writes, killed at random instants; benchmarks/kills.py does it more often."""

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MEMORY = Path("/dev/shm")
"""A disk that is slow to confirm would take most of the time; to a killed process it makes no difference."""


def test_whatever_is_written_survives_being_killed_at_any_time_and_nothing_is_there_by_half(tmp_path):
    folder = ["--folder", str(MEMORY)] if MEMORY.is_dir() else []
    command = [sys.executable, "benchmarks/kills.py", "writes", "--kills", "3", *folder]
    command += ["--output", str(tmp_path / "kills.json")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    writes = json.loads((tmp_path / "kills.json").read_text())["writes"]["each"]
    assert all(one["kills"] == 3 <= one["acknowledged"] and not one["problems"] for one in writes.values())
    assert all(one["left"] == 0 for one in writes.values())  # what killed ones left goes
