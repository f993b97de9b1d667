"""Why are some speakers served worse? How far they are from the training speakers, in how they sound and in what they feel.

Source: arXiv 2309.02418, section 3.3: the divergence between a speaker's distribution of features, or of labels, and that of
the training set, and Pearson's correlation of both with how well the speaker is served. How the divergences are computed:
evaluation/shift.py. Features are what the network's last layer hears; enrolled utterances are on neither side.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ser_core.data.enrolment import first_of_each
from ser_core.data.manifest import BadCorpus, Corpus
from ser_core.evaluation.performance import ccc_of_rated, mean_where_known, uar
from ser_core.evaluation.shift import class_divergence, feature_shift, normal_divergence
from ser_core.evaluation.statistics import drawn, interval
from ser_core.figures.fairness import Named
from ser_core.figures.studies import shifts
from ser_core.inference.predict import Trained, answers, predictions_table
from ser_core.labels import ATTRIBUTES
from ser_core.studies.base import Hear, Numbers, Study, Tables, with_interval
from ser_core.studies.stored import RESULTS

SPEAKERS = "speakers"
"""Name of the table of one row a method and speaker."""

WORDS = {
    "uar": "UAR of the speaker", "ccc": "CCC of the speaker", "feature_shift": "feature shift, nats",
    "label_shift": "label shift, nats", "rating_shift": "rating shift, nats",
}  # fmt: skip
PAIRS = (
    ("feature_shift", "uar"), ("label_shift", "uar"), ("feature_shift", "label_shift"),
    ("feature_shift", "ccc"), ("rating_shift", "ccc"), ("feature_shift", "rating_shift"),
)  # fmt: skip
"""What is correlated with what; of attributes only where a recipe rates them."""

FEWEST = 3
"""Speakers, below which a correlation says nothing."""

LEAST_SPREAD = 1e-3
"""Values within less than this (nats; share of UAR) are the same for all: a single utterance more or less moves a label
shift by some 0.0002, and a correlation with that would be one with a missing file."""


@dataclass(frozen=True)
class _Side:
    """Utterances on one side: what the network hears in them, their classes and ratings.

    Attributes:
        embedding: (N, D).
        counts: of each class, (C,).
        ratings: of the attributes that the method predicts, (N, A).
    """

    embedding: np.ndarray
    counts: np.ndarray
    ratings: np.ndarray


def measure(trained: Trained, hear: Hear) -> pd.DataFrame:
    """One row a test speaker of a network: shifts in nats, UAR, CCC (mean over attributes); nan for what it does not predict."""
    utterances, corpus = trained.utterances, trained.utterances.corpus
    choice = first_of_each(corpus)
    learned_from = sorted(set(corpus.table["speaker"]) - {*trained.speakers, *trained.dev})
    heard, targets = trained.targets(choice, learned_from), trained.targets(choice)
    enrolled = utterances.enrolment_rows(choice)
    of_heard, said = (answers(trained.method, utterances, rows, enrolled) for rows in (heard, targets))
    predicted = predictions_table(utterances, targets, said, trained.name, trained.seed, trained.fold)
    attributes = np.isfinite(said.attributes).any(axis=0)
    reference = _side(trained, heard, of_heard.embedding, attributes)
    rows = []
    for speaker, places in predicted.groupby("speaker").indices.items():
        own = _side(trained, targets[places], said.embedding[places], attributes)
        key = {"method": trained.name, "seed": trained.seed, "fold": trained.fold, "speaker": speaker}
        rows.append(
            {**key, "n_utterances": len(places), **_performance(predicted.iloc[places]), **_shifts(own, reference)}
        )
    return pd.DataFrame(rows)


def _side(trained: Trained, rows: np.ndarray, embedding: np.ndarray, attributes: np.ndarray) -> _Side:
    utterances = trained.utterances
    emotion = utterances.emotion[rows]
    counts = np.bincount(emotion[emotion >= 0], minlength=len(utterances.emotions))
    return _Side(embedding, counts, utterances.attributes[rows][:, attributes])


def _performance(predicted: pd.DataFrame) -> dict[str, float]:
    named = predicted["predicted_emotion"].notna().all()
    of_attributes = [
        ccc_of_rated(predicted[name], predicted[f"predicted_{name}"])
        for name in ATTRIBUTES
        if f"predicted_{name}" in predicted
    ]
    return {
        "uar": uar(predicted["emotion"], predicted["predicted_emotion"]) if named else float("nan"),
        "ccc": float(mean_where_known(np.array(of_attributes, dtype=float))),
    }


def _shifts(own: _Side, reference: _Side) -> dict[str, float]:
    """nan where a side has too few ratings, or none."""
    present = own.counts + reference.counts > 0
    ratings, others = (side.ratings[np.isfinite(side.ratings).all(axis=1)] for side in (own, reference))
    return {
        "feature_shift": feature_shift(own.embedding, reference.embedding),
        "label_shift": class_divergence(own.counts[present], reference.counts[present]),
        "rating_shift": normal_divergence(ratings, others) if ratings.shape[1] else float("nan"),
    }


def tables(measured: pd.DataFrame) -> Tables:
    """speakers: one row a method and speaker, means over seeds. results: one row a method and pair of PAIRS.

    A result has r (Pearson's), its bootstrap interval over speakers, and how many speakers it is of.
    """
    kept = measured.dropna(axis=1, how="all")
    speakers = kept.drop(columns=["seed", "fold"]).groupby(["method", "speaker"], sort=False).mean().reset_index()
    rows = []
    for method, of_method in speakers.groupby("method", sort=False):
        counts = {
            "n_utterances": int(of_method["n_utterances"].sum()),
            "n_seeds": int(measured.loc[measured["method"] == method, "seed"].nunique()),
        }
        rows += [
            {"method": method, "x": x, "y": y, **correlation(of_method[x], of_method[y]), **counts}
            for x, y in PAIRS
            if {x, y} <= set(of_method)
        ]
    return {RESULTS: pd.DataFrame(rows), SPEAKERS: speakers}


def correlation(x: pd.Series, y: pd.Series) -> dict[str, float]:
    """Pearson's r over the speakers of whom both are known, its 95 % bootstrap interval over them, and their number.

    r is nan for fewer than FEWEST speakers, or where one of both is the same for all (LEAST_SPREAD).
    """
    known = np.column_stack([x, y])
    known = known[np.isfinite(known).all(axis=1)]
    n = len(known)
    r, low, high = float("nan"), float("nan"), float("nan")
    if n >= FEWEST and (np.ptp(known, axis=0) >= LEAST_SPREAD).all():
        r = float(_pearson(known[None])[0])
        low, high = interval(_pearson(known[drawn(n)]), n)
    return {"r": r, "r_from": low, "r_to": high, "n_speakers": n}


def _pearson(pairs: np.ndarray) -> np.ndarray:
    """Of each table of pairs, (B, n, 2) to (B,); nan where one of both does not vary (LEAST_SPREAD)."""
    x, y = np.moveaxis(pairs - pairs.mean(axis=1, keepdims=True), 2, 0)
    varies = (np.ptp(pairs, axis=1) >= LEAST_SPREAD).all(axis=1)
    spread = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    return np.divide((x * y).sum(axis=1), spread, out=np.full(len(pairs), np.nan), where=varies)


def check(corpus: Corpus) -> None:
    """Raises BadCorpus where there are too few speakers for a correlation over them."""
    n_speakers = corpus.table["speaker"].nunique()
    if n_speakers < FEWEST:
        raise BadCorpus(
            f"{corpus.name} has {n_speakers} speakers: too few for a correlation over speakers; at least {FEWEST} are needed"
        )


def numbers(tables: Tables, named: Named) -> Numbers:
    """Correlations in words."""
    heads = ("Method, correlation over speakers", "r (95 % interval)", "Speakers")
    rows = [
        [f"{named(row.method)}, {_short(row.x)} and {_short(row.y)}", with_interval(row.r, row.r_from, row.r_to), str(row.n_speakers)]
        for row in tables[RESULTS].itertuples()
    ]  # fmt: skip
    return Numbers(heads, rows)


def _short(column: str) -> str:
    return WORDS[column].removesuffix(", nats").removesuffix(" of the speaker")


STUDY = Study(
    title="Why are some speakers served worse?",
    reading=(
        "Each mark is a speaker. To the right are those who differ more from the training speakers: in how they sound to the "
        "network (feature shift), or in how often they show each emotion (label shift). Marks that fall to the right mean "
        "that who differs is served worse. Each method hears in its own way, so compare feature shifts within one. Where all "
        "speakers show the same emotions equally often, as actors who follow one script do, a correlation with label shift is "
        "not estimable."
    ),
    check=check,
    measure=measure,
    tables=tables,
    figure=lambda tables, named: shifts(
        tables[SPEAKERS], [pair for pair in PAIRS if pair[1] in ("uar", "ccc")], WORDS, named
    ),
    numbers=numbers,
    of_emotions=False,
)
