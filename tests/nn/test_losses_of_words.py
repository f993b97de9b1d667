"""CCC and the angular margin against other sources: audmetric, torch's own cross-entropy, and hand numbers."""

import math

import audmetric
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, normalize

from ser_core.nn.losses import ccc_loss
from ser_core.nn.margin import AamSoftmax


@given(st.integers(0, 10_000), st.integers(2, 60), st.floats(-2, 2))
def test_the_loss_is_one_minus_the_ccc_that_audmetric_gives(seed, n, slope):
    rng = np.random.default_rng(seed)
    rated = rng.normal(4, 1.5, n).astype(np.float32)
    predicted = (slope * rated + rng.normal(0.5, 1, n)).astype(np.float32)
    expected = 1 - audmetric.concordance_cc(rated, predicted)
    assert ccc_loss(torch.from_numpy(predicted), torch.from_numpy(rated)).item() == pytest.approx(expected, abs=2e-4)


def test_the_ends_of_its_scale_are_zero_and_two():
    rated = torch.tensor([-1.0, 0.0, 2.0, -1.0])
    assert float(ccc_loss(rated, rated)) == pytest.approx(0, abs=1e-6)
    assert float(ccc_loss(-rated, rated)) == pytest.approx(2, abs=1e-6)


def test_unrated_rows_do_not_count_and_get_no_gradient():
    rated = torch.tensor([1.0, torch.nan, 3.0, 2.0, torch.nan])
    predicted = torch.tensor([1.5, 9.0, 2.0, 2.5, -9.0], requires_grad=True)
    loss = ccc_loss(predicted, rated)
    known = [0, 2, 3]
    expected = 1 - audmetric.concordance_cc(rated[known].numpy(), predicted.detach()[known].numpy())
    assert loss.item() == pytest.approx(expected, abs=1e-5)
    loss.backward()
    assert predicted.grad[[1, 4]].tolist() == [0, 0] and (predicted.grad[known] != 0).all()


@pytest.mark.parametrize("rated", [[torch.nan] * 3, [1.0, torch.nan, torch.nan]])
def test_with_fewer_than_two_ratings_there_is_nothing_to_learn(rated):
    predicted = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    loss = ccc_loss(predicted, torch.tensor(rated))
    loss.backward()
    assert loss.item() == 0 and predicted.grad.tolist() == [0, 0, 0]


def test_a_constant_answer_gives_one_and_numbers_as_gradients():
    predicted = torch.full((4,), 2.0, requires_grad=True)
    loss = ccc_loss(predicted, torch.tensor([1.0, 2.0, 3.0, 2.0]))
    loss.backward()
    assert loss.item() == pytest.approx(1) and predicted.grad.isfinite().all()
    assert float(ccc_loss(torch.ones(3), torch.ones(3))) == pytest.approx(1)  # no spread at all: no division by zero


def test_following_its_gradient_brings_answers_and_ratings_together():
    torch.manual_seed(0)
    rated = torch.randn(30)
    predicted = torch.randn(30, requires_grad=True)
    optimiser = torch.optim.Adam([predicted], lr=0.1)
    for _ in range(200):
        optimiser.zero_grad()
        ccc_loss(predicted, rated).backward()
        optimiser.step()
    assert audmetric.concordance_cc(rated.numpy(), predicted.detach().numpy()) > 0.99


def _plane(angles: list[float]) -> torch.Tensor:
    """Unit vectors in the plane."""
    return torch.tensor([[math.cos(angle), math.sin(angle)] for angle in angles])


def _margin(angles: list[float], **settings) -> AamSoftmax:
    softmax = AamSoftmax(2, len(angles), **settings)
    with torch.no_grad():
        softmax.weight.copy_(_plane(angles) * torch.arange(1, len(angles) + 1)[:, None])  # lengths must not matter
    return softmax


def test_without_a_margin_it_is_a_softmax_over_scaled_cosines():
    torch.manual_seed(0)
    softmax = AamSoftmax(5, 4, margin=0.0, scale=12.0)
    embedding, speaker = torch.randn(7, 5), torch.tensor([0, 1, 2, 3, 0, 1, 2])
    cosines = normalize(embedding) @ normalize(softmax.weight).T
    torch.testing.assert_close(
        softmax(embedding, speaker), cross_entropy(12.0 * cosines, speaker), atol=1e-4, rtol=1e-4
    )


def test_with_hand_made_angles_it_is_equation_3_by_hand():
    """Speakers at 0 and 90 degrees; embeddings at 0.5 of the first and at 1.2 (0.37 from the second)."""
    margin, scale = 0.2, 10.0
    own, other = math.cos(0.5 + margin), math.cos(math.pi / 2 - 0.5)
    first = -math.log(math.exp(scale * own) / (math.exp(scale * own) + math.exp(scale * other)))
    own, other = math.cos(math.pi / 2 - 1.2 + margin), math.cos(1.2)
    second = -math.log(math.exp(scale * own) / (math.exp(scale * own) + math.exp(scale * other)))
    softmax = _margin([0.0, math.pi / 2], margin=margin, scale=scale)
    loss = softmax(_plane([0.5, 1.2]) * 3.0, torch.tensor([0, 1]))
    assert loss.item() == pytest.approx((first + second) / 2, abs=1e-4)


def test_a_larger_margin_is_a_larger_loss():
    losses = [_margin([0.0, 1.5], margin=margin)(_plane([0.4]), torch.tensor([0])).item() for margin in (0, 0.2, 0.5)]
    assert losses[0] < losses[1] < losses[2]


def test_its_gradient_pushes_the_own_angle_down_and_the_other_up():
    softmax, embedding = _margin([0.0, 1.2], scale=5.0), _plane([0.7]).requires_grad_()
    softmax(embedding, torch.tensor([0])).backward()
    moved = embedding.detach() - 0.05 * embedding.grad
    angle = torch.atan2(moved[0, 1], moved[0, 0])
    assert angle < 0.7  # nearer to the first speaker, at 0, and further from the second, at 1.2


def test_an_embedding_that_lies_on_a_speaker_leaves_no_nan():
    softmax, embedding = _margin([0.0, 1.5]), _plane([0.0, math.pi]).requires_grad_()
    softmax(embedding, torch.tensor([0, 0])).backward()
    assert embedding.grad.isfinite().all() and softmax.weight.grad.isfinite().all()
