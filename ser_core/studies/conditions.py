"""Studies of ways to enrol: the same trained networks under each, and what every way changes for the speakers."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType

import numpy as np
import pandas as pd
import torch

from ser_core.data.batches import Utterances
from ser_core.data.enrolment import first_of_each
from ser_core.data.manifest import BadCorpus, Corpus
from ser_core.evaluation.counts import count
from ser_core.evaluation.individual import gini, gini_floor, share_worse, uar_per_speaker
from ser_core.evaluation.performance import uar_of_counts
from ser_core.evaluation.report import resampled_uar
from ser_core.evaluation.statistics import holm, interval
from ser_core.evaluation.summary import sentence_column
from ser_core.figures.fairness import Named
from ser_core.figures.studies import DRAW
from ser_core.figures.studies import changes as changes_figure
from ser_core.inference.predict import Trained
from ser_core.studies.base import (
    UNKNOWN,
    Difference,
    Hear,
    Numbers,
    Study,
    Tables,
    in_points,
    mean_difference,
    uar_of_speakers,
    with_interval,
)
from ser_core.studies.stored import RESULTS

NOBODY = "nobody enrolled"
"""The condition that every study has: the method's own answer without an enrolment, on the same targets."""

REFERENCE = "all utterances, nobody enrolled"
"""Recognised beside every study, and never shown: what each condition is compared with, on the condition's own targets."""

NOTE = "Changes are against the same method with nobody enrolled, on the same utterances."


@dataclass(frozen=True)
class Condition:
    """One way to enrol.

    Attributes:
        name: in words.
        parts: targets (rows) and the choice of enrolment under which they are recognised.
        utterances: the corpus, possibly with altered copies of enrolled utterances at its end.
    """

    name: str
    parts: tuple[tuple[np.ndarray, pd.DataFrame], ...]
    utterances: Utterances


def study_of(module: ModuleType) -> Study:
    """The study of a file that offers TITLE, READING, IN_ORDER; check(corpus); conditions(trained, hear), the ways to enrol;
    and contrast(condition), with which of them one is compared beside nobody."""
    return Study(
        title=module.TITLE,
        reading=f"{module.READING} {NOTE}",
        check=module.check,
        measure=partial(predict_conditions, module),
        tables=lambda predictions: {RESULTS: results(predictions, module)},
        figure=lambda tables, named: changes_figure(tables[RESULTS], module.IN_ORDER, named),
        numbers=numbers,
        of_models=True,
    )


def predict_conditions(study: ModuleType, trained: Trained, hear: Hear) -> pd.DataFrame:
    """Predictions of one network under every condition of a study: the table of predictions with a column condition.

    Raises:
        BadCorpus: the corpus is too small for the study.
    """
    nobody_enrolled = first_of_each(trained.utterances.corpus).iloc[:0]
    reference = _recognised(trained, trained.targets(nobody_enrolled), nobody_enrolled).assign(condition=REFERENCE)
    tables = [
        _recognised(replace(trained, utterances=condition.utterances), targets, choice).assign(condition=condition.name)
        for condition in study.conditions(trained, hear)
        for targets, choice in condition.parts
        if len(targets)
    ]
    if not tables:
        raise BadCorpus(
            f"{trained.utterances.corpus.name}: too few utterances for this study; nothing is left to recognise"
        )
    return pd.concat([reference, *tables], ignore_index=True)


def _recognised(trained: Trained, targets: np.ndarray, choice: pd.DataFrame) -> pd.DataFrame:
    predicted = trained.predict(targets, choice)
    return predicted.assign(sentence=sentence_column(predicted, choice))


def results(predictions: pd.DataFrame, study: ModuleType) -> pd.DataFrame:
    """One row a method and condition: UAR, how evenly, and what changes for the speakers.

    change: of a speaker's UAR against the same method with nobody enrolled, on the condition's own targets; the same on
    targets whose sentence was not enrolled (change_new_sentence); and against another condition on the same targets
    (contrast). Means over speakers, bootstrap intervals over speakers, p of sign-flip permutations, adjusted by Holm over
    the conditions of the method. share_worse is the share of speakers who lose against nobody.
    """
    rows = []
    for method, of_method in predictions.groupby("method", sort=False):
        of = dict(list(of_method.groupby("condition", sort=False)))
        reference = of.pop(REFERENCE)
        own = [
            {"method": method, "condition": name, **_row(part, reference), **_contrast(part, study.contrast(name), of)}
            for name, part in of.items()
        ]
        for p in ("p", "contrast_p"):
            adjusted = holm({str(place): row[p] for place, row in enumerate(own) if row["condition"] != NOBODY})
            for place, row in enumerate(own):
                row[f"{p}_holm"] = adjusted.get(str(place), float("nan"))
        rows += own
    return pd.DataFrame(rows)


def _row(part: pd.DataFrame, reference: pd.DataFrame) -> dict:
    counts = count(part)
    speakers, own = uar_of_speakers(part), uar_of_speakers(_on_targets_of(part, reference))
    low, high = interval(resampled_uar(counts), len(speakers))
    uneven = float(np.mean([gini(of_seed) for of_seed in uar_per_speaker(counts).T]))
    new = part[part["sentence"] == "new"]
    return {
        "uar": float(uar_of_counts(counts.pooled).mean()), "uar_from": low, "uar_to": high,
        "worst_speaker": float(speakers.min()), "gini": uneven,
        "excess_gini": uneven - gini_floor(counts, np.random.default_rng(0), 300),
        **_change(part, reference).under("change", "change_from", "change_to", "p"), "share_worse": share_worse(own, speakers),
        "change_new_sentence": _change(new, reference).mean if len(new) else float("nan"),
        "n_utterances": int(counts.table.sum() // len(counts.seeds)), "n_speakers": len(speakers), "n_seeds": len(counts.seeds),
    }  # fmt: skip


def _contrast(part: pd.DataFrame, with_: str | None, of: dict[str, pd.DataFrame]) -> dict:
    """The change against another condition, on the targets that both have."""
    change = _change(part, of[with_]) if with_ in of else UNKNOWN
    columns = change.under("contrast_change", "contrast_from", "contrast_to", "contrast_p")
    return {"contrast": with_ if with_ in of else None, **columns}


def _change(part: pd.DataFrame, other: pd.DataFrame) -> Difference:
    own, others = uar_of_speakers(part), uar_of_speakers(_on_targets_of(part, other))
    return mean_difference(own - others[own.index])


def _on_targets_of(part: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    keys = ["utterance_id", "seed"]
    return part[keys].merge(other, on=keys)


def numbers(tables: Tables, named: Named) -> Numbers:
    """UAR and what changed for the speakers, a row a condition; one row for a method that uses no enrolment."""
    heads = ("Method, condition", "UAR (95 % interval)", "Change of a speaker", "p (Holm)", "Speakers worse off")
    rows = []
    for method, of_method in tables[RESULTS].groupby("method", sort=False):
        listens = of_method["change"].any()
        for row in of_method.itertuples() if listens else of_method.iloc[:1].itertuples():
            if not row.condition.startswith(DRAW):
                rows.append(_in_words(row, f"{named(method)}, {row.condition if listens else 'uses no enrolment'}"))
    return Numbers(heads, rows)


def _in_words(row, name: str) -> list[str]:
    uar = with_interval(row.uar, row.uar_from, row.uar_to)
    change = in_points(row.change, row.change_from, row.change_to)
    return [name, uar, change, "–" if np.isnan(row.p_holm) else f"{row.p_holm:.3f}", f"{row.share_worse:.0%}"]


# tools for the studies


def nobody(trained: Trained, targets: np.ndarray, choice: pd.DataFrame) -> Condition:
    """The condition NOBODY on the same targets."""
    return Condition(NOBODY, ((targets, choice.iloc[:0]),), trained.utterances)


def cells_of(corpus: Corpus, speakers: Iterable[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Speaker, class and the utterances of each of the speakers, in alphabetical order.

    Copies of an utterance (duplicate_of) are left out: they would straddle enrolment and targets.
    """
    table = corpus.table
    usable = (
        table["speaker"].isin(list(speakers)) & table["emotion"].isin(corpus.emotions) & table["duplicate_of"].isna()
    )
    for (speaker, emotion), part in table[usable].groupby(["speaker", "emotion"], sort=True):
        yield str(speaker), str(emotion), sorted(part.index)


def as_choice(rows: Sequence[tuple[str, str, str]], corpus: Corpus) -> pd.DataFrame:
    """A choice of enrolment from (speaker, emotion, utterance_id)."""
    choice = pd.DataFrame(rows, columns=["speaker", "emotion", "utterance_id"])
    return choice.assign(text_id=choice["utterance_id"].map(corpus.table["text_id"]))


def altered(
    utterances: Utterances, choice: pd.DataFrame, name: str, emotion: Sequence[str] | None = None, features=None
) -> tuple[Utterances, pd.DataFrame]:
    """Copies of enrolled utterances with other labels or other features, at the end of the corpus; never targets.

    Args:
        utterances: the corpus, row numbers stay as they are.
        choice: what is copied, K rows.
        name: told apart by it.
        emotion: labels of the copies (K); as they are if None.
        features: pooled layers of the copies (K, L, 2 D); as they are if None.

    Returns:
        the longer corpus, and the choice of the copies.
    """
    ids = choice["utterance_id"].to_list()
    rows = [utterances.row_of[one] for one in ids]
    copies = utterances.corpus.table.iloc[rows].copy()
    names = [f"{speaker}#{name}#{one}" for speaker, one in zip(choice["speaker"], ids, strict=True)]
    copies.index = pd.Index(names, name="utterance_id")
    copies["emotion"] = list(choice["emotion"] if emotion is None else emotion)
    corpus = replace(utterances.corpus, table=pd.concat([utterances.corpus.table, copies]))
    heard = utterances.features[rows] if features is None else torch.as_tensor(np.asarray(features))
    longer = Utterances(corpus, utterances.emotions, torch.cat([utterances.features, heard]))
    return longer, choice.assign(utterance_id=list(copies.index), emotion=list(copies["emotion"]))
