"""How many labels does pre-training save? UAR over the share of training utterances whose emotion is told.

Source: the question arXiv 2401.11017 is about: speech that nobody labelled shall make up for labels. What is told is drawn for
each seed and fold, of each emotion at least one utterance, the same for every method, and a smaller share is part of a larger one;
the speakers who choose the epoch are told of in the same share. Every budget takes as many steps as all labels do (up to the
rounding of an epoch). The first method is the one that the others are compared with.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import pandas as pd

from ser_core.data.enrolment import first_of_each
from ser_core.data.manifest import Corpus
from ser_core.evaluation.counts import classes_of, count
from ser_core.evaluation.gaps import uar_change_of
from ser_core.evaluation.statistics import holm
from ser_core.figures.fairness import Named
from ser_core.figures.studies import label_curves
from ser_core.figures.style import percent
from ser_core.inference.predict import Trained
from ser_core.recipe import Recipe
from ser_core.studies.base import Hear, Numbers, Study, Tables, accuracy_of, in_points, sizes, with_interval
from ser_core.studies.stored import RESULTS
from ser_core.training.crossvalidation import Experiment, fold_plan, train_fold

BUDGETS = (1.0, 0.25, 0.1, 0.05)
"""Shares of the labels."""

PAIRS = "pairs"
"""Name of the table of one row a budget and pair of methods, without the first."""

_SURE = 0.05


@dataclass(frozen=True)
class Budgeted:
    """A network that was told a share of the labels, and how many utterances that were."""

    trained: Trained
    labels: float
    n_labels: int


def networks(experiment: Experiment, device: str, say: Callable[[str], None]) -> Iterator[Budgeted]:
    """Every recipe on every fold with every seed and budget, trained one after the other."""
    for seed in range(experiment.design.n_seeds):
        for fold, test in enumerate(experiment.folds):
            for recipe in experiment.recipes:
                n_all = n_told(experiment, recipe, seed, fold, 1.0)
                for labels in BUDGETS:
                    n_labels = n_told(experiment, recipe, seed, fold, labels)
                    asked = at_budget(recipe, labels, n_labels, n_all)
                    yield Budgeted(train_fold(experiment, asked, seed, fold, device), labels, n_labels)
            say(f"seed {seed}, fold {fold + 1} of {len(experiment.folds)}: {', '.join(test)}; {len(BUDGETS)} budgets")


def n_told(experiment: Experiment, recipe: Recipe, seed: int, fold: int, labels: float) -> int:
    """How many training utterances of a fold have a label."""
    _, plan, _ = fold_plan(experiment, _with_share(recipe, labels), seed, fold)
    return len(plan.train)


def _with_share(recipe: Recipe, labels: float) -> Recipe:
    return replace(recipe, data=replace(recipe.data, labels=labels))


def at_budget(recipe: Recipe, labels: float, n_labels: int, n_all: int) -> Recipe:
    """The recipe with a share of the labels and as many steps of fine-tuning as with all of them.

    Args:
        recipe: for all labels.
        labels: the share.
        n_labels, n_all: training utterances that have a label, and with a share of 1.
    """
    steps, all_steps = (math.ceil(n / recipe.training.batch_size) for n in (n_labels, n_all))
    epochs = round(recipe.training.epochs * all_steps / steps)
    return replace(_with_share(recipe, labels), training=replace(recipe.training, epochs=epochs))


def check(corpus: Corpus) -> None:
    """Any corpus with labels will do; folds say the rest."""


def measure(budgeted: Budgeted, hear: Hear) -> pd.DataFrame:
    """Predictions of a network's targets with the columns labels and n_labels."""
    trained, choice = budgeted.trained, first_of_each(budgeted.trained.utterances.corpus)
    predicted = trained.predict(trained.targets(choice), choice)
    return predicted.assign(labels=budgeted.labels, n_labels=budgeted.n_labels)


def tables(predictions: pd.DataFrame) -> Tables:
    """results: one row a method and budget: n_labels (mean over networks), UAR with its interval over speakers, and what it is
    more than the first method's at the same budget, with interval and p (after Holm over all comparisons).

    pairs: the same of every two of the others, such as what is found against a control; p after Holm over all pairs.
    """
    emotions, rows = classes_of(predictions), []
    methods = list(dict.fromkeys(predictions["method"]))
    for labels, of_budget in sorted(predictions.groupby("labels"), reverse=True):
        parts = {name: of_budget[of_budget["method"] == name] for name in methods}
        counts = {name: count(part, emotions) for name, part in parts.items()}
        rows += [
            {"method": name, "labels": float(labels), "n_labels": round(part["n_labels"].mean()),
             **accuracy_of(counts[name], counts[methods[0]]), **sizes(part)}
            for name, part in parts.items()
        ]  # fmt: skip
    results = pd.DataFrame(rows)
    compared = results["uar_change_p"].mask(results["method"] == methods[0])
    results["uar_change_p"] = list(holm(dict(enumerate(compared))).values())
    others = _pairs(predictions, methods[1:], emotions)
    return {RESULTS: results, **({PAIRS: others} if len(others) else {})}


def _pairs(predictions: pd.DataFrame, methods: Sequence[str], emotions: tuple[str, ...]) -> pd.DataFrame:
    rows = []
    for labels, of_budget in sorted(predictions.groupby("labels"), reverse=True):
        counts = {name: count(of_budget[of_budget["method"] == name], emotions) for name in methods}
        for method, against in combinations(methods, 2):
            change = uar_change_of(counts[method], counts[against])
            rows.append({
                "method": method, "against": against, "labels": float(labels), "uar_change": change.value,
                "uar_change_from": change.interval[0], "uar_change_to": change.interval[1], "uar_change_p": change.p,
            })  # fmt: skip
    pairs = pd.DataFrame(rows)
    return pairs.assign(uar_change_p=list(holm(dict(enumerate(pairs["uar_change_p"]))).values())) if rows else pairs


def numbers(tables: Tables, named: Named) -> Numbers:
    """One row a method, a column a budget: UAR, and what is gained."""
    results = tables[RESULTS]
    methods, budgets = (list(dict.fromkeys(results[column])) for column in ("method", "labels"))
    at = results.set_index(["method", "labels"])
    heads = (
        "Method",
        *(f"{percent(labels)} ({at.loc[(methods[0], labels), 'n_labels']:.0f} labels)" for labels in budgets),
    )
    rows = []
    for name in methods:
        cells = [at.loc[(name, labels)] for labels in budgets]
        told = [
            with_interval(cell.uar, cell.uar_from, cell.uar_to) if name == methods[0]
            else f"{cell.uar:.3f}: {in_points(cell.uar_change, cell.uar_change_from, cell.uar_change_to)}"
            for cell in cells
        ]  # fmt: skip
        rows.append([named(name), *told])
    return Numbers(heads, rows)


def told(tables: Tables, named: Named) -> list[str]:
    """Of each method: at which budgets it is better than the first, worse, or no different beyond chance; of every two as well."""
    results = tables[RESULTS]
    compared = results[results["method"] != results["method"].iloc[0]].assign(against=results["method"].iloc[0])
    both = pd.concat([compared, tables.get(PAIRS)])
    return [
        f"{named(name)} against {named(against)}: {_outcome(part)}."
        for (name, against), part in both.groupby(["method", "against"], sort=False)
    ]


def _outcome(part: pd.DataFrame) -> str:
    sure = part["uar_change_p"] < _SURE
    found = {
        "better": part[sure & (part["uar_change"] > 0)], "worse": part[sure & (part["uar_change"] < 0)],
        "no different beyond chance": part[~sure],
    }  # fmt: skip
    return "; ".join(f"{words} with {_listed(rows)}" for words, rows in found.items() if len(rows))


def _listed(rows: pd.DataFrame) -> str:
    return ", ".join(
        f"{percent(row.labels)} of the labels ({in_points(row.uar_change)}, p = {row.uar_change_p:.3f} after Holm)"
        for row in rows.itertuples()
    )


STUDY = Study(
    title="How many labels does pre-training save?",
    reading=(
        "To the right more of the training utterances have a label; the number in brackets is how many. Where a line lies above "
        "another, that method recognises more from the same labels. Whiskers: 95 % over speakers; they are wider than what "
        "separates two methods on the same speakers, so the table gives that difference an interval of its own."
    ),
    check=check,
    measure=measure,
    tables=tables,
    figure=lambda tables, named: label_curves(tables[RESULTS], named),
    numbers=numbers,
    told=told,
    networks=networks,
    of_any_recipe=False,
)
