"""What every study shares: ways to enrol, the same trained networks under each, and the numbers that come out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
import pandas as pd
import torch

from ser_core.data.batches import Utterances
from ser_core.data.enrolment import first_of_each
from ser_core.data.manifest import BadCorpus, Corpus
from ser_core.evaluation.counts import Counts, count
from ser_core.evaluation.individual import gini, gini_floor, share_worse, uar_per_speaker
from ser_core.evaluation.performance import uar_of_counts
from ser_core.evaluation.report import resampled_uar
from ser_core.evaluation.statistics import interval, sign_flip
from ser_core.evaluation.summary import sentence_column
from ser_core.inference.predict import Trained

NOBODY = "nobody enrolled"
"""The condition that every study has: the method's own answer without an enrolment, on the same targets."""

REFERENCE = "all utterances, nobody enrolled"
"""Recognised beside every study, and never shown: what each condition is compared with, on the condition's own targets."""

Hear = Callable[[str, float], np.ndarray]
"""Pooled layers (L, 2 D) of an audio file with white noise at so many dB SNR."""


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


def run_study(study: ModuleType, networks: Iterable[Trained], hear: Hear) -> pd.DataFrame:
    """Predictions of every network under every condition: the table of predictions with a column condition.

    Raises:
        BadCorpus: the corpus is too small for the study.
    """
    return pd.concat([predict_conditions(study, trained, hear) for trained in networks], ignore_index=True)


def predict_conditions(study: ModuleType, trained: Trained, hear: Hear) -> pd.DataFrame:
    """Predictions of one network under every condition of a study."""
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


def results(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row a method and condition: UAR, how evenly, and the change against the same method with nobody enrolled.

    The change is of every speaker's UAR, mean over speakers, with a bootstrap interval over speakers and the p of a
    sign-flip permutation; share_worse is the share of speakers who lose.
    """
    rows = []
    for method, of_method in predictions.groupby("method", sort=False):
        is_reference = of_method["condition"] == REFERENCE
        for condition, part in of_method[~is_reference].groupby("condition", sort=False):
            rows.append({"method": method, "condition": condition, **_row(part, of_method[is_reference])})
    return pd.DataFrame(rows)


def _row(part: pd.DataFrame, reference: pd.DataFrame) -> dict:
    counts = count(part)
    speakers = _speakers(counts)
    low, high = interval(resampled_uar(counts), len(speakers))
    floor = gini_floor(counts, np.random.default_rng(0), 300)
    uneven = float(np.mean([gini(of_seed) for of_seed in uar_per_speaker(counts).T]))
    new = part[part["sentence"] == "new"]
    row = {
        "uar": float(uar_of_counts(counts.pooled).mean()), "uar_from": low, "uar_to": high,
        "uar_new_sentence": float(uar_of_counts(count(new).pooled).mean()) if len(new) else float("nan"),
        "worst_speaker": float(speakers.min()), "gini": uneven, "excess_gini": uneven - floor,
    }  # fmt: skip
    own = _speakers(count(part[["utterance_id", "seed"]].merge(reference, on=["utterance_id", "seed"])))
    return (
        row
        | _change(speakers, own)
        | {
            "n_utterances": int(counts.table.sum() // len(counts.seeds)),
            "n_speakers": len(speakers),
            "n_seeds": len(counts.seeds),
        }
    )


def _change(speakers: pd.Series, own: pd.Series) -> dict:
    change = (speakers - own[speakers.index]).to_numpy()
    rng = np.random.default_rng(0)
    drawn = rng.choice(change, size=(2_000, len(change))).mean(axis=1)
    low, high = interval(drawn, len(change))
    return {
        "change": float(change.mean()), "change_from": low, "change_to": high, "p": sign_flip(np.round(change, 12)),
        "share_worse": share_worse(own, speakers),
    }  # fmt: skip


def _speakers(counts: Counts) -> pd.Series:
    return pd.Series(uar_per_speaker(counts).mean(axis=1), index=list(counts.speakers))


# tools for the studies


def nobody(trained: Trained, targets: np.ndarray, choice: pd.DataFrame) -> Condition:
    """The condition NOBODY on the same targets."""
    return Condition(NOBODY, ((targets, choice.iloc[:0]),), trained.utterances)


def own_cells(trained: Trained) -> Iterator[tuple[str, str, list[str]]]:
    """Speaker, class and the utterances of each of the network's speakers, in alphabetical order.

    Copies of an utterance (duplicate_of) are left out: they would straddle enrolment and targets.
    """
    table = trained.utterances.corpus.table
    usable = table["speaker"].isin(trained.speakers) & table["emotion"].isin(trained.utterances.corpus.emotions)
    usable &= table["duplicate_of"].isna()
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
