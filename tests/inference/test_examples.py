"""The example voice: real recordings of a synthesiser that pass every check a person's have to pass."""

import pytest

from ser_core.data.audio import read_recording
from ser_core.data.quality import assess
from ser_core.inference import examples
from ser_core.inference.examples import EXAMPLE_NAME, NoExamples, example_enrolment, example_takes
from ser_core.labels import APP_EMOTIONS

FILES = [*example_enrolment().values(), *(take.path for take in example_takes())]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_recording_is_fit_for_enrolment(path):
    recording = read_recording(path)
    quality = assess(recording)
    assert quality.verdict == "good", quality
    assert quality.speech_s > 1.0 and not recording.warnings


def test_every_emotion_is_enrolled_and_all_is_called_synthetic():
    assert tuple(example_enrolment()) == APP_EMOTIONS
    takes = example_takes()
    assert len(takes) == 5 and {take.emotion for take in takes} <= set(APP_EMOTIONS)
    assert all("synthetic" in name.lower() for name in (EXAMPLE_NAME, *(take.title for take in takes)))


def test_without_assets_it_is_said_so(monkeypatch, tmp_path):
    monkeypatch.setattr(examples, "_FOLDER", tmp_path)
    assert example_takes() == ()
    with pytest.raises(NoExamples):
        example_enrolment()
