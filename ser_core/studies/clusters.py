"""Is emotion in the clusters of a speaker? What the clusters agree with, and whether who has pure ones gains more from them.

Source: arXiv 2401.11017, sections 2 and 3: the clusters inside a speaker are said to be emotions. So they are held against the
emotion, and against what could be mistaken for it: the sentence, and the intensity. The first method is the one without
pre-training; what another gains over it is correlated with the purity of a speaker's clusters. Looked at are always k-means
clusters, as many as there are emotions, of the whole corpus, also where a recipe clusters otherwise.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from ser_core.data.enrolment import first_of_each
from ser_core.evaluation.clusters import Clustering
from ser_core.figures.fairness import Named
from ser_core.figures.studies import clusters_and_gains
from ser_core.inference.cluster_view import POINTS, agreement_table, cluster_points, middle_speaker
from ser_core.inference.predict import Trained
from ser_core.recipe import BadRecipe
from ser_core.studies.base import (
    Hear,
    Numbers,
    Study,
    Tables,
    in_points,
    mean_difference,
    number,
    uar_of_speakers,
    with_interval,
)
from ser_core.studies.label_shift import check, correlation
from ser_core.studies.stored import RESULTS
from ser_core.training.crossvalidation import Experiment, trained_folds

SPEAKERS, GAINS, SHOWN = "speakers", "gains", "shown"
"""Tables of one row a speaker; a method; an utterance of the speaker whose clusters are of median purity."""


def networks(experiment: Experiment, device: str, say: Callable[[str], None]) -> Iterator[Trained]:
    """Those of cross-validation.

    Raises:
        BadRecipe: no recipe hears an embedding that could be put into clusters.
    """
    if experiment.utterances.speaker_embedding is None:
        raise BadRecipe(
            "none of the recipes puts voices into clusters; name cluster_contrastive_none cluster_contrastive, for example"
        )
    return trained_folds(experiment, device, say)


def measure(trained: Trained, hear: Hear) -> pd.DataFrame:
    """Predictions of the test speakers' targets, and of all of their utterances the cluster and its picture."""
    utterances, choice = trained.utterances, first_of_each(trained.utterances.corpus)
    predicted = trained.predict(trained.targets(choice), choice)
    table, embedding = utterances.corpus.table, utterances.speaker_embedding.numpy()
    measured = table["corpus"].isin(set(predicted["corpus"])).to_numpy()
    points = cluster_points(table[measured], embedding[measured], Clustering(n_clusters=len(utterances.emotions)))
    points = points[points["speaker"].isin(trained.speakers)]
    named = {"method": trained.name, "seed": trained.seed, "fold": trained.fold}
    answered = predicted.set_index("utterance_id")["predicted_emotion"]
    return points.assign(**named, predicted_emotion=points["utterance_id"].map(answered))


def tables(measured: pd.DataFrame) -> Tables:
    """results: one row a label: purity, purity of random clusters of the same sizes, adjusted Rand index, means over speakers with
    their intervals.

    speakers: the same of each, with the UAR of each method and what it is more than the first's.
    gains: correlation, over speakers, of purity (by emotion, above that of random clusters) with what a method gains over the
    first, and with the UAR of the first itself: who is served well has little to gain. And that gain, a speaker's mean, with its
    interval and p.
    shown: the points of one speaker.
    """
    parts = dict(list(measured.groupby("method", sort=False)))
    first = next(iter(parts))
    points = parts[first][parts[first]["seed"] == parts[first]["seed"].min()][list(POINTS)]
    agreed = agreement_table(points)
    speakers = _speakers(agreed, {name: part[part["predicted_emotion"].notna()] for name, part in parts.items()}, first)
    sizes = {"n_utterances": len(points), "n_seeds": int(measured["seed"].nunique())}
    return {
        RESULTS: pd.DataFrame([_result(label, part, sizes) for label, part in agreed.groupby("label", sort=False)]),
        SPEAKERS: speakers,
        GAINS: pd.DataFrame([
            {"method": name, "of": of, **_related(speakers, f"{of}, {name}")}
            for name, of in [(first, "uar"), *((name, "gain") for name in parts if name != first)]
        ]),
        SHOWN: points[points["speaker"] == middle_speaker(agreed)],
    }  # fmt: skip


def _related(speakers: pd.DataFrame, column: str) -> dict[str, float]:
    """The mean of a column over speakers, and its correlation with purity above chance."""
    mean = mean_difference(speakers[column]).under("mean", "mean_from", "mean_to", "mean_p")
    return {**mean, **correlation(speakers["purity"] - speakers["purity_of_chance"], speakers[column])}


def _speakers(agreed: pd.DataFrame, parts: dict[str, pd.DataFrame], first: str) -> pd.DataFrame:
    of_emotion = agreed[agreed["label"] == "emotion"].set_index("speaker")
    table = of_emotion[["n_clusters", "purity", "purity_of_chance"]].copy()
    for label, part in agreed.groupby("label", sort=False):
        table[f"adjusted_rand, {label}"] = part.set_index("speaker")["adjusted_rand"]
    reached = {name: uar_of_speakers(part) for name, part in parts.items()}
    for name, values in reached.items():
        table[f"uar, {name}"] = values
    for name in parts:
        if name != first:
            table[f"gain, {name}"] = reached[name] - reached[first]
    return table.reset_index()


def _result(label: str, part: pd.DataFrame, sizes: dict) -> dict:
    known = part[part["purity"].notna()]
    row = {"label": label, "purity_of_chance": float(known["purity_of_chance"].mean())}
    for name in ("purity", "adjusted_rand"):
        found = mean_difference(known[name]) if len(known) else [np.nan] * 4
        row |= dict(zip((name, f"{name}_from", f"{name}_to"), found, strict=False))
    return {"method": "k-means", **row, "n_speakers": len(known), **sizes}


def numbers(tables: Tables, named: Named) -> Numbers:
    """What the clusters agree with."""
    heads = (
        "Clusters against",
        "Purity (95 % over speakers)",
        "random clusters of these sizes",
        "Adjusted Rand index",
        "Speakers",
    )
    rows = [
        [
            f"the {row.label}", with_interval(row.purity, row.purity_from, row.purity_to),
            number(row.purity_of_chance),
            with_interval(row.adjusted_rand, row.adjusted_rand_from, row.adjusted_rand_to), str(row.n_speakers),
        ]
        for row in tables[RESULTS].itertuples()
    ]  # fmt: skip
    return Numbers(heads, rows)


def told(tables: Tables, named: Named) -> list[str]:
    """What each method comes to, and its correlation with purity."""
    lines = []
    for row in tables[GAINS].itertuples():
        r = f"r = {with_interval(row.r, row.r_from, row.r_to)} over {row.n_speakers} speakers"
        if row.of == "uar":
            reached = f"UAR of a speaker {row.mean:.3f} on average, correlated with the purity of their clusters (above chance) by"
        else:
            gain = in_points(row.mean, row.mean_from, row.mean_to)
            reached = f"a speaker gains {gain} on average (p = {row.mean_p:.2f}), correlated with the purity of their clusters by"
        lines.append(f"{named(row.method)}: {reached} {r}.")
    return lines


STUDY = Study(
    title="Are the clusters of a speaker emotions?",
    reading=(
        "To the left one speaker, whose clusters are of median purity: a mark an utterance, joined to the middle of its cluster, which "
        "nobody labelled; marks without a line lie between two clusters and are in none. To the right a mark a speaker: how pure "
        "the clusters are (share of utterances with the commonest emotion of their cluster), and what the speaker gains from "
        "pre-training on such clusters, of other speakers. The adjusted Rand index is 1 where clusters and labels are the same and "
        "0 at chance."
    ),
    check=check,
    measure=measure,
    tables=tables,
    figure=lambda tables, named: clusters_and_gains(tables[SHOWN], tables[SPEAKERS], named),
    numbers=numbers,
    told=told,
    networks=networks,
    of_any_recipe=False,
)
