"""Why an answer differs: checked against enrolling anew without a recording, and against playing it louder."""

from pathlib import Path

import numpy as np
import pytest

from ser_core.data.audio import Recording, read_recording
from ser_core.inference.explanation import at_levels, by_every_personaliser, without_each
from ser_core.inference.recogniser import Recogniser
from ser_core.workspace import open_workspace


@pytest.fixture(scope="module")
def recogniser(tiny_model: Path, tmp_path_factory) -> Recogniser:
    return Recogniser(open_workspace(tmp_path_factory.mktemp("workspace")), str(tiny_model), "cpu")


@pytest.fixture(scope="module")
def clips(corpora: Path) -> list[tuple[str, str, np.ndarray]]:
    folder, codes = corpora / "ravdess" / "Actor_01", {"neutral": "01", "sadness": "04", "anger": "05"}
    names = {word: f"03-01-{code}-01-01-01-01.flac" for word, code in codes.items()}
    return [(f"id of {word}", word, read_recording(folder / name).waveform) for word, name in names.items()]


@pytest.fixture(scope="module")
def heard(corpora: Path) -> np.ndarray:
    return read_recording(corpora / "ravdess" / "Actor_01" / "03-01-06-01-02-01-01.flac").waveform


@pytest.mark.parametrize("personaliser", ["speaker_reference", "enrolment_attention"])
def test_without_a_recording_means_as_if_it_had_never_been_enrolled(recogniser, clips, heard, personaliser):
    features = recogniser.embed([heard])
    answers = without_each(recogniser, features, recogniser.enrol(clips), personaliser)
    assert list(answers) == [name for name, _, _ in clips]
    for name, answer in answers.items():
        others = recogniser.enrol([clip for clip in clips if clip[0] != name])
        said = recogniser.recognise(Recording(heard), others, personaliser).personalised
        assert answer.probabilities == pytest.approx(said.probabilities, abs=2e-6)


def test_without_the_only_recording_the_answer_is_everybodys(recogniser, clips, heard):
    features = recogniser.embed([heard])
    (answer,) = without_each(recogniser, features, recogniser.enrol(clips[:1])).values()
    assert answer == recogniser.recognise(Recording(heard)).baseline


def test_every_personaliser_answers_as_when_it_is_asked_alone(recogniser, clips, heard):
    enrolment = recogniser.enrol(clips)
    answers = by_every_personaliser(recogniser, recogniser.embed([heard]), enrolment)
    assert [said.personaliser for said in answers] == list(recogniser.info.personalisers)
    for said in answers:
        alone = recogniser.recognise(Recording(heard), enrolment, said.personaliser)
        assert said.personalised == alone.personalised


def test_the_same_words_quieter_get_the_same_answer_and_too_loud_ones_are_cut_off(recogniser, clips, heard):
    gains = (-20, 0, 40)
    quiet, same, loud = at_levels(recogniser, heard, gains, recogniser.enrol(clips))
    as_recorded = recogniser.recognise(Recording(heard), recogniser.enrol(clips))
    assert same.prediction.personalised == as_recorded.personalised
    assert quiet.prediction.baseline.probabilities == pytest.approx(as_recorded.baseline.probabilities, abs=0.05)
    assert quiet.clipped_share == same.clipped_share == 0
    expected = np.mean(np.abs(heard) * 100 > 1)
    assert loud.clipped_share == pytest.approx(expected, abs=1e-3) and expected > 0.05


def test_where_nothing_is_left_to_hear_there_is_no_answer(recogniser, heard):
    (silent,) = at_levels(recogniser, heard, (-150,))
    assert silent.prediction is None
