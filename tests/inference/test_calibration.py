"""PLDC and its analogue for classes: the truth is the paper's formula on hand-made numbers."""

import numpy as np
import pytest

from ser_core.inference.calibration import (
    Calibration,
    CalibrationError,
    CalibrationSettings,
    PriorCorrection,
    SpeakerStatistics,
)
from ser_core.recipe import BadRecipe

RNG = np.random.default_rng(0)
PLAIN = {"shrinkage": 0.0}
"""As in the paper: nothing is drawn towards anything."""


def _two_kinds(n: int = 30):
    """Training speakers 0, 1 sound alike and rate 2 to 3; 2, 3 sound alike and rate 5 to 7."""
    speaker = np.repeat(np.arange(4), n)
    embeddings = np.where(speaker[:, None] < 2, [1.0, 0.1], [0.1, 1.0]) + RNG.normal(0, 0.01, (4 * n, 2))
    rated = np.where(speaker < 2, 2.5, 6.0)[:, None] + RNG.normal(
        0, np.where(speaker < 2, 0.5, 1.0)[:, None], (4 * n, 1)
    )
    return embeddings, speaker, rated, 4.0 + 0.3 * (rated - rated.mean())


def _fitted(**settings) -> Calibration:
    return Calibration(CalibrationSettings(n_similar=2, **settings)).fit(*_two_kinds())


def _of_the_second_kind(n: int = 40) -> tuple[np.ndarray, SpeakerStatistics]:
    predicted = RNG.normal(4.5, 0.2, (n, 1))
    return predicted, SpeakerStatistics.of(np.tile([0.1, 1.0], (n, 1)), predicted)


def test_sigma_alone_stretches_around_the_speakers_own_mean_as_the_formula_says():
    calibration, (predicted, known) = _fitted(**PLAIN), _of_the_second_kind()
    mu, sigma = predicted.mean(axis=0), predicted.std(axis=0)
    wanted = calibration.spread_[2:].mean(axis=0)  # label spread of the two who sound alike
    right = calibration.transform(predicted, known)
    np.testing.assert_allclose(right, (predicted - mu) / sigma * wanted + mu)
    np.testing.assert_allclose(right.mean(axis=0), mu)


@pytest.mark.parametrize("scale", [True, False])
def test_with_mu_the_mean_becomes_that_of_the_similar_speakers(scale):
    calibration, (predicted, known) = _fitted(shift=True, scale=scale, **PLAIN), _of_the_second_kind()
    right = calibration.transform(predicted, known)
    np.testing.assert_allclose(right.mean(axis=0), calibration.mean_[2:].mean(axis=0))
    spread = calibration.spread_[2:].mean(axis=0) if scale else predicted.std(axis=0)
    np.testing.assert_allclose(right.std(axis=0), spread)


def test_the_similar_speakers_are_those_of_highest_cosine():
    calibration, (_, known) = _fitted(), _of_the_second_kind()
    effect = calibration.effect(known)
    cosine = [
        vector @ known.vector / np.linalg.norm(vector) / np.linalg.norm(known.vector) for vector in calibration.vectors_
    ]
    assert {number - 1 for number in effect.similar} == set(np.argsort(cosine)[-2:])
    np.testing.assert_allclose(effect.similarities, sorted(cosine)[:-3:-1])


def test_one_utterance_is_left_where_it_is():
    calibration, (predicted, _) = _fitted(), _of_the_second_kind()
    known = SpeakerStatistics.of(np.array([[0.1, 1.0]]), predicted[:1])
    right = calibration.transform(predicted[:1], known)
    assert np.isfinite(right).all()
    np.testing.assert_allclose(right, predicted[:1], atol=1e-12)
    others = calibration.transform(predicted, known)  # and others move little: one in eleven counts
    assert np.abs(others - predicted).max() < 0.5 * np.abs(predicted - predicted[:1]).max()


def test_nothing_known_changes_nothing():
    predicted = RNG.normal(size=(5, 1))
    nothing = SpeakerStatistics.of(np.zeros((0, 2)), np.zeros((0, 1)))
    assert _fitted().transform(predicted, nothing) is predicted


def test_shrinkage_draws_both_sides_towards_the_spread_of_training_predictions():
    calibration, (predicted, known) = _fitted(shrinkage=20.0), _of_the_second_kind(40)
    prior = calibration.predicted_spread_
    own = (40 * predicted.std(axis=0) + 20 * prior) / 60
    wanted = (40 * calibration.spread_[2:].mean(axis=0) + 20 * prior) / 60
    mu = predicted.mean(axis=0)
    np.testing.assert_allclose(calibration.transform(predicted, known), (predicted - mu) * wanted / own + mu)


def test_statistics_grow_utterance_by_utterance_to_what_numpy_says():
    embeddings, predicted = RNG.normal(size=(25, 4)), RNG.normal(3, 2, size=(25, 3))
    known = SpeakerStatistics.of(embeddings[:10], predicted[:10])
    for embedding, values in zip(embeddings[10:], predicted[10:], strict=True):
        known = known.add(embedding, values)
    assert known.n == 25
    np.testing.assert_allclose(known.vector, embeddings.mean(axis=0))
    np.testing.assert_allclose(known.mean, predicted.mean(axis=0))
    np.testing.assert_allclose(known.spread, predicted.std(axis=0))


def _classes(n: int = 40):
    speaker = np.repeat(np.arange(4), n)
    emotion = RNG.choice(3, size=4 * n, p=[0.5, 0.3, 0.2])
    predicted = np.eye(3)[emotion] * 0.6 + 0.4 / 3
    return RNG.normal(size=(4 * n, 5)) + speaker[:, None], speaker, emotion, predicted


def test_the_prior_correction_is_bayes_rule_with_the_other_prior():
    correction = PriorCorrection(CalibrationSettings(n_similar=4, shrinkage=0.0)).fit(*_classes())
    predicted = RNG.dirichlet([4, 1, 1], size=30)
    known = SpeakerStatistics.of(RNG.normal(size=(30, 5)), predicted)
    expected = predicted * correction.mean_.mean(axis=0) / predicted.mean(axis=0)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(correction.transform(predicted, known), expected)


def test_who_is_always_told_one_emotion_is_told_it_less_often():
    correction = PriorCorrection().fit(*_classes())
    always = RNG.dirichlet([1, 1, 12], size=30)
    known = SpeakerStatistics.of(RNG.normal(size=(30, 5)), always)
    right, effect = correction.transform(always, known), correction.effect(known)
    assert right[:, 2].mean() < always[:, 2].mean() - 0.1
    np.testing.assert_allclose(right.sum(axis=1), 1.0)
    np.testing.assert_allclose(effect.mean, always.mean(axis=0))
    assert effect.wanted_mean[2] < effect.mean[2] and effect.wanted_mean.sum() == pytest.approx(1.0)


def test_a_class_that_a_training_speaker_never_spoke_stays_possible():
    embeddings, speaker, _, predicted = _classes()
    correction = PriorCorrection().fit(embeddings, speaker, np.zeros(len(speaker), dtype=int), predicted)
    known = SpeakerStatistics.of(embeddings[:20], predicted[:20])
    assert (correction.transform(np.array([[0.01, 0.01, 0.98]]), known) > 0).all()


def test_what_is_saved_comes_back_with_its_settings_and_names_nobody(tmp_path):
    correction = PriorCorrection(CalibrationSettings(n_similar=3, shrinkage=7.0)).fit(*_classes())
    correction.save(tmp_path / "c.safetensors")
    again = PriorCorrection.load(tmp_path / "c.safetensors")
    assert again.settings == correction.settings
    known = SpeakerStatistics.of(RNG.normal(size=(6, 5)), RNG.dirichlet([1, 1, 1], size=6))
    probabilities = RNG.dirichlet([1, 1, 1], size=4)
    np.testing.assert_allclose(
        again.transform(probabilities, known), correction.transform(probabilities, known), atol=2e-3
    )


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x00" * 64])
def test_a_broken_file_says_what_to_do(tmp_path, content):
    (tmp_path / "c.safetensors").write_bytes(content)
    with pytest.raises(CalibrationError, match="'c.safetensors' holds no calibration; install the model again"):
        PriorCorrection.load(tmp_path / "c.safetensors")


def test_lengths_that_differ_are_counted_out():
    embeddings, speaker, rated, predicted = _two_kinds()
    with pytest.raises(CalibrationError, match="119 speakers"):
        Calibration().fit(embeddings, speaker[1:], rated, predicted)
    with pytest.raises(CalibrationError, match="at least one"):
        Calibration().fit(*(one[:0] for one in (embeddings, speaker, rated, predicted)))


def test_impossible_settings_are_refused():
    with pytest.raises(BadRecipe, match="'n_similar' is 0"):
        CalibrationSettings(n_similar=0)


def test_a_corpus_that_lacks_a_class_does_not_teach_its_absence():
    """Its speakers count there as the mean prediction does, so nobody like them is told it less often."""
    embeddings, speaker, emotion, predicted = _classes()
    classes = np.ones((len(speaker), 3), dtype=bool)
    classes[speaker < 2, 2] = False
    emotion = np.where((speaker < 2) & (emotion == 2), 0, emotion)
    correction = PriorCorrection(CalibrationSettings(n_similar=4, shrinkage=0.0)).fit(
        embeddings, speaker, emotion, predicted, classes
    )
    np.testing.assert_allclose(correction.mean_[:2, 2], correction.predicted_mean_[2])
    np.testing.assert_allclose(correction.mean_.sum(axis=1), 1.0)


def test_the_order_of_what_is_saved_says_not_who_is_who(tmp_path):
    rng = np.random.default_rng(1)
    speaker = np.repeat(np.arange(12), 5)
    vectors = speaker[:, None] + np.zeros((60, 3)) + 1.0
    correction = PriorCorrection().fit(vectors, speaker, np.arange(60) % 3, rng.dirichlet([1, 1, 1], size=60))
    orders = []
    for place in range(3):
        correction.save(tmp_path / f"{place}.safetensors")
        again = PriorCorrection.load(tmp_path / f"{place}.safetensors")
        orders.append(tuple(again.vectors_[:, 0]))
        assert sorted(orders[-1]) == list(np.arange(1.0, 13.0))
    assert len({*orders, tuple(np.arange(1.0, 13.0))}) == 4


def test_a_rating_that_is_missing_is_refused():
    embeddings, speaker, rated, predicted = _two_kinds()
    rated[3] = np.nan
    with pytest.raises(CalibrationError, match="leave out utterances that nobody rated"):
        Calibration().fit(embeddings, speaker, rated, predicted)
