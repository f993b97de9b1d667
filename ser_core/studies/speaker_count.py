"""Do more training speakers make personal training needless? The personalisation gap over the number of training speakers.

Source: arXiv 2309.02418, section 3.2. For each number k of training speakers two networks: an independent one learns from the
k alone, a dependent one also from half of what the test speakers say themselves, with labels. Both are measured on the other
half, the same for every k; the gap is what the dependent one is better by. How the halves and the k are drawn is ours.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ser_core.data.batches import Utterances
from ser_core.data.enrolment import first_of_each, target_rows
from ser_core.data.manifest import BadCorpus, Corpus
from ser_core.figures.fairness import Named
from ser_core.figures.studies import gaps
from ser_core.inference.predict import Trained
from ser_core.recipe import Recipe
from ser_core.studies.base import (
    Hear,
    Numbers,
    Study,
    Tables,
    in_points,
    mean_difference,
    uar_of_speakers,
)
from ser_core.studies.conditions import cells_of
from ser_core.studies.stored import RESULTS
from ser_core.training.adaptation import trains_or_measures
from ser_core.training.crossvalidation import Experiment, dev_of_fold, fold_plan
from ser_core.training.preparation import draw_speakers, train_method
from ser_core.training.trainer import Plan

SIZES = (2, 4, 8, 12)
"""Numbers of training speakers, beside all that a fold has."""

SPEAKERS = "speakers"
"""Name of the table of one row a method, number of training speakers and speaker."""

SHARE = 0.5
"""Of a test speaker's utterances of a class, what the dependent network learns from (rounded down)."""

_DRAW_OF_HALVES, _DRAW_OF_SPEAKERS = 13, 14


@dataclass(frozen=True)
class Sized:
    """A network that learned from so many speakers.

    Attributes:
        trained: the network; its speakers are the fold's.
        n_train: how many training speakers; those who choose the epoch are others.
        dependent: it also learned from the test speakers' own half.
        targets: rows it is measured on.
        learned_from: rows it learned from.
        choice: who is enrolled with what.
    """

    trained: Trained
    n_train: int
    dependent: bool
    targets: np.ndarray
    learned_from: np.ndarray
    choice: pd.DataFrame


@dataclass(frozen=True)
class Fold:
    """A fold of a seed for a recipe: everything that is the same for every number of training speakers.

    Attributes:
        plan: with all training speakers, checked for leaks.
        train: the training speakers in the order in which they are taken.
        own: rows of the test speakers that the dependent network learns from.
        targets: rows of the test speakers that both are measured on.
    """

    utterances: Utterances
    plan: Plan
    test: tuple[str, ...]
    dev: tuple[str, ...]
    train: tuple[str, ...]
    own: np.ndarray
    targets: np.ndarray

    def plan_for(self, n_train: int, dependent: bool) -> Plan:
        """The plan with the first n training speakers alone, and, for the dependent network, the test speakers' own half."""
        speaker = self.utterances.corpus.table["speaker"]
        left_out = np.flatnonzero(speaker.isin(self.train[n_train:]))
        kept = np.setdiff1d(self.plan.train, left_out)
        return replace(
            self.plan,
            train=np.union1d(kept, self.own) if dependent else kept,
            unlabelled=np.setdiff1d(self.plan.unlabelled, left_out),
        )


def networks(experiment: Experiment, device: str, say: Callable[[str], None]) -> Iterator[Sized]:
    """Both networks of every number of speakers, recipe, fold and seed, trained one after the other.

    Raises:
        BadCorpus: too few training speakers; before anything is trained.
    """
    return _trained(experiment, sizes_of(experiment), device, say)


def _trained(experiment: Experiment, sizes: Sequence[int], device: str, say: Callable[[str], None]) -> Iterator[Sized]:
    for seed in range(experiment.design.n_seeds):
        for number, test in enumerate(experiment.folds):
            for recipe in experiment.recipes:
                fold = fold_of(experiment, recipe, seed, number)
                for n_train in sizes:
                    for dependent in (False, True):
                        yield _learned(experiment, recipe, fold, (seed, number), n_train, dependent, device)
            say(
                f"seed {seed}, fold {number + 1} of {len(experiment.folds)}: {', '.join(test)}; {_listed(sizes)} speakers"
            )


def _learned(
    experiment, recipe: Recipe, fold: Fold, at: tuple[int, int], n_train: int, dependent: bool, device
) -> Sized:
    seed, number = at
    plan = fold.plan_for(n_train, dependent)
    learned = train_method(
        recipe, fold.utterances, plan, experiment.encoder, seed, device,
        weights_seed=1000 * seed + number, words=experiment.words,
    )  # fmt: skip
    trained = Trained(recipe.name, learned.method, learned.utterances, fold.test, seed, number, fold.dev)
    return Sized(trained, n_train, dependent, fold.targets, plan.train, experiment.choice)


def fold_of(experiment: Experiment, recipe: Recipe, seed: int, number: int) -> Fold:
    """Who learns, who chooses the epoch, and on what is measured, as in cross-validation.

    Raises:
        LeakingSplit: a speaker or a copy of an utterance on two sides.
    """
    corpus, test = experiment.utterances.corpus, experiment.folds[number]
    utterances, plan, dev = fold_plan(experiment, recipe, seed, number)
    others = train_speakers(experiment, recipe, seed, number)
    train = draw_speakers(corpus, others, len(others), np.random.default_rng([seed, number, _DRAW_OF_SPEAKERS]))
    own, targets = halves(corpus, experiment.choice, test, np.random.default_rng([seed, number, _DRAW_OF_HALVES]))
    return Fold(utterances, plan, tuple(test), dev, tuple(train), own, targets)


def train_speakers(experiment: Experiment, recipe: Recipe, seed: int, number: int) -> list[str]:
    """All of a fold but those who are tested and those who choose the epoch."""
    corpus, folds = experiment.utterances.corpus, experiment.folds
    kept = {*folds[number], *dev_of_fold(corpus, folds, recipe, seed, number)}
    trains, _ = trains_or_measures(corpus, recipe.data, sorted(set(corpus.table["speaker"]) - kept))
    return trains


def halves(
    corpus: Corpus, choice: pd.DataFrame, speakers: Sequence[str], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """What speakers say, divided at random within each class: rows to learn from (SHARE, rounded down) and the others.

    Neither has an enrolled utterance; copies of an utterance are in neither, so that they cannot straddle.
    """
    usable = pd.Series(target_rows(corpus, choice), index=corpus.table.index)
    row_of = {utterance_id: row for row, utterance_id in enumerate(corpus.table.index)}
    own, targets = [], []
    for _, _, ids in cells_of(corpus, speakers):
        rows = rng.permutation([row_of[one] for one in ids if usable[one]])
        n_own = int(SHARE * len(rows))
        own += rows[:n_own].tolist()
        targets += rows[n_own:].tolist()
    return np.array(sorted(own), dtype=np.int64), np.array(sorted(targets), dtype=np.int64)


def sizes_of(experiment: Experiment) -> tuple[int, ...]:
    """Those of SIZES that every fold has more speakers than, and all that the smallest fold has.

    Raises:
        BadCorpus: fewer than two sizes.
    """
    largest = min(
        len(train_speakers(experiment, recipe, 0, number))
        for recipe in experiment.recipes
        for number in range(len(experiment.folds))
    )
    if largest <= SIZES[0]:
        raise BadCorpus(
            f"{experiment.utterances.corpus.name}: a fold has {largest} speakers to train with once those for dev and test are "
            f"kept apart; more than {SIZES[0]} are needed to compare numbers of them: take more folds, or a larger corpus"
        )
    return (*(size for size in SIZES if size < largest), largest)


def check(corpus: Corpus) -> None:
    """Raises BadCorpus where a speaker has too little to be enrolled with, learned from and measured on."""
    choice = first_of_each(corpus)
    for speaker in sorted(corpus.table["speaker"].unique()):
        own, _ = halves(corpus, choice, [speaker], np.random.default_rng(0))
        if len(own) == 0:
            raise BadCorpus(
                f"{corpus.name}: speaker {speaker} has not three utterances of any emotion; one is enrolled, one learned from "
                f"and one to be recognised: leave the speaker out, or add recordings"
            )


def measure(sized: Sized, hear: Hear) -> pd.DataFrame:
    """Predictions of a network on its targets with the columns n_train and dependent."""
    predicted = sized.trained.predict(sized.targets, sized.choice)
    return predicted.assign(n_train=sized.n_train, dependent=sized.dependent)


def tables(predictions: pd.DataFrame) -> Tables:
    """speakers: UAR of both networks and their gap, one row a method, number of training speakers and speaker.

    results: the same as means over speakers, one row a method and number, with bootstrap intervals over speakers and p of
    sign-flip permutations; `against_fewest` is the gap less that with the fewest training speakers: below 0 it has shrunk.
    """
    cells = predictions.groupby(["method", "n_train"], sort=False)
    speakers = pd.concat([_of_speakers(part).assign(method=method, n_train=n) for (method, n), part in cells])
    rows = []
    for method, of_method in speakers.groupby("method", sort=False):
        n_seeds = int(predictions.loc[predictions["method"] == method, "seed"].nunique())
        fewest = of_method[of_method["n_train"] == of_method["n_train"].min()]["gap"]
        for n_train, part in of_method.groupby("n_train"):
            rows.append({"method": method, "n_train": int(n_train), **_row(part, fewest), "n_seeds": n_seeds})
    names = speakers.reset_index(names="speaker")
    return {RESULTS: pd.DataFrame(rows), SPEAKERS: names[["method", "n_train", "speaker", *_MEASURED]]}


_MEASURED = ("independent", "dependent", "gap", "n_utterances")


def _of_speakers(part: pd.DataFrame) -> pd.DataFrame:
    both = {name: part[part["dependent"] == flag] for name, flag in (("independent", False), ("dependent", True))}
    table = pd.DataFrame({name: uar_of_speakers(one) for name, one in both.items()})
    n_utterances = both["independent"].groupby("speaker").size() // part["seed"].nunique()
    return table.assign(gap=table["dependent"] - table["independent"], n_utterances=n_utterances)


def _row(part: pd.DataFrame, fewest: pd.Series) -> dict:
    against_fewest = mean_difference(part["gap"] - fewest[part.index])
    return {
        "independent": float(part["independent"].mean()), "dependent": float(part["dependent"].mean()),
        **mean_difference(part["gap"]).under("gap", "gap_from", "gap_to", "p"),
        **against_fewest.under("against_fewest", "against_fewest_from", "against_fewest_to", "against_fewest_p"),
        "n_speakers": len(part), "n_utterances": int(part["n_utterances"].sum()),
    }  # fmt: skip


def numbers(tables: Tables, named: Named) -> Numbers:
    """UAR of both networks and their gap in words."""
    heads = (
        "Method, training speakers", "UAR, independent", "UAR, dependent", "Gap (95 % interval)", "Gap less that of the fewest",
    )  # fmt: skip
    results, fewest = tables[RESULTS], tables[RESULTS]["n_train"].min()
    rows = [
        [
            f"{named(row.method)}, {row.n_train}", f"{row.independent:.3f}", f"{row.dependent:.3f}",
            in_points(row.gap, row.gap_from, row.gap_to),
            "–" if row.n_train == fewest else in_points(row.against_fewest, row.against_fewest_from, row.against_fewest_to),
        ]
        for row in results.itertuples()
    ]  # fmt: skip
    return Numbers(heads, rows)


def _listed(sizes: Sequence[int]) -> str:
    return f"{', '.join(map(str, sizes[:-1]))} and {sizes[-1]}"


STUDY = Study(
    title="Do more training speakers make personal training needless?",
    reading=(
        "To the right more speakers are learned from. The gap is what a network gains that has also learned, with labels, from "
        "half of what the measured speakers say themselves; the other half is measured, the same for every number. The fewer "
        "the training speakers, the more of the gap is simply more to learn from."
    ),
    check=check,
    measure=measure,
    tables=tables,
    figure=lambda tables, named: gaps(tables[RESULTS], named),
    numbers=numbers,
    networks=networks,
    by_design=(
        "The dependent networks of this study learn from half of the test speakers' own labelled utterances, so speakers are "
        "on both sides by design; no utterance or copy of one is. The independent networks pass the check as they are.",
    ),
)
