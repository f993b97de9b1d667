"""Clusters inside one speaker: hand-made blobs whose clusters are known; purity and silhouettes by hand and by scikit-learn."""

from collections import Counter

import numpy as np
import pytest
from sklearn.cluster import HDBSCAN
from sklearn.metrics import adjusted_rand_score, silhouette_samples

from ser_core.evaluation.clusters import (
    BY_SILHOUETTE,
    NONE,
    Clustering,
    agreement,
    clusters_of_speakers,
    of_length_one,
    purity,
    shuffled_within,
)
from ser_core.recipe import BadRecipe

ALL_KEPT = Clustering(n_clusters=3, drop_uncertain=False)


def blobs(n_speakers: int = 3, n_blobs: int = 3, n_each: int = 12, spread: float = 0.3, seed: int = 0):
    """Embeddings (N, E), who speaks, and of which blob each is; every speaker is somewhere else, with blobs that lie alike."""
    rng = np.random.default_rng(seed)
    middles, voices = rng.normal(size=(n_blobs, 16)), 3 * rng.normal(size=(n_speakers, 16))
    speaker = np.repeat(np.arange(n_speakers), n_blobs * n_each)
    blob = np.tile(np.repeat(np.arange(n_blobs), n_each), n_speakers)
    embedding = voices[speaker] + middles[blob] + spread * rng.normal(size=(len(speaker), 16))
    return embedding, speaker, blob


def found_of(embedding: np.ndarray, how: Clustering = ALL_KEPT) -> np.ndarray:
    """Of a single speaker."""
    return clusters_of_speakers(embedding, np.zeros(len(embedding), dtype=int), how)


# how they are found


@pytest.mark.parametrize("how", [ALL_KEPT, Clustering(), Clustering("hdbscan", drop_uncertain=False)], ids=str)
def test_the_blobs_of_each_speaker_are_found(how):
    embedding, speaker, blob = blobs()
    found = clusters_of_speakers(embedding, speaker, how)
    for one in range(3):
        kept = (speaker == one) & (found != NONE)
        assert adjusted_rand_score(blob[kept], found[kept]) == 1.0
        assert kept.sum() > 0.8 * (speaker == one).sum() and sorted(set(found[kept])) == [0, 1, 2]


def test_every_speaker_is_put_into_clusters_alone():
    """Two speakers far apart would be the two clusters of everybody together."""
    embedding, speaker, blob = blobs(n_speakers=2, n_blobs=2)
    found = clusters_of_speakers(embedding, speaker, Clustering(n_clusters=2))
    assert [adjusted_rand_score(blob[speaker == one], found[speaker == one]) for one in (0, 1)] == [1.0, 1.0]


def test_nobodys_clusters_depend_on_what_others_say_where_these_keep_mean_and_spread():
    """Embeddings are standardised over everybody; all else is the speaker's own, so another order of others changes nothing."""
    embedding, speaker, _ = blobs(spread=1.5)
    mirrored = embedding.copy()
    mirrored[speaker == 2] = embedding[speaker == 2][::-1]
    before, after = (clusters_of_speakers(one, speaker, ALL_KEPT) for one in (embedding, mirrored))
    for one in (0, 1):
        np.testing.assert_array_equal(before[speaker == one], after[speaker == one])


def test_the_same_seed_finds_the_same_clusters():
    embedding, speaker, _ = blobs(spread=1.5)
    first, again, other = (
        clusters_of_speakers(embedding, speaker, Clustering(n_clusters=5, seed=seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_in_another_order_everybody_is_in_the_same_cluster():
    embedding, speaker, _ = blobs()
    before = clusters_of_speakers(embedding, speaker, ALL_KEPT)
    order = np.random.default_rng(1).permutation(len(speaker))
    after = clusters_of_speakers(embedding[order], speaker[order], ALL_KEPT)
    for one in range(3):
        mine = speaker[order] == one
        assert adjusted_rand_score(before[order][mine], after[mine]) == 1.0


def test_speakers_may_have_names_and_stand_mixed_up():
    embedding, speaker, _ = blobs()
    order = np.random.default_rng(2).permutation(len(speaker))
    numbers = clusters_of_speakers(embedding[order], speaker[order], ALL_KEPT)
    names = clusters_of_speakers(embedding[order], np.array(["ann", "bob", "cem"])[speaker[order]], ALL_KEPT)
    np.testing.assert_array_equal(numbers, names)


@pytest.mark.parametrize("n_blobs", [2, 3, 5])
def test_the_silhouette_chooses_as_many_clusters_as_there_are_blobs(n_blobs):
    embedding, speaker, _ = blobs(n_blobs=n_blobs, spread=0.1)
    found = clusters_of_speakers(embedding, speaker, Clustering(n_clusters=BY_SILHOUETTE))
    assert [len(set(found[speaker == one])) for one in range(3)] == [n_blobs] * 3


@pytest.mark.parametrize(("n", "seed"), [(80, 0), (40, 1)])
def test_what_is_noise_to_hdbscan_is_in_no_cluster_and_does_not_count_for_the_silhouettes(n, seed):
    """Points without order, and noise between their clusters; truth is scikit-learn's own.

    Of the forty one would be dropped if noise were one more cluster, and none is.
    """
    embedding = np.random.default_rng(seed).normal(size=(n, 3))
    own = of_length_one(embedding) - of_length_one(embedding).mean(axis=0)
    told = HDBSCAN(min_cluster_size=2, copy=True).fit_predict(own)
    all_kept, sure = (found_of(embedding, Clustering("hdbscan", drop_uncertain=drop)) for drop in (False, True))
    there = told >= 0
    np.testing.assert_array_equal(all_kept == NONE, ~there)
    assert adjusted_rand_score(told, all_kept) == 1.0 and (~there).any()
    width = silhouette_samples(own[there], told[there])
    np.testing.assert_array_equal(sure[there] == NONE, width < 0)
    assert (sure[~there] == NONE).all()


def test_those_that_lie_nearer_to_another_cluster_are_dropped_and_only_those():
    """Silhouettes by scikit-learn, of what is clustered: standardised, of length one, less the speaker's mean."""
    embedding, speaker, _ = blobs(n_speakers=2, spread=1.2)
    kept, dropped = (
        clusters_of_speakers(embedding, speaker, Clustering(n_clusters=4, drop_uncertain=drop))
        for drop in (False, True)
    )
    own = of_length_one(embedding)
    n_dropped = 0
    for one in (0, 1):
        rows = speaker == one
        width = silhouette_samples(own[rows] - own[rows].mean(axis=0), kept[rows])
        np.testing.assert_array_equal(dropped[rows], np.where(width < 0, NONE, kept[rows]))
        n_dropped += (width < 0).sum()
    assert n_dropped > 3


def test_embeddings_are_standardised_and_of_length_one_and_a_constant_value_does_no_harm():
    rng = np.random.default_rng(0)
    embedding = np.column_stack([rng.normal(5, 2, 50), rng.normal(-1, 0.1, 50), np.full(50, 7.0)])
    found = of_length_one(embedding)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0)
    by_hand = (embedding[:, :2] - embedding[:, :2].mean(axis=0)) / embedding[:, :2].std(axis=0)
    np.testing.assert_allclose(found[:, :2], by_hand / np.linalg.norm(by_hand, axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(found[:, 2], 0.0, atol=1e-6)


# few utterances


@pytest.mark.parametrize("algorithm", ["kmeans", "hdbscan"])
@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_a_speaker_with_fewer_than_four_utterances_has_no_clusters(n, algorithm):
    many, _, _ = blobs(n_speakers=1)
    embedding = np.concatenate([many, np.random.default_rng(0).normal(size=(n, 16))])
    speaker = np.repeat(["many", "few"], [len(many), n])
    found = clusters_of_speakers(embedding, speaker, Clustering(algorithm, 3, drop_uncertain=False))
    assert (found[len(many) :] == NONE).all() and (found[: len(many)] != NONE).any()


@pytest.mark.parametrize(("n", "n_clusters"), [(4, 2), (5, 2), (6, 3), (7, 3), (14, 7), (40, 7)])
def test_a_speaker_with_few_utterances_has_at_most_half_as_many_clusters(n, n_clusters):
    embedding = np.random.default_rng(n).normal(size=(n, 8))
    found = found_of(embedding, Clustering(n_clusters=7, drop_uncertain=False))
    assert sorted(set(found)) == list(range(n_clusters))


def test_identical_embeddings_are_no_clusters():
    assert (found_of(np.ones((12, 4))) == NONE).all()
    of_two = np.repeat([[0.0, 1.0], [1.0, 0.0]], 6, axis=0)  # nothing lies between two points
    assert (found_of(of_two) == NONE).all()


def test_with_copies_there_are_fewer_clusters_than_different_embeddings():
    copies = np.repeat(np.random.default_rng(0).normal(size=(4, 6)), 5, axis=0)
    found = found_of(copies, Clustering(n_clusters=8, drop_uncertain=False))
    assert len(set(found)) == 3
    assert all(len(set(found[place : place + 5])) == 1 for place in range(0, 20, 5))


def test_between_two_speakers_it_can_be_stopped():
    class Enough(Exception):
        pass

    asked = []

    def between() -> None:
        asked.append(None)
        if len(asked) == 2:
            raise Enough

    embedding, speaker, _ = blobs()
    with pytest.raises(Enough):
        clusters_of_speakers(embedding, speaker, ALL_KEPT, between)


@pytest.mark.parametrize("wrong", [{"algorithm": "spectral"}, {"n_clusters": -2}])
def test_ways_that_do_not_exist_are_refused(wrong):
    with pytest.raises(BadRecipe, match=next(iter(wrong))):
        Clustering(**wrong)


# random ones of the same sizes


def test_dealt_out_at_random_every_speaker_keeps_the_sizes_and_who_is_in_none():
    rng = np.random.default_rng(0)
    speaker = rng.integers(0, 4, 200)
    cluster = rng.integers(-1, 5, 200)
    dealt = shuffled_within(cluster, speaker, np.random.default_rng(1))
    assert (dealt != cluster).mean() > 0.4
    np.testing.assert_array_equal(dealt == NONE, cluster == NONE)
    for one in range(4):
        assert Counter(dealt[speaker == one].tolist()) == Counter(cluster[speaker == one].tolist())


def test_dealing_out_changes_nothing_in_what_it_was_given_and_is_repeatable():
    speaker, cluster = np.zeros(20, dtype=int), np.arange(20) % 4
    before = cluster.copy()
    first, again = (shuffled_within(cluster, speaker, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(cluster, before)
    np.testing.assert_array_equal(first, again)


def test_random_clusters_agree_with_nothing():
    speaker, cluster = np.zeros(400, dtype=int), np.arange(400) % 4
    dealt = shuffled_within(cluster, speaker, np.random.default_rng(0))
    assert abs(adjusted_rand_score(cluster, dealt)) < 0.02


# what they agree with


def words(text: str) -> np.ndarray:
    return np.array(list(text), dtype=object)


def test_purity_is_that_of_the_textbooks_example():
    """Manning et al. 2008, figure 16.4: three clusters of 17, with 5 of x, 4 of o and 3 of d as their commonest."""
    cluster = np.repeat([0, 1, 2], [6, 6, 5])
    label = words("xxxxxo" + "xooood" + "xxddd")
    assert purity(cluster, label.astype(str)) == pytest.approx((5 + 4 + 3) / 17)
    assert agreement(cluster, label).purity == pytest.approx(12 / 17)


def test_the_adjusted_rand_index_is_the_formula_of_hubert_and_arabie():
    """Pairs together in both, in either, and of all, counted one by one."""
    cluster, label = np.array([0, 0, 0, 1, 1, 2, 2, 2]), words("aabbbcca")
    pairs = [(i, j) for i in range(8) for j in range(i)]
    together = [(cluster[i] == cluster[j], label[i] == label[j]) for i, j in pairs]
    both, one, other = (sum(kind(*pair) for pair in together) for kind in (
        lambda a, b: a and b, lambda a, b: a, lambda a, b: b,
    ))  # fmt: skip
    chance = one * other / len(pairs)
    found = agreement(cluster, label)
    assert found.adjusted_rand == pytest.approx((both - chance) / ((one + other) / 2 - chance)) and found.n == 8


def test_clusters_that_are_the_labels_agree_wholly_whatever_their_numbers():
    found = agreement(np.array([5, 5, 2, 2, 9, 9]), words("aabbcc"))
    assert (found.purity, found.adjusted_rand) == (1.0, 1.0) and found.purity_of_chance < 0.8


def test_those_in_no_cluster_or_without_a_label_do_not_count():
    cluster, label = np.array([0, 0, 1, 1, NONE, 0]), words("aabbb?")
    label[-1] = None
    found = agreement(cluster, label)
    assert (found.purity, found.adjusted_rand, found.n) == (1.0, 1.0, 4)
    label[-1] = float("nan")
    assert agreement(cluster, label) == found


@pytest.mark.parametrize(
    ("cluster", "label", "n"),
    [([0, 0, 1, 1], "aaaa", 4), ([0, 0, 0, 0], "aabb", 4), ([NONE] * 4, "aabb", 0), ([0, NONE, NONE, 1], "abba", 2)],
)
def test_with_one_label_or_one_cluster_nothing_can_be_said(cluster, label, n):
    found = agreement(np.array(cluster), words(label))
    assert np.isnan([found.purity, found.purity_of_chance, found.adjusted_rand]).all() and found.n == n


def test_the_purity_of_chance_is_what_dealing_out_anew_gives_and_grows_with_small_clusters():
    label = words("ab" * 30)
    chances = []
    for n_clusters in (2, 6, 20):
        cluster = np.arange(60) % n_clusters
        rng = np.random.default_rng(11)
        dealt = [purity(cluster, rng.permutation(label).astype(str)) for _ in range(2_000)]
        found = agreement(cluster, label).purity_of_chance
        assert found == pytest.approx(np.mean(dealt), abs=4 * np.std(dealt) / 10)
        chances.append(found)
    assert 0.5 < chances[0] < chances[1] < chances[2] < 1
