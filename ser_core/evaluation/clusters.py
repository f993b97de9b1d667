"""Clusters inside one speaker: how they are found, and what they agree with (the emotion, the sentence, the intensity).

Source: arXiv 2401.11017, sections 2 and 3: a speaker's embeddings fall into clusters, and these are emotions. The clustering is
our reading: embeddings standardised over everybody and brought to length one; k-means, or HDBSCAN (Campello et al. 2013, PAKDD),
of each speaker alone, for which it makes no difference whether the speaker's mean is taken off; utterances that lie nearer to
another cluster are left out.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from ser_core.recipe import check_choice, check_range

ALGORITHMS = ("kmeans", "hdbscan")

BY_SILHOUETTE = -1
"""As a number of clusters: each speaker's own, from 2 to MOST, by the mean silhouette (Rousseeuw 1987)."""

MOST = 8
NONE = -1
"""The cluster of an utterance that is in none."""

_N_STARTS = 10
_N_SHUFFLED = 100
_LEAST = 1e-6


@dataclass(frozen=True)
class Clustering:
    """How a speaker's utterances are put into clusters.

    Attributes:
        algorithm: 'kmeans', or 'hdbscan', which finds the number of clusters by itself.
        n_clusters: of each speaker at most, for k-means; BY_SILHOUETTE chooses it.
        drop_uncertain: utterances whose silhouette is negative are in no cluster.
        seed: of where k-means starts.
    """

    algorithm: str = "kmeans"
    n_clusters: int = BY_SILHOUETTE
    drop_uncertain: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("algorithm", self.algorithm, ALGORITHMS)
        check_range(self, n_clusters=(BY_SILHOUETTE, None))


def clusters_of_speakers(
    embedding: np.ndarray, speaker: np.ndarray, how: Clustering, between: Callable[[], None] = lambda: None
) -> np.ndarray:
    """The cluster of each utterance among its speaker's, (N,) int from 0; NONE for those in none.

    A speaker with fewer than four utterances has no clusters, one with few has at most half as many clusters as utterances, so
    that two can be alike.

    Args:
        embedding: (N, E).
        speaker: who speaks, (N,).
        how: they are put together.
        between: called before each speaker; may raise to stop.
    """
    found = np.full(len(embedding), NONE, dtype=np.int64)
    comparable = of_length_one(embedding)
    with threadpool_limits(limits=1):  # repeatable, and quicker for so few
        for one in np.unique(speaker):
            between()
            rows = np.flatnonzero(speaker == one)
            found[rows] = _of_one(comparable[rows], how)
    return found


def of_length_one(embedding: np.ndarray) -> np.ndarray:
    """Each value standardised over all utterances, and each utterance brought to length one, (N, E)."""
    standard = (embedding - embedding.mean(axis=0)) / np.maximum(embedding.std(axis=0), _LEAST)
    return standard / np.maximum(np.linalg.norm(standard, axis=1, keepdims=True), _LEAST)


def _of_one(own: np.ndarray, how: Clustering) -> np.ndarray:
    from sklearn.cluster import HDBSCAN  # slow to import, here and below: whoever only answers needs none of it
    from sklearn.metrics import silhouette_score

    nobody = np.full(len(own), NONE, dtype=np.int64)
    most = min(len(own) // 2, len(np.unique(own, axis=0)) - 1)
    if most < 2:
        return nobody
    if how.algorithm == "hdbscan":
        found = HDBSCAN(min_cluster_size=2, copy=True).fit_predict(own)
    elif how.n_clusters == BY_SILHOUETTE:
        found = max(
            (_kmeans(own, k, how.seed) for k in range(2, min(MOST, most) + 1)),
            key=lambda one: silhouette_score(own, one),
        )
    else:
        found = _kmeans(own, min(how.n_clusters, most), how.seed)
    return _without_uncertain(own, found) if how.drop_uncertain else found.astype(np.int64)


def _kmeans(own: np.ndarray, k: int, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    return KMeans(k, n_init=_N_STARTS, random_state=seed).fit_predict(own)


def _without_uncertain(own: np.ndarray, found: np.ndarray) -> np.ndarray:
    from sklearn.metrics import silhouette_samples

    kept = found >= 0
    if not 2 <= len(np.unique(found[kept])) < kept.sum():
        return found.astype(np.int64)
    sure = np.zeros(len(own), dtype=bool)
    sure[kept] = silhouette_samples(own[kept], found[kept]) >= 0
    return np.where(sure, found, NONE).astype(np.int64)


def shuffled_within(cluster: np.ndarray, speaker: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same clusters, as large as they are, dealt out at random to each speaker's utterances that are in one, (N,)."""
    dealt = cluster.copy()
    for one in np.unique(speaker):
        rows = np.flatnonzero((speaker == one) & (cluster >= 0))
        dealt[rows] = cluster[rng.permutation(rows)]
    return dealt


@dataclass(frozen=True)
class Agreement:
    """What clusters have to do with a label.

    Attributes:
        purity: share of utterances with the commonest label of their cluster (Manning et al. 2008, Introduction to Information
            Retrieval, section 16.3); 1 where each cluster has one label.
        purity_of_chance: of the same clusters dealt out at random, on average; many small clusters are pure by chance.
        adjusted_rand: 1 where both agree, 0 at chance (Hubert and Arabie 1985).
        n: utterances that are in a cluster and have a label.
    """

    purity: float
    purity_of_chance: float
    adjusted_rand: float
    n: int


def agreement(cluster: np.ndarray, label: np.ndarray) -> Agreement:
    """Of one speaker's clusters with labels; nan where fewer than two labels or clusters are known.

    Args:
        cluster: (N,) int; NONE does not count.
        label: (N,) text; None does not count.
    """
    from sklearn.metrics import adjusted_rand_score

    known = (cluster >= 0) & np.array([isinstance(one, str) for one in label], dtype=bool)
    of, named = cluster[known], label[known].astype(str)
    if len(np.unique(of)) < 2 or len(np.unique(named)) < 2:
        return Agreement(float("nan"), float("nan"), float("nan"), int(known.sum()))
    rng = np.random.default_rng(0)
    chance = np.mean([purity(rng.permutation(of), named) for _ in range(_N_SHUFFLED)])
    return Agreement(purity(of, named), float(chance), float(adjusted_rand_score(named, of)), int(known.sum()))


def purity(cluster: np.ndarray, label: np.ndarray) -> float:
    """Share of utterances with the commonest label of their cluster.

    >>> purity(np.array([0, 0, 0, 1]), np.array(["a", "a", "b", "b"]))
    0.75
    """
    from sklearn.metrics.cluster import contingency_matrix

    return float(contingency_matrix(label, cluster).max(axis=0).sum() / len(cluster))
