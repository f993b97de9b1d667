"""Test sets that the tab Fairness shows: where their predictions come from, and what is looked at, without a page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ser_core.data.corpora import CORPORA, load_corpora
from ser_core.evaluation.demo import read_demo
from ser_core.evaluation.predictions import Predictions, check_predictions, read_predictions
from ser_core.evaluation.report import Report, group_reports, make_report, reference, with_groups
from ser_core.ui.services import Services

if TYPE_CHECKING:  # these take seconds to import
    from ser_core.inference.embedding_view import Maps
    from ser_core.inference.test_set import Evaluated

FILTERS = {
    "corpus": "Corpus", "emotion": "Emotion", "language": "Language", "intensity": "Intensity", "sentence": "Sentence",
}  # fmt: skip
"""Columns that a test set can be narrowed by, and what they are called."""

WORDS = {"new": "not enrolled", "enrolled": "among the enrolled ones"}
MANIFEST = "manifest"
"""Any CSV with paths and speakers, instead of an official layout."""


_N_KEPT = 24


class NothingLeft(ValueError):
    """The filters leave no utterance."""


class NoFolder(ValueError):
    """A corpus was asked for without saying where it is."""


@dataclass
class TestSet:
    """Predictions that are looked at; one a page, but the demo, which is everybody's.

    Attributes:
        title: what it is, in words.
        leaks, configuration: as they stand in a report.
        maps: embeddings before and after the enrolment is used; None where there are no networks at hand.
    """

    __test__ = False  # not a test of pytest's

    title: str
    predictions: Predictions
    leaks: Mapping[str, Any] = field(default_factory=dict)
    configuration: Mapping[str, Any] = field(default_factory=dict)
    maps: "Maps | None" = None
    _reports: dict = field(default_factory=dict, repr=False)

    @property
    def table(self) -> pd.DataFrame:
        """All of its predictions."""
        return self.predictions.table

    @property
    def has_audio(self) -> bool:
        """Whether the recordings are on this computer."""
        return "path" in self.table and self.table["path"].notna().any() and Path(self.table["path"].iloc[0]).is_file()

    @property
    def methods(self) -> list[str]:
        """The one that others are compared with first."""
        first = reference(self.predictions.methods)
        return [first, *(name for name in self.predictions.methods if name != first)]

    def values(self, column: str) -> list[str]:
        """What a column may be narrowed to; empty where there is no choice."""
        found = sorted(self.table[column].dropna().astype(str).unique()) if column in self.table else []
        return found if len(found) > 1 else []

    def narrowed(self, wanted: Mapping[str, Sequence[str]], methods: Sequence[str]) -> Predictions:
        """The utterances and methods that are looked at.

        Raises:
            NothingLeft: there are none.
        """
        table = self.table[self.table["method"].isin(methods)]
        for column, values in wanted.items():
            if values:
                table = table[table[column].astype(str).isin(values)]
        if table.empty:
            raise NothingLeft("no utterance is left; take a filter away")
        return Predictions(table, tuple(name for name in self.methods if name in set(methods)), self.predictions.notes)

    def report(self, looked_at: Predictions, key: tuple, attributes: Sequence[str] | None) -> Report:
        """The report of what is looked at; what was computed last is kept.

        Args:
            looked_at: as `narrowed` gives it.
            key: names it.
            attributes: of which groups are compared; all of them if None.
        """
        if attributes is None:
            return self._kept((key, None), lambda: make_report(looked_at, None, None, self.leaks, self.configuration))
        base = self._kept((key,), lambda: make_report(looked_at, [], None, self.leaks, self.configuration))
        found = {name: self._kept((key, name), lambda name=name: group_reports(looked_at, name)) for name in attributes}
        models = {
            method: with_groups(model, {name: of[method] for name, of in found.items()})
            for method, model in base.models.items()
        }
        return replace(base, models=models)

    def _kept(self, key: tuple, make: Callable):
        if key not in self._reports:
            while len(self._reports) >= _N_KEPT:
                self._reports.pop(next(iter(self._reports)), None)
            self._reports[key] = make()
        return self._reports[key]


@cache
def demo() -> TestSet:
    """The results that ship, read and computed once for all pages.

    Raises:
        NoDemo: they are missing.
    """
    predictions, about = read_demo()
    title = (
        f"Demo results: {predictions.table['speaker'].nunique()} actors of RAVDESS, cross-validated, each utterance "
        f"recognised by networks that never heard its speaker"
    )
    return TestSet(title, predictions, about["leak_check"], {key: about[key] for key in about if key != "leak_check"})


def from_file(path: str) -> TestSet:
    """A table of predictions.

    Raises:
        BadPredictions: it cannot be evaluated.
    """
    read = read_predictions(path)  # without paths: a table from anywhere must not name files of this computer
    predictions = replace(read, table=read.table.drop(columns="path", errors="ignore"))
    return TestSet(f"Predictions of {Path(path).name}", predictions, {}, {"predictions": Path(path).name})


def from_corpus(
    services: Services,
    layout: str,
    folder: str,
    models: Sequence[str],
    split: str,
    progress: Callable[[float, str], None],
    cancelled: Callable[[], bool],
) -> TestSet:
    """Models' predictions on a corpus, made now.

    Args:
        services: for the models and the workspace.
        layout: a key of CORPORA, or MANIFEST.
        folder: where the corpus is.
        models: names; the default if none.
        split: of the manifest; all if empty.
        progress: told the share that is done, and what is being done.
        cancelled: asked now and then.

    Raises:
        NoFolder, NotYours, BadCorpus, LeakingSplit, Cancelled: no result; the message says what to do.
    """
    from ser_core.inference.test_set import configuration_of, evaluate_models
    from ser_core.training.provenance import provenance

    if not folder.strip():
        raise NoFolder("say where the corpus is: the folder's path on this computer")
    path = services.may_read(Path(folder.strip().strip("\"'")).expanduser())
    name = path.stem if layout == MANIFEST else layout
    corpus = load_corpora([f"{name}={path}"])
    recognisers = [services.models.recogniser(model) for model in models or [None]]
    evaluated = evaluate_models(recognisers, corpus, services.workspace, split.strip() or None, progress, cancelled)
    progress(0.95, "drawing maps")
    maps = None if cancelled() else _maps(evaluated, corpus.name)
    progress(1.0, "counting")
    checked = check_predictions(evaluated.predictions, corpus.name)
    predictions = Predictions(checked.table, checked.methods, (*evaluated.notes, *checked.notes))
    configuration = {**configuration_of(recognisers, corpus, split.strip() or None), **provenance()}
    named = ", ".join(one.info.name for one in recognisers)
    return TestSet(f"{corpus.name}, recognised just now by {named}", predictions, evaluated.leaks, configuration, maps)


def _maps(evaluated: "Evaluated", corpus: str) -> "Maps | None":
    """Of the first model's default personaliser; None where there are too few utterances."""
    from ser_core.data.manifest import BadCorpus
    from ser_core.inference.embedding_view import clusters_of, maps_of, view

    try:
        networks = [one for one in evaluated.networks if one.method.uses_enrolment][:1]
        views = [view(trained, evaluated.choice) for trained in networks]
        return maps_of(views, corpus, clusters_of(networks[0].utterances, networks[0].speakers))
    except BadCorpus:
        return None


LAYOUTS = [*(name for name in CORPORA if not name.startswith("synthetic")), MANIFEST]
