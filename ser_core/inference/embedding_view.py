"""How a network hears utterances before and after the speaker's enrolment is used: a map, and what a probe reads off.

A map is t-SNE (van der Maaten and Hinton 2008, JMLR 9) with a fixed seed. Before and after have a map each: in a joint
one every utterance is drawn to itself, so that both sides look alike whatever has changed. Both start from one linear
projection, and the second is turned (which changes no distance) to lie on the first. Different networks have different
embeddings, so a map shows one network, and speakers it has not heard.

Beside the maps stand the clusters inside each of these speakers, as the frozen encoder below every network hears them.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.linalg import orthogonal_procrustes
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from ser_core.data.batches import Utterances
from ser_core.data.enrolment import first_of_each, target_rows
from ser_core.data.manifest import BadCorpus
from ser_core.data.sampling import in_order
from ser_core.encoders.base import autocast, below_the_middle, mean_of_layer
from ser_core.evaluation.clusters import Clustering
from ser_core.evaluation.probe import Probed, ask, score
from ser_core.inference import cluster_view
from ser_core.inference.cluster_view import agreement_table, cluster_points
from ser_core.inference.predict import Trained
from ser_core.inference.recogniser import Recogniser
from ser_core.inference.test_set import trained_models
from ser_core.labels import NO_AGREEMENT
from ser_core.workspace import ASSETS

STAGES = ("before", "after")
PROBES = ("emotion", "speaker", "gender")
ALL_FOLDS = "all"

POINTS = ("utterance_id", "speaker", "gender", "emotion", "text_id", "method", "fold", "stage", "x", "y")
"""Columns of a map."""

NUMBERS = ("balanced_accuracy", "low", "high", "chance", "sd_over_folds")
COUNTS = ("n_utterances", "n_classes", "n_speakers")

MAX_SHOWN = 1_000
"""Utterances on a map; of more, as many are drawn at random."""

MAX_LEARNED = 3_000
"""Utterances of heard speakers that probes learn from."""

MAX_OF_ONE = 1_000
"""Utterances of one speaker that are put into clusters; of more, as many are drawn at random."""

MIN_SHOWN = 5
PERPLEXITY, N_NEIGHBOURS = 30, 10
_BATCH = 256

DEMO_POINTS, DEMO_PROBES, DEMO_CLUSTERS = (
    ASSETS / "demo" / f"ravdess_{what}" for what in ("embeddings.csv.gz", "probes.json", "clusters.csv.gz")
)


class NoEnrolmentUsed(ValueError):
    """A method that gives everybody the same answer has no before and after."""


class BadMaps(ValueError):
    """Files that are not the maps they were said to be."""


@dataclass(frozen=True)
class Maps:
    """Of one or several networks.

    Attributes:
        points: one row an utterance, network and stage (columns POINTS).
        probes: one row a probe, network and stage, and one for all folds together ('all'): method, fold, stage, probe,
            balanced_accuracy, low, high, chance, n_utterances, n_classes, n_speakers, sd_over_folds.
        kept: method, fold, stage and the share of an utterance's N_NEIGHBOURS nearest that are its nearest on the map too.
        corpus: what it is called.
        clusters: inside each speaker; one row an utterance (columns `cluster_view.POINTS`), none where no encoder was asked.
    """

    points: pd.DataFrame
    probes: pd.DataFrame
    kept: pd.DataFrame
    corpus: str
    clusters: pd.DataFrame

    @cached_property
    def agreement(self) -> pd.DataFrame:
        """What the clusters agree with, as `cluster_view.agreement_table` says it; counted once, it takes seconds."""
        return agreement_table(self.clusters)


@dataclass(frozen=True)
class View:
    """One network: its map, what its probes answered, how true the map is."""

    points: pd.DataFrame
    answers: pd.DataFrame
    kept: pd.DataFrame


def view(trained: Trained, choice: pd.DataFrame) -> View:
    """Before (nobody enrolled) and after (enrolled by `choice`), for the targets of the speakers it has not heard.

    Raises:
        NoEnrolmentUsed: the method uses none.
        BadCorpus: fewer than MIN_SHOWN targets.
    """
    if not trained.method.uses_enrolment:
        raise NoEnrolmentUsed(
            f"'{trained.name}' uses no enrolment, so it has no before and after; name a method that does"
        )
    shown = _at_most(trained.targets(choice), MAX_SHOWN)
    if len(shown) < MIN_SHOWN:
        raise BadCorpus(
            f"{len(shown)} utterances of unheard speakers are too few for a map; at least {MIN_SHOWN} are needed"
        )
    heard = _at_most(_heard(trained, choice), MAX_LEARNED)
    nobody = choice.iloc[:0]
    enrolled = {"before": nobody, "after": choice}
    of_shown, of_heard = (
        {stage: embeddings(trained, rows, enrolled[stage]) for stage in STAGES} for rows in (shown, heard)
    )
    table = trained.utterances.corpus.table
    points, answers, kept = [], [], []
    for stage, place in zip(STAGES, two_maps(*of_shown.values()), strict=True):
        named = {"method": trained.name, "fold": trained.fold, "stage": stage}
        rows = table.iloc[shown].reset_index()
        points.append(rows.assign(**named, x=place[:, 0], y=place[:, 1])[list(POINTS)])
        said = _answers(of_shown[stage], of_heard[stage], table.iloc[shown], table.iloc[heard])
        answers.append(said.assign(**named))
        kept.append({**named, "kept": neighbours_kept(of_shown[stage], place)})
    return View(_joined(points), _joined(answers), pd.DataFrame(kept))


def maps_of(views: Sequence[View], corpus: str, clusters: pd.DataFrame) -> Maps:
    """Several networks, with their probes also scored together, and the clusters inside the speakers."""
    answers = _joined([one.answers for one in views])
    points, kept = (_joined([getattr(one, name) for one in views]) for name in ("points", "kept"))
    return Maps(points, _probe_table(answers), kept, corpus, clusters)


def clusters_of(utterances: Utterances, speakers: Sequence[str]) -> pd.DataFrame:
    """The clusters inside each of these speakers as the frozen encoder hears them, from the mean of one of its layers.

    As many as the corpus has emotions; where it has fewer than two, the silhouette chooses. What listeners did not agree on
    has no emotion here.

    Args:
        utterances: with pooled layers; without them there is nothing to put together.
        speakers: whose utterances are, enrolled or not, labelled or not.

    Returns:
        columns `cluster_view.POINTS`.
    """
    rows = _some_of_each(utterances.corpus.table["speaker"], speakers)
    features = utterances.features
    if features is None or features.ndim != 3 or features.shape[2] % 2 or len(rows) == 0:
        return pd.DataFrame(columns=list(cluster_view.POINTS))
    table, n_emotions = utterances.corpus.table.iloc[rows], len(utterances.corpus.emotions)
    embedding = mean_of_layer(features[torch.from_numpy(rows)], below_the_middle(features.shape[1])).float().numpy()
    points = cluster_points(table, embedding, Clustering(n_clusters=n_emotions) if n_emotions > 1 else Clustering())
    return points.assign(emotion=points["emotion"].where(points["emotion"] != NO_AGREEMENT, None))


def maps_of_model(recogniser: Recogniser, utterances: Utterances) -> Maps:
    """Of all personalisers of a model that is there.

    Args:
        recogniser: the model.
        utterances: of speakers it has not heard, as `test_set.model_test_set` gives them.

    Raises:
        BadCorpus: too few utterances.
    """
    choice = first_of_each(utterances.corpus)
    networks = [trained for trained in trained_models(recogniser, utterances) if trained.method.uses_enrolment]
    speakers = sorted(utterances.corpus.table["speaker"].unique())
    views = [view(trained, choice) for trained in networks]
    return maps_of(views, utterances.corpus.name, clusters_of(utterances, speakers))


def embeddings(trained: Trained, rows: np.ndarray, choice: pd.DataFrame) -> np.ndarray:
    """What the last layer hears of each row, (len(rows), D), with the speakers enrolled by `choice`."""
    method, utterances = trained.method.eval(), trained.utterances
    device = next(method.parameters()).device
    parts = []
    with torch.inference_mode(), autocast(device):
        for targets, enrolled in in_order(utterances, rows, utterances.enrolment_rows(choice), _BATCH):
            parts.append(method(utterances.batch(targets, enrolled).to(device)).embedding.float().cpu().numpy())
    return np.concatenate(parts) if parts else np.empty((0, 0), dtype=np.float32)


def two_maps(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two t-SNE maps (N, 2) of (N, D) that start from one linear projection; the second turned onto the first."""
    with threadpool_limits(limits=1):  # quicker for so few, and repeatable
        projection = PCA(2, random_state=0).fit(np.concatenate([before, after]))
        first, second = (_map(side, projection.transform(side)) for side in (before, after))
    turn, _ = orthogonal_procrustes(second, first)
    return first, second @ turn


def neighbours_kept(embedded: np.ndarray, place: np.ndarray) -> float:
    """Share of the nearest of each utterance that are nearest on the map too: 1 where the map is true to who is near whom.

    Args:
        embedded: (N, D).
        place: (N, 2).
    """
    n = min(N_NEIGHBOURS, len(place) - 1)
    near, near_on_map = (
        NearestNeighbors(n_neighbors=n).fit(side).kneighbors(return_distance=False) for side in (embedded, place)
    )
    return float(np.mean([np.isin(one, other).mean() for one, other in zip(near, near_on_map, strict=True)]))


def _map(embedded: np.ndarray, start: np.ndarray) -> np.ndarray:
    perplexity = min(PERPLEXITY, (len(embedded) - 1) / 3)
    start = 1e-4 * start / max(start[:, 0].std(), 1e-12)  # as scikit-learn scales its own start
    place = TSNE(perplexity=perplexity, init=start.astype(np.float32), random_state=0).fit_transform(embedded)
    return place - place.mean(axis=0)


def _answers(
    shown: np.ndarray, heard: np.ndarray, unheard_table: pd.DataFrame, heard_table: pd.DataFrame
) -> pd.DataFrame:
    """What probes answer about the utterances shown.

    Emotion and gender are learned from all other speakers, also from those the network was trained on (four speakers
    alone teach no gender), and asked about speakers that neither network nor probe has heard. Speakers are told apart
    among those shown, by utterances the probe has not learned from.
    """
    table = pd.concat([unheard_table, heard_table])
    x = np.concatenate([shown, heard]) if len(heard) else shown
    scored = np.arange(len(table)) < len(shown)
    gender = table["gender"].where(table["gender"] != "unknown", None)
    said = {
        "emotion": ask(x, table["emotion"], table["speaker"], scored),
        "speaker": ask(shown, unheard_table["speaker"]),
        "gender": ask(x, gender, table["speaker"], scored),
    }
    said["speaker"]["group"] = said["speaker"]["label"]  # intervals resample speakers
    return _joined([answers.assign(probe=name) for name, answers in said.items()])


def _probe_table(answers: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (method, stage), of_stage in answers.groupby(["method", "stage"], sort=False):
        for name in PROBES:
            of_probe = of_stage[of_stage["probe"] == name]
            named = {"method": method, "stage": stage, "probe": name}
            each = {int(fold): score(part) for fold, part in of_probe.groupby("fold")}
            spread = (
                float(np.std([one.balanced_accuracy for one in each.values()], ddof=1)) if len(each) > 1 else np.nan
            )
            rows += [{**named, "fold": str(fold), **_numbers(one)} for fold, one in each.items()]
            rows.append({**named, "fold": ALL_FOLDS, **_numbers(score(of_probe)), "sd_over_folds": spread})
    return pd.DataFrame(rows, columns=["method", "stage", "probe", "fold", *NUMBERS, *COUNTS])


def _numbers(probed: Probed) -> dict:
    low, high = probed.interval
    return {
        "balanced_accuracy": probed.balanced_accuracy, "low": low, "high": high, "chance": probed.chance,
        "n_utterances": probed.n_utterances, "n_classes": probed.n_classes, "n_speakers": probed.n_groups,
        "sd_over_folds": float("nan"),
    }  # fmt: skip


def _heard(trained: Trained, choice: pd.DataFrame) -> np.ndarray:
    """Rows of all other speakers that are of a class and not enrolled."""
    corpus = trained.utterances.corpus
    return np.flatnonzero(target_rows(corpus, choice) & ~corpus.table["speaker"].isin(trained.speakers).to_numpy())


def _at_most(rows: np.ndarray, n: int) -> np.ndarray:
    return rows if len(rows) <= n else np.sort(np.random.default_rng(0).choice(rows, n, replace=False))


def _some_of_each(speaker: pd.Series, speakers: Sequence[str]) -> np.ndarray:
    """Rows of these speakers, at most MAX_OF_ONE of each."""
    rows = [_at_most(np.flatnonzero((speaker == one).to_numpy()), MAX_OF_ONE) for one in speakers]
    return np.sort(np.concatenate([np.empty(0, dtype=np.int64), *rows]))


def _joined(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    tables = list(tables)
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def to_json(maps: Maps) -> dict:
    """All but the points and the clusters, as probes.json holds it."""
    return {
        "corpus": maps.corpus,
        "probes": maps.probes.to_dict("records"),
        "neighbours_kept": maps.kept.to_dict("records"),
    }


def read_maps(points: Path, probes: Path, clusters: Path) -> Maps:
    """Read what the command `embedding` wrote: two tables (.csv or .csv.gz) and probes.json.

    Raises:
        BadMaps: absent, or something else.
    """
    try:
        table = _read_points(points, POINTS)
        content: Mapping = json.loads(probes.read_text(encoding="utf-8"))
        numbers = pd.DataFrame(content["probes"]).astype(dict.fromkeys(NUMBERS, float))
        kept, inside = pd.DataFrame(content["neighbours_kept"]), _read_points(clusters, cluster_view.POINTS)
        inside = inside.assign(**{name: inside[name].where(inside[name] != "") for name in cluster_view.LABELS})
        return Maps(table, numbers, kept, content["corpus"], inside)
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = error.strerror if isinstance(error, OSError) else error  # an OSError names folders
        raise BadMaps(
            f"'{points.name}', '{probes.name}' and '{clusters.name}' are not maps ({why}); make them with "
            f"`python -m ser_core embedding`"
        ) from None


def _read_points(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """What is not known comes as ''."""
    numbers = {"fold", "cluster", "x", "y"}
    words = {name: str for name in columns if name not in numbers}
    return pd.read_csv(path, dtype=words, keep_default_na=False)[list(columns)]


@cache
def demo_maps() -> Maps:
    """The maps that ship: RAVDESS, cross-validated.

    Raises:
        BadMaps: they are not there.
    """
    return read_maps(DEMO_POINTS, DEMO_PROBES, DEMO_CLUSTERS)
