"""Studies that ship: their numbers, so that the app can quote them. assets/studies/STUDY/CORPUS holds study.json."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ser_core.workspace import ASSETS

RESULTS = "results"
STORED = ASSETS / "studies"


@dataclass(frozen=True)
class StoredStudy:
    """What came out of a study.

    Attributes:
        name: key of STUDIES.
        corpus: what it was run on.
        tables: what came out, by name (studies/base.py).
        about: design, seeds, commit, encoder.
    """

    name: str
    corpus: str
    tables: dict[str, pd.DataFrame]
    about: dict[str, Any]

    @property
    def results(self) -> pd.DataFrame:
        """The table that answers the question."""
        return self.tables[RESULTS]


def read_study(path: Path) -> StoredStudy:
    """Read a study.json: everything in it that is a list is a table."""
    content = json.loads(path.read_text(encoding="utf-8"))
    tables = {name: _table(rows) for name, rows in content.items() if isinstance(rows, list)}
    return StoredStudy(content["study"], content["corpus"], tables, content["about"])


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """nan where nothing stands, so that a column of nothing but that is still one of numbers."""
    return pd.DataFrame(rows).map(lambda value: math.nan if value is None else value)


def stored_studies(folder: Path = STORED) -> list[StoredStudy]:
    """All that ship, in order of name."""
    return [read_study(path) for path in sorted(folder.glob("*/*/study.json"))]
