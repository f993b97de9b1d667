"""Studies that ship: their numbers, so that the app can quote them. assets/studies/STUDY/CORPUS holds study.json."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ser_core.workspace import ASSETS

STORED = ASSETS / "studies"


@dataclass(frozen=True)
class StoredStudy:
    """What came out of a study.

    Attributes:
        name: key of STUDIES.
        corpus: what it was run on.
        results: one row a method and condition (studies/base.py).
        about: design, seeds, commit, encoder.
    """

    name: str
    corpus: str
    results: pd.DataFrame
    about: dict[str, Any]


def read_study(path: Path) -> StoredStudy:
    """Read a study.json."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return StoredStudy(content["study"], content["corpus"], pd.DataFrame(content["results"]), content["about"])


def stored_studies(folder: Path = STORED) -> list[StoredStudy]:
    """All that ship, in order of name."""
    return [read_study(path) for path in sorted(folder.glob("*/*/study.json"))]
