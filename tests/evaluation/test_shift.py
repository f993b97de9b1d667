"""Divergences against torch.distributions and scipy, similarity against scikit-learn, neighbours by hand."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity
from torch.distributions import Normal, kl_divergence

from ser_core.evaluation.shift import (
    class_divergence,
    feature_shift,
    nearest,
    nearest_speakers,
    normal_divergence,
    similarity,
    speaker_means,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _kl(x: np.ndarray, reference: np.ndarray) -> float:
    """torch's, summed over independent components, with moments over N."""
    one, other = (Normal(torch.tensor(part.mean(axis=0)), torch.tensor(part.std(axis=0))) for part in (x, reference))
    return float(kl_divergence(one, other).sum())


def test_the_divergence_of_normal_distributions_is_torchs(rng):
    x, reference = rng.normal(1.0, 2.0, (30, 4)), rng.normal(0.0, 1.0, (200, 4))
    assert normal_divergence(x, reference) == pytest.approx(_kl(x, reference), rel=1e-4)
    assert normal_divergence(reference, x) == pytest.approx(_kl(reference, x), rel=1e-4)


def test_it_is_zero_where_alike_and_unknown_without_a_variance(rng):
    x = rng.normal(size=(20, 3))
    assert normal_divergence(x, x) == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(normal_divergence(x[:1], x)) and np.isnan(normal_divergence(x, x[:1]))


def test_a_component_that_does_not_vary_leaves_a_number(rng):
    x, reference = np.zeros((5, 1)), rng.normal(size=(50, 1))
    assert np.isfinite(normal_divergence(x, reference)) and np.isfinite(normal_divergence(reference, x))


def test_the_divergence_of_classes_is_scipys_with_one_more_of_each():
    counts, reference = np.array([5, 0, 3]), np.array([40, 20, 60])
    assert class_divergence(counts, reference) == pytest.approx(entropy(counts + 1, reference + 1))
    assert class_divergence(reference, reference) == 0.0
    assert class_divergence(np.zeros(3), reference) == pytest.approx(entropy([1, 1, 1], reference + 1))


def test_features_are_compared_in_principal_components_of_the_training_set(rng):
    reference = rng.normal(size=(80, 6)) @ rng.normal(size=(6, 6))
    x = rng.normal(0.5, 1.0, (25, 6))
    components = PCA(3, svd_solver="full").fit(reference)
    expected = _kl(components.transform(x), components.transform(reference))
    assert feature_shift(x, reference, 3) == pytest.approx(expected, rel=1e-4)


def test_a_turn_of_the_space_changes_no_feature_shift(rng):
    reference, x = rng.normal(size=(80, 6)) * [6, 5, 4, 3, 2, 1], rng.normal(0.5, 1.0, (25, 6))
    turn, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    assert feature_shift(x @ turn, reference @ turn) == pytest.approx(feature_shift(x, reference))


def test_more_components_than_there_are_is_all_of_them(rng):
    reference, x = rng.normal(size=(4, 6)), rng.normal(size=(3, 6))
    assert np.isfinite(feature_shift(x, reference, 10))


def test_who_sounds_otherwise_is_further_away(rng):
    reference, alike = rng.normal(size=(400, 5)), rng.normal(size=(60, 5))
    far = [feature_shift(alike + step, reference) for step in (0.0, 1.0, 2.0)]
    assert far[0] < 0.2 < far[1] < far[2]


def test_similarity_is_the_cosine_and_zero_for_a_zero_vector(rng):
    one, other = rng.normal(size=(3, 5)), rng.normal(size=(4, 5))
    np.testing.assert_allclose(similarity(one, other), cosine_similarity(one, other), atol=1e-12)
    assert (similarity(np.zeros((1, 5)), other) == 0).all()


def test_the_nearest_come_first_and_count_by_similarity():
    places, weights = nearest(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 0.0], [-1.0, 0.0]]), 3)
    assert places.tolist() == [[2, 1, 0]]
    cosine = np.array([1.0, np.sqrt(0.5), 0.0])
    np.testing.assert_allclose(weights, [cosine / cosine.sum()])


def test_where_nobody_is_similar_all_count_alike():
    _, weights = nearest(np.array([[1.0, 0.0]]), np.array([[-1.0, 0.0], [0.0, 1.0]]), 2)
    np.testing.assert_allclose(weights, [[0.5, 0.5]])


def test_means_of_speakers_come_in_the_order_asked_for():
    x, speaker = np.array([[1.0], [3.0], [10.0]]), np.array([7, 7, 2])
    np.testing.assert_allclose(speaker_means(x, speaker, [2, 7]), [[10.0], [2.0]])


def test_neighbours_are_found_among_the_known_by_name(rng):
    centres = np.array([[5.0, 0.0], [-5.0, 0.0], [0.0, 5.0], [4.0, 0.5]])
    speaker = np.repeat([10, 11, 12, 13], 20)
    x = centres[speaker - 10] + rng.normal(0, 0.1, (80, 2))
    found = nearest_speakers(x, speaker, np.array([10, 11, 12]), np.array([13]), 2)
    names, weights = found[13]
    assert set(found) == {13} and names[0] == 10 and 13 not in names
    assert weights.sum() == pytest.approx(1.0)
