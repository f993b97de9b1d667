"""Pseudo-attributes against the published points, and that they are nothing but the label on a scale."""

import numpy as np
import pandas as pd
import pytest

from ser_core.data.circumplex import INTENSITY, PAD, with_pseudo_attributes
from ser_core.data.corpora import load_corpus
from ser_core.data.manifest import BadCorpus, Corpus, join, make_corpus
from ser_core.labels import ATTRIBUTES, EMOTIONS

PUBLISHED = {  # pleasure, arousal, dominance as Russell and Mehrabian print them, in that order
    "happiness": (0.81, 0.51, 0.46), "sadness": (-0.63, -0.27, -0.33), "anger": (-0.51, 0.59, 0.25),
    "fear": (-0.64, 0.60, -0.43), "disgust": (-0.60, 0.35, 0.11), "surprise": (0.40, 0.67, -0.13),
    "boredom": (-0.65, -0.62, -0.33),
}  # fmt: skip

WITHOUT_A_POINT = {"emphatic", "negative", "idle", "rest"}


def corpus(emotions, intensities=None, name: str = "toy", **columns) -> Corpus:
    ids = [f"{name}_{place:02d}" for place in range(len(emotions))]
    rows = pd.DataFrame({"path": [f"{one}.wav" for one in ids], "speaker": "a", "emotion": emotions, **columns}, ids)
    return make_corpus(name, rows if intensities is None else rows.assign(intensity=intensities))


def points(made: Corpus) -> np.ndarray:
    return made.table[list(ATTRIBUTES)].to_numpy()


def test_every_emotion_has_a_point_and_the_published_ones_are_as_published():
    assert set(PAD) == set(EMOTIONS) - WITHOUT_A_POINT
    for emotion, (pleasure, arousal, dominance) in PUBLISHED.items():
        assert PAD[emotion] == (arousal, pleasure, dominance), emotion


def test_the_quadrants_are_those_of_the_circumplex():
    signs = {emotion: (np.sign(arousal), np.sign(valence)) for emotion, (arousal, valence, _) in PAD.items()}
    assert signs["happiness"] == signs["surprise"] == (1, 1)
    assert signs["anger"] == signs["fear"] == signs["disgust"] == (1, -1)
    assert signs["sadness"] == signs["boredom"] == (-1, -1)
    assert signs["calm"] == (-1, 1)
    assert signs["neutral"] == (0, 0)


def test_on_a_scale_of_1_to_7_neutral_is_4_and_anger_is_where_its_point_says():
    made = with_pseudo_attributes(corpus(["neutral", "anger"]))
    np.testing.assert_allclose(points(made), [[4, 4, 4], [5.77, 2.47, 4.75]])
    assert (made.attribute_range, made.attributes_from) == ((1, 7), "circumplex")
    assert made.problems == ()


def test_on_a_scale_of_minus_1_to_1_they_are_the_points_themselves():
    made = with_pseudo_attributes(corpus(list(PAD)), (-1, 1))
    np.testing.assert_allclose(points(made), list(PAD.values()), atol=1e-12)


def test_intensity_moves_them_away_from_neutral_and_never_off_the_scale():
    words = ["low", "medium", "normal", "unspecified", None, "high", "strong"]
    away = points(with_pseudo_attributes(corpus(["sadness"] * 7, words), (-1, 1))) / PAD["sadness"]
    np.testing.assert_allclose(away, np.repeat([[0.6], [1], [1], [1], [1], [1.2], [1.2]], 3, axis=1))
    everything = corpus([emotion for emotion in PAD for _ in INTENSITY], list(INTENSITY) * len(PAD))
    values = points(with_pseudo_attributes(everything, (1, 5)))
    assert (values >= 1).all() and (values <= 5).all()


def test_what_has_no_emotion_has_no_pseudo_attributes():
    made = with_pseudo_attributes(corpus(["anger", "other", "no_agreement", None, float("nan"), "emphatic"]))
    assert np.isnan(points(made)).all(axis=1).tolist() == [False, True, True, True, True, True]


def test_they_carry_nothing_that_the_label_does_not(corpora):
    made = with_pseudo_attributes(load_corpus("ravdess", corpora / "ravdess"))
    assert made.table.groupby(["emotion", "intensity"])[list(ATTRIBUTES)].nunique().max(axis=None) == 1
    assert made.table[list(ATTRIBUTES)].notna().all(axis=None)


def test_the_corpus_given_is_untouched_and_they_can_be_put_on_another_scale():
    plain = corpus(["anger", "sadness"])
    once = with_pseudo_attributes(plain)
    assert plain.attribute_range is None and plain.table[list(ATTRIBUTES)].isna().all(axis=None)
    again = with_pseudo_attributes(once, (0, 1))
    np.testing.assert_allclose(points(again), (points(once) - 1) / 6)


def test_two_corpora_with_pseudo_attributes_can_be_joined_but_not_with_listeners():
    one, two = (with_pseudo_attributes(corpus(["anger"], name=name)) for name in ("one", "two"))
    assert join([one, two]).attributes_from == "circumplex"
    with pytest.raises(BadCorpus, match="one: 1 to 7, by circumplex; three: 1 to 7, by listeners"):
        join([one, corpus(["anger", "anger"], name="three", arousal=[1.0, 6.0])])


def test_listeners_are_never_overwritten():
    heard = corpus(["anger"], arousal=3.0)
    with pytest.raises(BadCorpus, match="toy has attributes from listeners"):
        with_pseudo_attributes(heard)
    with pytest.raises(BadCorpus, match="from listeners"):
        with_pseudo_attributes(join([heard, corpus(["anger"], name="two")]))


@pytest.mark.parametrize(
    ("made", "scale", "words"),
    [
        (corpus(["anger"], ["loud"]), (1, 7), "intensity 'loud' is not one of low, medium"),
        (corpus(["other", None]), (1, 7), "no utterance has an emotion"),
        (corpus(["negative", "idle"]), (1, 7), "no utterance has an emotion with a place in the circumplex"),
        (corpus(["anger"]), (7, 1), "from low to high; found 7 and 1"),
    ],
)
def test_what_cannot_be_placed_is_refused(made, scale, words):
    with pytest.raises(BadCorpus, match=words):
        with_pseudo_attributes(made, scale)
