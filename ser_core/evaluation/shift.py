"""How far a speaker is from the others, in how they sound and in which emotions they speak; and who resembles whom.

Source: arXiv 2309.02418, section 3.3: the Kullback-Leibler divergence between a speaker's distribution of features, or of
labels, and that of the whole training set, and their correlation with how well the speaker is served. Ours: features are
reduced to principal components of the training set and taken as normal with independent components, so that a handful of
utterances is enough; attributes are taken as normal, classes as counts with one pseudo-count a class.
"""

from collections.abc import Collection, Mapping

import numpy as np

N_COMPONENTS = 10
"""Principal components in which features are compared, at most."""

_LEAST = 1e-6


def speaker_means(x: np.ndarray, speaker: np.ndarray, wanted: Collection) -> np.ndarray:
    """Mean of each speaker's vectors: (N, W) and (N,) to (S, W), in the order of `wanted`."""
    return np.stack([x[speaker == one].mean(axis=0) for one in wanted])


def similarity(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Cosine between rows, (S, W) and (S', W) to (S, S'), −1 to 1; 0 for a vector that is zero."""
    lengths = np.linalg.norm(vectors, axis=1)[:, None] * np.linalg.norm(others, axis=1)[None]
    return np.divide(vectors @ others.T, lengths, out=np.zeros(lengths.shape), where=lengths > 0)


def nearest(vectors: np.ndarray, others: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The n most similar of the others for each vector, (S, W) and (S', W): their places (S, n), most similar first, and
    weights (S, n) that sum to one, by similarity; alike where nobody is similar at all."""
    cosine = similarity(vectors, others)
    places = np.argsort(-cosine, axis=1, kind="stable")[:, :n]
    weights = np.take_along_axis(cosine, places, axis=1).clip(min=0.0)
    weights = np.where(weights.sum(axis=1, keepdims=True) > 0, weights, 1.0)
    return places, weights / weights.sum(axis=1, keepdims=True)


def nearest_speakers(
    x: np.ndarray, speaker: np.ndarray, known: np.ndarray, asked: np.ndarray, n: int
) -> Mapping[int, tuple[np.ndarray, np.ndarray]]:
    """Who of the known speakers resembles each of those asked for.

    Args:
        x: a vector an utterance, (N, W); standardised here by the known speakers'.
        speaker: who speaks, (N,).
        known, asked: speakers.
        n: how many are named.

    Returns:
        for each speaker asked for the n nearest, most similar first, and their weights, which sum to one.
    """
    of_known = x[np.isin(speaker, known)]
    x = (x - of_known.mean(axis=0)) / np.maximum(of_known.std(axis=0), _LEAST)
    places, weights = nearest(speaker_means(x, speaker, asked), speaker_means(x, speaker, known), n)
    return {int(one): (known[place], weight) for one, place, weight in zip(asked, places, weights, strict=True)}


def normal_divergence(x: np.ndarray, reference: np.ndarray) -> float:
    """KL(speaker ‖ reference) in nats of normal distributions with independent components, (n, W) and (N, W): 0 where alike.

    nan for fewer than two rows, which have no variance.

    >>> normal_divergence(np.array([[0.0], [2.0]]), np.array([[0.0], [2.0]]))
    0.0
    """
    if len(x) < 2 or len(reference) < 2:
        return float("nan")
    mean, variance = x.mean(axis=0), x.var(axis=0) + _LEAST
    mean_r, variance_r = reference.mean(axis=0), reference.var(axis=0) + _LEAST
    ratio = variance / variance_r
    return float(0.5 * (ratio - 1 - np.log(ratio) + (mean - mean_r) ** 2 / variance_r).sum())


def class_divergence(counts: np.ndarray, reference: np.ndarray) -> float:
    """KL(speaker ‖ reference) in nats of class frequencies, (C,) and (C,), with one pseudo-count a class: 0 where alike.

    >>> class_divergence(np.array([3, 3]), np.array([9, 9]))
    0.0
    """
    from scipy.special import rel_entr

    p, q = ((one + 1.0) / (one.sum() + len(one)) for one in (np.asarray(counts), np.asarray(reference)))
    return float(rel_entr(p, q).sum())


def feature_shift(x: np.ndarray, reference: np.ndarray, n_components: int = N_COMPONENTS) -> float:
    """KL of a speaker's vectors (n, W) against a training set's (N, W), in principal components of the latter."""
    from sklearn.decomposition import PCA  # slow to import, and an answer needs the rest of this file only

    components = PCA(min(n_components, *reference.shape), svd_solver="full").fit(reference)
    return normal_divergence(components.transform(x), components.transform(reference))
