"""How sure a classifier may be: numbers by hand, and torch's own cross-entropy for the temperature."""

import numpy as np
import pandas as pd
import pytest
import torch

from ser_core.evaluation.certainty import (
    TEMPERATURES,
    BadCertainty,
    Certainty,
    calibration_error_of,
    error_by_chance,
    expected_calibration_error,
    fitted_certainty,
    fitted_temperature,
    measured_certainty,
    tempered,
    threshold,
)


def _logits(n: int = 400, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a classifier that is three times too sure of itself, and truths drawn from what it should have said."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(0, 1.5, (n, classes))
    truth = np.array([rng.choice(classes, p=p) for p in _softmax(honest)])
    return 3 * honest, truth


def _softmax(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).softmax(dim=-1).numpy()


def _table(p_anger: list[float], truth: list[str], corpus: str = "one") -> pd.DataFrame:
    p = np.array(p_anger)
    named = np.where(p >= 0.5, "anger", "fear")
    return pd.DataFrame({"corpus": corpus, "emotion": truth, "predicted_emotion": named, "p_anger": p, "p_fear": 1 - p})


# calibration error


def test_the_calibration_error_is_the_gap_of_each_bin_weighted_by_its_answers():
    # bin (.4, .4667]: .45 twice, one right: gap .05; bin (.8667, .9333]: .9 three times, all right: gap .1
    confidence, right = [0.45, 0.45, 0.9, 0.9, 0.9], [1, 0, 1, 1, 1]
    assert expected_calibration_error(confidence, right) == pytest.approx(0.4 * 0.05 + 0.6 * 0.1)


def test_within_a_bin_too_sure_and_not_sure_enough_cancel_and_across_bins_they_do_not():
    assert expected_calibration_error([0.5, 0.5], [1, 0]) == 0
    assert expected_calibration_error([0.25, 0.75], [1, 0], n_bins=1) == 0
    assert expected_calibration_error([0.25, 0.75], [1, 0], n_bins=2) == pytest.approx(0.75)


def test_a_bin_includes_its_upper_end():
    assert expected_calibration_error([0.5, 0.4], [0, 1], n_bins=2) == pytest.approx(abs(1 - 0.9) / 2)  # one bin
    assert expected_calibration_error([0.5, 0.6], [0, 1], n_bins=2) == pytest.approx((0.5 + 0.4) / 2)  # two
    assert expected_calibration_error([0.0, 1.0], [0, 1]) == 0


def test_without_answers_or_without_probabilities_there_is_no_calibration_error():
    assert np.isnan(expected_calibration_error([], []))
    assert np.isnan(calibration_error_of(pd.DataFrame({"emotion": ["anger"], "predicted_emotion": ["anger"]})))
    assert calibration_error_of(_table([0.9, 0.9], ["anger", "anger"])) == pytest.approx(0.1)


def test_the_error_by_chance_is_that_of_truths_drawn_by_the_confidence_and_falls_with_their_number():
    rng = np.random.default_rng(0)
    # one answer of .8: right 8 times in 10 with a gap of .2, else .8
    assert error_by_chance([0.8], rng, 4000) == pytest.approx(0.8 * 0.2 + 0.2 * 0.8, abs=0.02)
    few, many = (error_by_chance(np.full(n, 0.8), rng) for n in (10, 4000))
    assert few > 0.05 and many < 0.01
    assert np.isnan(error_by_chance([], rng))


# temperature


def test_the_temperature_is_what_torch_finds_by_gradient():
    logits, truth = _logits()
    log_t = torch.zeros((), dtype=torch.double, requires_grad=True)
    optimiser = torch.optim.LBFGS([log_t], max_iter=100, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        value = torch.nn.functional.cross_entropy(torch.from_numpy(logits) / log_t.exp(), torch.from_numpy(truth))
        value.backward()
        return value

    optimiser.step(loss)
    found = fitted_temperature(_softmax(logits), truth)
    assert found == pytest.approx(float(log_t.detach().exp()), rel=1e-3)
    assert 2 < found < 4  # it was three times too sure


def test_dividing_logits_is_what_tempering_their_probabilities_is():
    logits, _ = _logits(20)
    logits[:, 2] = -np.inf  # a class that the corpus lacks
    np.testing.assert_allclose(tempered(_softmax(logits), 2.5), _softmax(logits / 2.5), atol=1e-12)
    np.testing.assert_allclose(tempered(tempered(_softmax(logits), 2.5), 1 / 2.5), _softmax(logits), atol=1e-12)


def test_no_temperature_changes_which_emotion_is_named():
    p = _softmax(_logits()[0])
    for temperature in TEMPERATURES:
        assert (tempered(p, temperature).argmax(axis=1) == p.argmax(axis=1)).all()


def test_a_weight_of_two_is_an_answer_given_twice():
    logits, truth = _logits(60)
    p, weight = _softmax(logits), np.where(np.arange(60) < 20, 2.0, 1.0)
    twice = np.concatenate([np.arange(60), np.arange(20)])
    assert fitted_temperature(p, truth, weight) == pytest.approx(fitted_temperature(p[twice], truth[twice]), rel=1e-4)


def test_who_is_always_right_gets_no_temperature_of_zero_and_who_was_ruled_out_no_infinite_loss():
    assert fitted_temperature([[0.9, 0.1]] * 5, [0] * 5) == pytest.approx(TEMPERATURES[0], rel=1e-3)
    assert np.isfinite(fitted_temperature([[1.0, 0.0], [0.6, 0.4]], [1, 0]))


# threshold


def test_the_threshold_is_the_lowest_from_a_half_on_with_three_right_of_four():
    confidence = [0.3, 0.55, 0.6, 0.7, 0.8, 0.9]
    assert threshold(confidence, [1, 1, 1, 1, 1, 1]) == 0.5  # less than even is never sure
    assert threshold(confidence, [0, 0, 0, 1, 1, 1]) == pytest.approx(0.6)  # 3 of 4 from .6 on, 3 of 5 from .55 on
    assert threshold(confidence, [0, 1, 1, 0, 1, 1]) == 0.5  # 4 of 5 at once


def test_never_more_than_half_are_refused():
    assert threshold([0.2, 0.3, 0.35, 0.4], [1, 1, 1, 1]) == pytest.approx(0.35)  # though none reaches a half
    assert threshold([0.6, 0.7, 0.8, 0.9], [0, 0, 0, 0]) == pytest.approx(0.8)  # though none is right
    assert threshold([0.3, 0.3, 0.3], [0, 0, 0]) == pytest.approx(0.3)  # all alike: all are told


def test_a_large_corpus_counts_no_more_than_a_small_one():
    # the large one is right from .5 on, the small one only at .9
    p = np.array([0.6] * 8 + [0.9] * 8 + [0.6] + [0.9])
    truth, corpus = np.array([0] * 16 + [1, 0]), np.array(["large"] * 16 + ["small"] * 2)
    assert threshold(p, truth == 0, np.where(corpus == "large", 1 / 16, 1 / 2)) == 0.5  # (1 + .5) / 2 is just enough
    alike = fitted_certainty(np.stack([p, 1 - p], axis=1), truth, corpus)
    ten_times = np.concatenate([np.tile(np.arange(16), 10), [16, 17]])
    again = fitted_certainty(np.stack([p, 1 - p], axis=1)[ten_times], truth[ten_times], corpus[ten_times])
    assert again.temperature == pytest.approx(alike.temperature, rel=1e-4)
    assert again.sure_from == pytest.approx(alike.sure_from, rel=1e-4)


def test_a_certainty_that_cannot_be_is_refused():
    for wrong in ({"temperature": 0.0}, {"temperature": float("nan")}, {"sure_from": 1.2}):
        with pytest.raises(BadCertainty, match="expected"):
            Certainty(**wrong)


def test_the_answer_that_set_the_threshold_passes_it_also_in_single_precision():
    logits, truth = _logits(40, seed=3)
    certainty = fitted_certainty(
        _softmax(logits / 20), truth, ["one"] * 40
    )  # hardly any is sure: the better half is told
    told = tempered(_softmax(logits / 20), certainty.temperature).astype(np.float32).max(axis=1) >= certainty.sure_from
    assert told.mean() >= 0.5


# what came of it


def test_what_came_of_it_is_told_for_each_corpus():
    cold = tempered(np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]]), 2.0)
    tables = [_table(cold[:, 0].tolist(), ["anger", "anger", "fear"], "one"), _table([0.9], ["anger"], "two")]
    said = measured_certainty(pd.concat(tables), Certainty(2.0, 0.6))
    one = said["one"]
    assert (one["n"], one["not_sure"], one["accuracy"]) == (3, pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert (one["accuracy_sure"], one["accuracy_not_sure"]) == (1.0, 0.0)
    assert one["ece_before"] == pytest.approx((0.1 * 2 + 0.6) / 3)  # of .9, .9 and .6, as before the temperature
    assert one["ece"] == pytest.approx((2 * (1 - 0.75) + cold[2, 0]) / 3)  # .9 at temperature 2 is 3 : 1
    assert said["two"]["not_sure"] == 0 and np.isnan(said["two"]["accuracy_not_sure"])
