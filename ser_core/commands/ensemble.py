"""ensemble: the mean of several systems' predictions, as one more table that `evaluate` reads."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

import pandas as pd

from ser_core.data.tables import write_csv
from ser_core.evaluation.performance import ccc_of_rated, uar
from ser_core.inference.ensemble import BadEnsemble, mean_of_tables, weights_by_ccc
from ser_core.labels import ATTRIBUTES


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("predictions", metavar="CSV", help="predictions.csv of a cross-validation")
    parser.add_argument("methods", nargs="+", metavar="METHOD", help="two or more of the methods in it")
    parser.add_argument(
        "--weigh-by", metavar="CSV", help="dev.csv of the same: weights by mean dev CCC (default: all alike)"
    )
    parser.add_argument("--name", default="ensemble", help="what it is called")
    parser.add_argument("--output", required=True, metavar="CSV")


def run(arguments: Namespace) -> int:
    """Write the table; print UAR and CCC, pooled over folds and averaged over seeds."""
    weights = weights_by_ccc(_tables(arguments.weigh_by, arguments.methods)) if arguments.weigh_by else None
    mixed = mean_of_tables(_tables(arguments.predictions, arguments.methods), weights, arguments.name)
    write_csv(mixed, Path(arguments.output))
    print(f"{arguments.name}: {', '.join(f'{name} {value:.3f}' for name, value in _measured(mixed).items())}")
    return 0


def _tables(path: str, methods: list[str]) -> dict[str, pd.DataFrame]:
    try:
        table = pd.read_csv(path, dtype={"utterance_id": str, "text_id": str})
    except (OSError, ValueError):
        raise BadEnsemble(f"'{Path(path).name}' cannot be read as a table of predictions") from None
    if missing := {"method", "seed", "fold", "utterance_id"} - set(table.columns):
        raise BadEnsemble(
            f"'{Path(path).name}' has no column {', '.join(sorted(missing))}; take one of a cross-validation"
        )
    there = list(dict.fromkeys(table["method"]))
    if unknown := [name for name in methods if name not in there]:
        raise BadEnsemble(f"there is no method '{unknown[0]}' in '{Path(path).name}'; choose of {', '.join(there)}")
    return {name: _of_method(table[table["method"] == name]) for name in methods}


def _of_method(table: pd.DataFrame) -> pd.DataFrame:
    """Without the predictions that it does not make."""
    predictions = [column for column in table if column.startswith(("p_", "predicted_"))]
    return table.drop(columns=[column for column in predictions if table[column].isna().all()])


def _measured(table: pd.DataFrame) -> dict[str, float]:
    of_seeds = [part for _, part in table.groupby("seed")]
    measured = {}
    if "predicted_emotion" in table and table["predicted_emotion"].notna().all():
        measured["UAR"] = sum(uar(part["emotion"], part["predicted_emotion"]) for part in of_seeds) / len(of_seeds)
    for name in ATTRIBUTES:
        if f"predicted_{name}" in table and table[name].notna().any():
            values = [ccc_of_rated(part[name], part[f"predicted_{name}"]) for part in of_seeds]
            measured[f"CCC {name}"] = sum(values) / len(values)
    return measured
