"""The tables of a study anew from what it measured, where only its counting has changed: no network is trained again.

python benchmarks/retable.py OUT/STUDY/CORPUS DESTINATION
"""

import json
import sys
from pathlib import Path

import pandas as pd

from ser_core.commands.study import as_markdown, in_words
from ser_core.data.tables import write_csv, write_json
from ser_core.studies import STUDIES
from ser_core.training.provenance import provenance


def main(source: Path, destination: Path) -> None:
    """Read measured.csv and study.json of `source`; write tables, table.md and study.json."""
    before = json.loads((source / "study.json").read_text(encoding="utf-8"))
    study = STUDIES[before["study"]]
    tables = study.tables(pd.read_csv(source / "measured.csv", dtype={"text_id": str, "speaker": str}))
    destination.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        write_csv(rows, destination / f"{name}.csv")
    numbers = study.numbers(tables, str)
    (destination / "table.md").write_text(as_markdown(numbers), encoding="utf-8")
    content = {
        "study": before["study"], "title": study.title, "corpus": before["corpus"],
        **{name: rows.round(5).to_dict("records") for name, rows in tables.items()},
        "about": {**before["about"], "tables_commit": provenance()["commit"]},
    }  # fmt: skip
    write_json(destination / "study.json", content)
    print("\n".join([in_words(f"{study.title} ({before['corpus']})", numbers), *study.told(tables, str)]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
