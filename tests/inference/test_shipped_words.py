"""What words do to the model that ships, on real recordings of actors whom it never heard."""

from pathlib import Path

import pytest

from ser_core.data.audio import read_recording
from ser_core.inference.recogniser import Recogniser
from ser_core.ui.words import moved_in_words
from ser_core.workspace import open_workspace

HAPPY = "I am so happy, this is wonderful"


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory) -> Recogniser:
    return Recogniser(open_workspace(tmp_path_factory.mktemp("workspace")), "compact", "cpu")


@pytest.fixture(scope="module")
def neutral(recogniser: Recogniser, corpora: Path) -> list:
    """Two neutral recordings of each of the actors 21 to 24."""
    files = sorted(corpora.glob("ravdess/Actor_2[1-4]/03-01-01-01-0[12]-01-*"))
    assert len(files) == 8
    return [recogniser.embed([read_recording(file).waveform]) for file in files]


def test_a_neutral_recording_with_happy_words_moves_towards_happiness_and_it_is_told_that_words_did_it(
    recogniser, neutral
):
    for features in neutral:
        said = recogniser.with_words(features, HAPPY)
        gained = said.baseline.probabilities["happiness"] - said.unread[0].probabilities["happiness"]
        assert gained > 0.02 and said.words.emotion == "happiness"
        assert "words" in moved_in_words(said) and "happiness" in moved_in_words(said)
        assert 0 < said.moved_by_words <= 1


def test_without_words_nothing_moves(recogniser, neutral):
    for text in ("", "   ", "😀😀😀", "行きましょう"):
        said = recogniser.with_words(neutral[0], text)
        assert said.words is None and said.text == "" and said.moved_by_words == pytest.approx(0, abs=1e-6)
        assert bool(said.note) == bool(text.strip())


def test_five_thousand_words_are_cut_and_answered(recogniser, neutral):
    said = recogniser.with_words(neutral[0], "happy " * 5000)
    assert len(said.text.split()) == 180 and "180 of 5000" in said.note and said.words is not None


def test_a_language_that_is_told_does_not_count(recogniser, neutral):
    said = recogniser.with_words(neutral[0], "Gift", language="de")
    assert said.words is None and "'de'" in said.note
