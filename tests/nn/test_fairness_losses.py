"""Reversal, pairs, parity, weights and erasure: truth from autograd of the other sign, hand numbers, scikit-learn and numpy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from torch import nn
from torch.nn.functional import cross_entropy

from ser_core.nn.erasure import erasure
from ser_core.nn.gradient_reversal import ramp, reverse
from ser_core.nn.losses import independence_weights, pair_loss, parity_loss

# reversal


@given(st.integers(0, 1000), st.floats(0, 3))
def test_the_gradient_before_the_reversal_is_minus_strength_times_what_it_would_be(seed, strength):
    torch.manual_seed(seed)
    x, weight = torch.randn(5, 3, dtype=torch.float64, requires_grad=True), torch.randn(3, dtype=torch.float64)
    (plain,) = torch.autograd.grad(((x @ weight) ** 2).sum(), x)
    (reversed_,) = torch.autograd.grad(((reverse(x, strength) @ weight) ** 2).sum(), x)
    assert torch.equal(reverse(x, strength), x)
    torch.testing.assert_close(reversed_, -strength * plain)


def test_an_added_adversary_behind_it_moves_the_trunk_as_a_subtracted_loss_and_itself_as_an_added_one():
    """L = L_EC − 0.5·L_GC for the trunk, and + 0.5·L_GC for the adversary: autograd of both signs, without the layer."""
    torch.manual_seed(0)
    trunk, head, adversary = nn.Linear(4, 3), nn.Linear(3, 2), nn.Linear(3, 2)
    x, emotion, gender = torch.randn(9, 4), torch.randint(2, (9,)), torch.randint(2, (9,))
    z = trunk(x)
    emotion_loss, told = cross_entropy(head(z), emotion), cross_entropy(adversary(reverse(z)), gender)
    ours = torch.autograd.grad(
        emotion_loss + 0.5 * told, [*trunk.parameters(), *adversary.parameters()], retain_graph=True
    )
    z = trunk(x)
    emotion_loss, told = cross_entropy(head(z), emotion), cross_entropy(adversary(z), gender)
    of_trunk = torch.autograd.grad(emotion_loss - 0.5 * told, [*trunk.parameters()], retain_graph=True)
    of_adversary = torch.autograd.grad(0.5 * told, [*adversary.parameters()])
    for mine, theirs in zip(ours, [*of_trunk, *of_adversary], strict=True):
        torch.testing.assert_close(mine, theirs)


def test_following_it_an_adversary_learns_while_an_embedding_that_listens_to_it_forgets():
    """One step against the adversary makes its loss larger; a step of the adversary makes it smaller."""
    torch.manual_seed(0)
    z, adversary = torch.randn(40, 3, requires_grad=True), nn.Linear(3, 2)
    gender = (z[:, 0] > 0).long()

    def loss() -> torch.Tensor:
        return cross_entropy(adversary(reverse(z)), gender)

    before = loss()
    before.backward()
    with torch.no_grad():
        z -= 0.5 * z.grad
        misled = loss()
        z += 0.5 * z.grad
        for weight in adversary.parameters():
            weight -= 0.5 * weight.grad
        learned = loss()
    assert learned < before < misled


def test_the_ramp_is_equation_14_of_ganin_and_lempitsky():
    for share in np.linspace(0, 1, 11):
        assert ramp(share) == pytest.approx(math.tanh(5 * share))  # 2 / (1 + exp(−10 p)) − 1 written otherwise
    assert ramp(0.0) == 0 and all(ramp(p) < ramp(p + 0.1) for p in np.linspace(0, 0.9, 10))


# pairs of two corpora


def _plane(*angles: float, length: float = 1.0) -> torch.Tensor:
    return length * torch.tensor([[math.cos(angle), math.sin(angle)] for angle in angles], dtype=torch.float64)


def _chord(angle: float) -> float:
    """Distance of two points on the circle of radius one."""
    return 2 * math.sin(angle / 2)


def _pairs(angles: list[float], group: list[int], source: list[int], margin: float = 1.0) -> float:
    return float(pair_loss(_plane(*angles), torch.tensor(group), torch.tensor(source), margin))


def test_one_gender_in_two_corpora_costs_its_distance_squared():
    assert _pairs([0.0, 0.8], [1, 1], [0, 1]) == pytest.approx(_chord(0.8) ** 2, abs=1e-6)
    assert _pairs([0.0, math.pi], [0, 0], [0, 1]) == pytest.approx(4.0, abs=1e-6)


@pytest.mark.parametrize("margin", [0.0, 0.5, 1.0, 2.0])
def test_two_genders_cost_what_they_lack_of_the_margin_squared(margin):
    for angle in (0.3, 0.9, 2.0):
        expected = max(0.0, margin - _chord(angle)) ** 2
        assert _pairs([0.0, angle], [0, 1], [0, 1], margin) == pytest.approx(expected, abs=1e-6)


def test_it_is_the_mean_over_all_pairs_of_two_corpora_and_of_no_others():
    """Two of the first corpus, two of the second: four pairs; those within a corpus, however far apart, do not count."""
    angles, group, source = [0.0, 0.5, 0.2, 1.5], [0, 1, 0, 1], [0, 0, 1, 1]
    d = {(a, b): _chord(abs(angles[a] - angles[b])) for a in (0, 1) for b in (2, 3)}
    expected = (d[0, 2] ** 2 + max(0, 1 - d[0, 3]) ** 2 + max(0, 1 - d[1, 2]) ** 2 + d[1, 3] ** 2) / 4
    assert _pairs(angles, group, source) == pytest.approx(expected, abs=1e-6)
    assert _pairs(angles, group, [7, 7, 7, 7]) == 0.0


def test_three_corpora_make_pairs_of_each_two():
    expected = (_chord(0.4) ** 2 + _chord(1.0) ** 2 + _chord(0.6) ** 2) / 3
    assert _pairs([0.0, 0.4, 1.0], [1, 1, 1], [0, 1, 2]) == pytest.approx(expected, abs=1e-6)


def test_somebody_of_unknown_group_makes_no_pair_and_gets_no_gradient():
    angles, source = [0.0, 0.5, 0.2, 1.5], [0, 0, 1, 1]
    z = _plane(*angles).requires_grad_()
    loss = pair_loss(z, torch.tensor([0, -1, 0, -1]), torch.tensor(source))
    loss.backward()
    assert loss.item() == pytest.approx(_chord(0.2) ** 2, abs=1e-6)
    assert (z.grad[[1, 3]] == 0).all() and (z.grad[[0, 2]] != 0).any()
    nobody = pair_loss(z, torch.full((4,), -1), torch.tensor(source))
    nobody.backward()
    assert nobody.item() == 0.0


def test_how_long_embeddings_are_does_not_matter():
    group, source = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1])
    lengths = torch.tensor([[0.1], [1.0], [50.0], [7.0]])
    z = _plane(0.0, 0.5, 0.2, 1.5)
    torch.testing.assert_close(pair_loss(z * lengths, group, source), pair_loss(z, group, source))


def test_following_its_gradient_brings_one_gender_together_and_keeps_two_a_margin_apart():
    torch.manual_seed(0)
    z = torch.randn(8, 3, requires_grad=True)
    group, source = torch.tensor([0, 1] * 4), torch.tensor([0] * 4 + [1] * 4)
    optimiser = torch.optim.Adam([z], lr=0.05)
    for _ in range(400):
        optimiser.zero_grad()
        pair_loss(z, group, source).backward()
        optimiser.step()
    unit = nn.functional.normalize(z.detach(), dim=1)
    distance = torch.cdist(unit[:4], unit[4:])
    same = group[:4, None] == group[None, 4:]
    assert distance[same].max() < 0.05 and distance[~same].min() > 0.95


def test_two_genders_at_the_same_place_leave_no_nan():
    z = _plane(0.3, 0.3).requires_grad_()
    pair_loss(z, torch.tensor([0, 1]), torch.tensor([0, 1])).backward()
    assert z.grad.isfinite().all()


# parity


def test_parity_of_two_groups_alike_in_size_is_their_difference():
    p = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6]])
    assert parity_loss(p, torch.tensor([0, 0, 1, 1])).item() == pytest.approx(0.8 - 0.3)


def test_parity_of_three_groups_is_twice_the_mean_distance_from_the_mean_of_all():
    """Means .8, .5 and .2 of 1, 2 and 3 rows: the mean of all is (.8 + 2·.5 + 3·.2) / 6 = .4."""
    first = torch.tensor([0.8, 0.4, 0.6, 0.1, 0.2, 0.3])
    loss = parity_loss(torch.stack([first, 1 - first], dim=1), torch.tensor([3, 5, 5, 9, 9, 9]))
    assert loss.item() == pytest.approx(2 * (0.4 + 0.1 + 0.2) / 3)


def test_parity_does_not_hear_those_of_unknown_group():
    p = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]], requires_grad=True)
    loss = parity_loss(p, torch.tensor([0, 1, -1]))
    loss.backward()
    assert loss.item() == pytest.approx(0.7) and (p.grad[2] == 0).all()
    nobody = parity_loss(p, torch.full((3,), -1))
    nobody.backward()
    assert nobody.item() == 0.0


def test_groups_that_are_answered_alike_cost_nothing():
    p = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]])
    assert parity_loss(p, torch.tensor([0, 0, 1])).item() == pytest.approx(0, abs=1e-7)


# weights


def test_weights_are_what_is_expected_over_what_is_there():
    """Kamiran & Calders by hand: of 10 rows 6 of label 0 (5 women), 4 of label 1 (1 woman)."""
    labels, groups = torch.tensor([0] * 6 + [1] * 4), torch.tensor([0] * 5 + [1] + [0] + [1] * 3)
    expected = [[0.6 * 0.6 / 0.5, 0.6 * 0.4 / 0.1], [0.4 * 0.6 / 0.1, 0.4 * 0.4 / 0.3]]
    torch.testing.assert_close(independence_weights(labels, groups, 2, 2), torch.tensor(expected))


@given(st.integers(0, 1000), st.integers(2, 4), st.integers(2, 3))
def test_weighted_labels_and_groups_are_independent_and_each_keeps_its_share(seed, n_labels, n_groups):
    rng = np.random.default_rng(seed)
    everybody = np.array([(label, group) for label in range(n_labels) for group in range(n_groups)])
    labels, groups = np.concatenate([everybody, everybody[rng.integers(0, len(everybody) // 2, 60)]]).T
    weight = independence_weights(torch.from_numpy(labels), torch.from_numpy(groups), n_labels, n_groups).numpy()
    table = np.zeros((n_labels, n_groups))
    np.add.at(table, (labels, groups), weight[labels, groups])
    np.testing.assert_allclose(table, np.outer(table.sum(1), table.sum(0)) / table.sum(), rtol=1e-4)
    np.testing.assert_allclose(table.sum(1), np.bincount(labels), rtol=1e-4)
    np.testing.assert_allclose(table.sum(0), np.bincount(groups), rtol=1e-4)


def test_pairs_that_do_not_occur_and_rows_that_are_not_there_weigh_one():
    weight = independence_weights(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), 2, 2)
    assert weight[0, 1] == 1 and weight.isfinite().all()
    nobody = torch.empty(0, dtype=torch.long)
    assert independence_weights(nobody, nobody, 2, 2).tolist() == [[1, 1], [1, 1]]


# erasure


def _grouped(n_groups: int, n_values: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings with covariance, whose groups, of unequal size, have means of their own."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(n_groups), [90 - 25 * place for place in range(n_groups)])
    mixing = rng.normal(size=(n_values, n_values))
    x = rng.normal(size=(len(group), n_values)) @ mixing + rng.normal(0, 3, (n_groups, n_values))[group]
    return x + 10, group


def _erased(x: np.ndarray, group: np.ndarray) -> np.ndarray:
    gone, mean = erasure(torch.from_numpy(x), torch.from_numpy(group))
    return (torch.from_numpy(x) - (torch.from_numpy(x) - mean) @ gone).numpy()


@pytest.mark.parametrize("n_groups", [2, 3])
def test_a_linear_probe_that_told_groups_apart_finds_nothing_after_erasure(n_groups):
    """On the data it was fitted to a logistic regression has nothing better than the most frequent group."""
    x, group = _grouped(n_groups)
    chance, found = 1 / n_groups, {}
    for name, embedding in {"before": x, "after": _erased(x, group)}.items():
        probe = LogisticRegression(C=1e6, max_iter=5_000, tol=1e-8).fit(embedding - embedding.mean(axis=0), group)
        said = probe.predict(embedding - embedding.mean(axis=0))
        found[name] = balanced_accuracy_score(group, said), np.abs(probe.coef_).max()
    assert found["before"][0] > chance + 0.2
    assert found["after"][0] == pytest.approx(chance) and found["after"][1] < 1e-3


@pytest.mark.parametrize("n_groups", [2, 3])
def test_the_groups_have_one_mean_and_that_of_all_is_kept(n_groups):
    x, group = _grouped(n_groups)
    erased = _erased(x, group)
    for name in range(n_groups):
        np.testing.assert_allclose(erased[group == name].mean(axis=0), x.mean(axis=0), atol=1e-8)


@pytest.mark.parametrize("n_groups", [2, 3])
def test_the_change_is_the_least_squares_smallest_that_does_it(n_groups):
    """Among all A that leave no covariance with the groups, the one of least E|A (x − mean)|²: a least-norm solution by numpy."""
    x, group = _grouped(n_groups)
    centred, hot = x - x.mean(axis=0), np.eye(n_groups)[group]
    covariance, told = centred.T @ centred / len(x), centred.T @ (hot - hot.mean(axis=0)) / len(x)
    values, axes = np.linalg.eigh(covariance)
    whiten = axes @ np.diag(values**-0.5) @ axes.T
    smallest = (
        told @ np.linalg.pinv(whiten @ told, rcond=1e-10) @ whiten
    )  # A · told = told, of least |A · covariance^½|
    np.testing.assert_allclose(_erased(x, group), x - centred @ smallest.T, atol=1e-7)
    basis = np.linalg.svd(told, full_matrices=False)[0][:, : n_groups - 1]
    straight = centred - centred @ basis @ basis.T  # orthogonal projection erases as well, and changes more
    assert np.square(_erased(x, group) - x).sum() < 0.99 * np.square(straight - centred).sum()


def test_a_hand_case_with_a_line_between_two_groups():
    """Values of a cross: the groups differ along the first axis alone, the second is independent: the first alone is gone."""
    x = np.array([[1.0, 1], [1, -1], [3, 1], [3, -1]])
    np.testing.assert_allclose(_erased(x, np.array([0, 0, 1, 1])), [[2, 1], [2, -1], [2, 1], [2, -1]], atol=1e-9)


def test_those_of_unknown_group_do_not_count_but_are_erased_like_the_others():
    x, group = _grouped(2)
    strangers = np.full((20, x.shape[1]), 1e3)
    whole, told = np.concatenate([x, strangers]), np.concatenate([group, np.full(20, -1)])
    np.testing.assert_allclose(_erased(whole, told)[: len(x)], _erased(x, group), atol=1e-8)


def test_empty_directions_stay_empty_and_leave_no_nan():
    x, group = _grouped(2)
    flat = np.concatenate([x, x[:, :1] + x[:, 1:2], np.zeros((len(x), 1))], axis=1)
    erased = _erased(flat, group)
    assert np.isfinite(erased).all() and np.abs(erased[:, -1]).max() < 1e-9
    np.testing.assert_allclose(erased[:, :-2], _erased(x, group), atol=1e-5)


def test_with_one_group_nothing_is_gone():
    x, _ = _grouped(2)
    np.testing.assert_allclose(_erased(x, np.zeros(len(x), dtype=int)), x)


def test_single_precision_stays_single_precision():
    x, group = _grouped(2)
    gone, mean = erasure(torch.from_numpy(x).float(), torch.from_numpy(group))
    assert gone.dtype == mean.dtype == torch.float32


@pytest.mark.parametrize("group", [-1, 0])
def test_where_no_two_groups_are_known_nothing_is_erased(group):
    gone, mean = erasure(torch.randn(5, 3), torch.full((5,), group))
    assert not gone.any() and mean.isfinite().all()


def test_what_groups_show_differently_often_is_not_taken_for_what_they_are():
    """Women are mostly of class 1, and class moves value 0, gender value 1: within classes only value 1 tells gender."""
    rng = np.random.default_rng(0)
    group = torch.from_numpy(rng.integers(2, size=400))
    label = torch.from_numpy((rng.random(400) < np.where(group == 1, 0.9, 0.1)).astype(np.int64))
    x = torch.from_numpy(rng.normal(size=(400, 3)))
    x[:, 0] += 4 * label
    x[:, 1] += 4 * group
    whole, _ = erasure(x, group)
    within, _ = erasure(x, group, None, label)
    assert within[0, 0].abs() < 0.05 < 0.2 < whole[0, 0] and within[1, 1] > 0.9


def test_groups_are_made_alike_on_each_side_by_itself():
    """On one side gender moves value 0 upwards and on the other downwards: together nothing would be seen."""
    rng = np.random.default_rng(0)
    group, side = (torch.from_numpy(rng.integers(2, size=400)) for _ in range(2))
    x = torch.from_numpy(rng.normal(size=(400, 3)))
    x[:, 0] += 4 * group * (1 - 2 * side)
    gone, mean = erasure(x, group, side)
    left = x - (x - mean) @ gone
    for one in (0, 1):
        means = [left[(side == one) & (group == name)].mean(dim=0) for name in (0, 1)]
        torch.testing.assert_close(means[0], means[1], atol=1e-6, rtol=0)
