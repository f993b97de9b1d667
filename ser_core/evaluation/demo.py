"""The demo results that ship: cross-validated predictions on RAVDESS, the table alone, no audio.

Made by `crossvalidate … --demo`; read by the app. assets/demo/ravdess holds predictions.csv.gz and about.json.
"""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ser_core.data.tables import to_csv
from ser_core.data.whole import filled
from ser_core.evaluation.predictions import Predictions, read_predictions
from ser_core.workspace import ASSETS

DEMO = ASSETS / "demo" / "ravdess"
_KEPT = (
    "utterance_id", "corpus", "speaker", "gender", "language", "emotion", "intensity", "text_id", "sentence", "method",
    "seed", "fold", "predicted_emotion",
)  # fmt: skip
_DECIMALS = 3


class NoDemo(ValueError):
    """The demo results are not where they should be."""


def write_demo(predictions: pd.DataFrame, about: Mapping[str, Any], folder: Path = DEMO) -> None:
    """Write the table without paths and texts, and what it is."""
    columns = [name for name in (*_KEPT, *predictions.columns) if name in _KEPT or name.startswith("p_")]
    kept = predictions[[name for name in dict.fromkeys(columns) if name in predictions]]
    rounded = {name: kept[name].map(f"{{:.{_DECIMALS}f}}".format) for name in kept if name.startswith("p_")}
    content = gzip.compress(to_csv(kept.assign(**rounded)).encode(), mtime=0)
    with filled(folder) as hidden:
        (hidden / "predictions.csv.gz").write_bytes(content)
        (hidden / "about.json").write_text(json.dumps(about, indent=2, ensure_ascii=False), encoding="utf-8")


def read_demo(folder: Path = DEMO) -> tuple[Predictions, dict[str, Any]]:
    """The table, checked, and what it is.

    Raises:
        NoDemo: the files are not there.
    """
    path = folder / "predictions.csv.gz"
    if not path.is_file():
        raise NoDemo("the demo results are missing: copy assets/demo again")
    return read_predictions(path), json.loads((folder / "about.json").read_text(encoding="utf-8"))
