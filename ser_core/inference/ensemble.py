"""Several systems, one answer: the mean of what they say.

Source: arXiv 2506.10930, section 4.5 and Table 6, whose best system is the mean of two.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ser_core.evaluation.performance import ccc_of_rated
from ser_core.labels import ATTRIBUTES

_ONE = ["seed", "fold", "utterance_id"]


class BadEnsemble(ValueError):
    """Tables of predictions that cannot be averaged."""


def mean_of_tables(
    tables: Mapping[str, pd.DataFrame], weights: Mapping[str, float] | None = None, name: str = "ensemble"
) -> pd.DataFrame:
    """The mean of probabilities and attributes of several systems about the same targets, as a system of its own.

    Args:
        tables: of predictions (`predictions_table`), one a system; a system counts for what it predicts.
        weights: of each system, not negative; all alike if None.
        name: of the method in the table that comes out.

    Raises:
        BadEnsemble: fewer than two systems, other targets or classes, or weights that leave nobody.
    """
    if len(tables) < 2:
        raise BadEnsemble(f"an ensemble needs two systems at least; found {len(tables)}")
    weights = dict.fromkeys(tables, 1.0) if weights is None else weights
    if unknown := [one for one in tables if one not in weights]:
        raise BadEnsemble(f"there is no weight for {', '.join(unknown)}; every system needs one")
    if min(weights[one] for one in tables) < 0 or not sum(weights[one] for one in tables) > 0:
        raise BadEnsemble(f"weights must not be negative, nor all zero; found {dict(weights)}")
    ordered = {one: table.set_index(_ONE).sort_index() for one, table in tables.items()}
    first = next(iter(ordered.values()))
    for one, table in ordered.items():
        if not table.index.equals(first.index):
            raise BadEnsemble(f"'{one}' predicts other targets than the first system; all must predict the same")
    mixed = first.assign(method=name)
    probabilities = _of_one_set({one: table.filter(regex="^p_") for one, table in ordered.items()})
    for column in (*probabilities, *(f"predicted_{attribute}" for attribute in ATTRIBUTES)):
        having = [one for one, table in ordered.items() if column in table and table[column].notna().any()]
        if having and not sum(weights[one] for one in having) > 0:
            raise BadEnsemble(
                f"'{column}' is predicted by {', '.join(having)} only, and they have no weight; give them one"
            )
        if having:
            mixed[column] = np.average(
                [ordered[one][column] for one in having], axis=0, weights=[weights[one] for one in having]
            )
    if probabilities:
        mixed["predicted_emotion"] = mixed[probabilities].idxmax(axis=1).str.removeprefix("p_")
    return mixed.reset_index()


def _of_one_set(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """The columns of probabilities, the same in all tables that have any."""
    having = {one: table.dropna(axis=1, how="all").columns.to_list() for one, table in tables.items()}
    sets = {one: columns for one, columns in having.items() if columns}
    if len({tuple(sorted(columns)) for columns in sets.values()}) > 1:
        raise BadEnsemble(f"the systems tell different emotions apart: {', '.join(sets)}")
    return next(iter(sets.values()), [])


def weights_by_ccc(dev: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """The mean CCC over attributes of each system on dev, as its weight; zero where it is negative.

    Args:
        dev: tables of predictions about dev targets with their truth.

    Raises:
        BadEnsemble: a system predicts no attribute.
    """
    weights = {}
    for name, table in dev.items():
        predicted = [attribute for attribute in ATTRIBUTES if f"predicted_{attribute}" in table]
        values = [ccc_of_rated(table[attribute], table[f"predicted_{attribute}"]) for attribute in predicted]
        known = [value for value in values if np.isfinite(value)]
        if not known:
            raise BadEnsemble(f"'{name}' predicts no attribute, so it has no CCC; weigh all systems alike")
        weights[name] = max(0.0, float(np.mean(known)))
    return weights


def mean_answer(answers: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of several systems' probabilities of the same emotions.

    >>> mean_answer([{"anger": 1.0, "fear": 0.0}, {"anger": 0.5, "fear": 0.5}])
    {'anger': 0.75, 'fear': 0.25}
    """
    return {emotion: float(np.mean([answer[emotion] for answer in answers])) for emotion in answers[0]}
