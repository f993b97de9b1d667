"""What a study is: a question, how networks are measured for it, and how the answer is told and drawn."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ser_core.data.groups import groups_of
from ser_core.data.manifest import BadCorpus, Corpus
from ser_core.evaluation.counts import Counts, count
from ser_core.evaluation.gaps import uar_change_of, uar_interval
from ser_core.evaluation.individual import uar_per_speaker
from ser_core.evaluation.performance import uar_of_counts
from ser_core.evaluation.statistics import interval, sign_flip
from ser_core.figures.fairness import Named
from ser_core.training.crossvalidation import Experiment, trained_folds

Hear = Callable[[str, float], np.ndarray]
"""Pooled layers (L, 2 D) of an audio file with white noise at so many dB SNR."""

Tables = Mapping[str, pd.DataFrame]
"""What came out, by name. 'results' answers the question and has the columns method, n_speakers, n_utterances, n_seeds."""

Networks = Callable[[Experiment, str, Callable[[str], None]], Iterable[Any]]
"""(experiment, device, say) to trained networks, each as `Study.measure` takes it; checks first, trains when iterated."""

NOT_ESTIMABLE = "not estimable"


class Numbers(NamedTuple):
    """A table for people: a head a column, and cells in words; the first cell names its row."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Study:
    """A question.

    Attributes:
        title: the question, in words.
        reading: how to read the figure and the numbers.
        check: raises BadCorpus where a corpus cannot answer it.
        measure: what one network shows: a table, which is put under those of the others.
        tables: what all networks together show.
        figure: of the tables; `Named` says what a method is called.
        numbers: of the tables, with the same.
        networks: which networks are measured; studies of the same ones share their training.
        of_models: whether a finished model can be asked as well, which has no training speakers at hand.
        of_emotions: every method must tell emotions apart; False where one of attributes alone will do.
        by_design: what crosses between training and test on purpose, a sentence each, for the leak check's verdict.
        of_any_recipe: whatever is trained can be asked; False where the question is about a pair of recipes.
        settings: of every recipe, as after --set: what the question needs.
        told: what came out in words, a sentence each.
    """

    title: str
    reading: str
    check: Callable[[Corpus], None]
    measure: Callable[[Any, Hear], pd.DataFrame]
    tables: Callable[[pd.DataFrame], Tables]
    figure: Callable[[Tables, Named], go.Figure]
    numbers: Callable[[Tables, Named], Numbers]
    networks: Networks = trained_folds
    of_models: bool = False
    of_emotions: bool = True
    by_design: tuple[str, ...] = ()
    of_any_recipe: bool = True
    settings: tuple[str, ...] = ()
    told: Callable[[Tables, Named], Sequence[str]] = lambda tables, named: ()


def check_groups(experiment: Experiment) -> None:
    """Make sure that there are groups to compare among those who are measured.

    Raises:
        BadCorpus: fewer than two are known.
    """
    table, protected = experiment.utterances.corpus.table, experiment.recipes[0].data.protected
    measured = table[table["speaker"].isin([speaker for fold in experiment.folds for speaker in fold])]
    names = sorted(groups_of(measured, protected).dropna().unique())
    if len(names) < 2:
        raise BadCorpus(
            f"{' and '.join(sorted(measured['corpus'].unique()))}: this study compares groups by {protected}, and of those who "
            f"are measured it is known of {'nobody' if not names else names[0] + ' alone'}; fill the column '{protected}', or "
            f"name another one with --set data.protected=COLUMN"
        )


# numbers that several studies need


class Difference(NamedTuple):
    """Mean over speakers with its 95 % interval over speakers, and p of a sign-flip permutation; nan where unknown."""

    mean: float
    low: float
    high: float
    p: float

    def under(self, *names: str) -> dict[str, float]:
        """By four names, as columns of a table."""
        return dict(zip(names, self, strict=True))


UNKNOWN = Difference(*[float("nan")] * 4)


def mean_difference(differences: pd.Series) -> Difference:
    """Of one difference a speaker, (S,)."""
    values = np.round(differences.to_numpy(), 12)
    drawn = np.random.default_rng(0).choice(values, size=(2_000, len(values))).mean(axis=1)
    return Difference(float(values.mean()), *interval(drawn, len(values)), sign_flip(values))


def uar_of_speakers(predictions: pd.DataFrame) -> pd.Series:
    """UAR of each speaker, averaged over seeds, indexed by speaker."""
    counts = count(predictions)
    return pd.Series(uar_per_speaker(counts).mean(axis=1), index=list(counts.speakers))


def accuracy_of(counts: Counts, reference: Counts) -> dict[str, float]:
    """UAR over all utterances, its mean over seeds, with its interval over speakers; its change is the difference of the two."""
    low, high = uar_interval(counts)
    change = uar_change_of(counts, reference)
    return {
        "uar": float(uar_of_counts(counts.pooled).mean()), "uar_from": low, "uar_to": high, "uar_change": change.value,
        "uar_change_from": change.interval[0], "uar_change_to": change.interval[1], "uar_change_p": change.p,
    }  # fmt: skip


def sizes(predictions: pd.DataFrame) -> dict[str, int]:
    """n_speakers, n_utterances and n_seeds of one method's predictions."""
    n_seeds = predictions["seed"].nunique()
    return {
        "n_speakers": predictions["speaker"].nunique(),
        "n_utterances": len(predictions) // n_seeds,
        "n_seeds": n_seeds,
    }


def in_points(value: float, low: float | None = None, high: float | None = None) -> str:
    """A difference of UAR as people read it.

    >>> in_points(0.0512), in_points(0.05, -0.01, 0.12), in_points(float("nan"))
    ('+5.1 points', '+5.0 points (-1.0 to +12.0)', 'not estimable')
    """
    if np.isnan(value):
        return NOT_ESTIMABLE
    bounds = "" if low is None or np.isnan(low) else f" ({100 * low:+.1f} to {100 * high:+.1f})"
    return f"{100 * value:+.1f} points{bounds}"


def number(value: float, digits: int = 3) -> str:
    """A number as people read it.

    >>> number(0.5), number(0.954, 2), number(float("nan"))
    ('0.500', '0.95', 'not estimable')
    """
    return NOT_ESTIMABLE if np.isnan(value) else f"{value:.{digits}f}"


def with_interval(value: float, low: float, high: float) -> str:
    """A number and its interval.

    >>> with_interval(0.5, 0.4, 0.625), with_interval(float("nan"), float("nan"), float("nan"))
    ('0.500 (0.400 to 0.625)', 'not estimable')
    """
    return number(value) if np.isnan(low) else f"{value:.3f} ({low:.3f} to {high:.3f})"
