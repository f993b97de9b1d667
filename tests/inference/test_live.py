"""Live: each window is answered as a recording of its own would be, on real speech."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from torchaudio.functional import resample

from ser_core.data.audio import SAMPLE_RATE, Recording, read_recording
from ser_core.inference import live
from ser_core.inference.live import HOP_S, LONGEST_TAKE_S, WINDOW_S, LiveTake, as_json, as_table, timeline
from ser_core.inference.models import UnknownModel
from ser_core.inference.recogniser import Enrolment, Recogniser
from ser_core.workspace import open_workspace


@pytest.fixture(scope="module")
def recogniser(tiny_model: Path, tmp_path_factory) -> Recogniser:
    return Recogniser(open_workspace(tmp_path_factory.mktemp("workspace")), str(tiny_model), "cpu")


@pytest.fixture(scope="module")
def spoken(corpora: Path) -> np.ndarray:
    """Three utterances of one actor, with the silence around them, and two seconds of nothing."""
    files = sorted((corpora / "ravdess" / "Actor_01").glob("03-01-0[345]-01-01-01-*"))
    parts = [read_recording(path).waveform for path in files]
    assert len(parts) == 3
    whole = np.concatenate([*parts, np.zeros(2 * SAMPLE_RATE, np.float32)])
    return (np.round(whole * 2**15) / 2**15).astype(np.float32)


@pytest.fixture(scope="module")
def enrolment(recogniser: Recogniser, corpora: Path) -> Enrolment:
    folder = corpora / "ravdess" / "Actor_01"
    files = {"neutral": "03-01-01-01-02-01-01.flac", "anger": "03-01-05-01-02-01-01.flac"}
    return recogniser.enrol([(word, word, read_recording(folder / name).waveform) for word, name in files.items()])


def test_every_moment_is_the_recognisers_answer_to_its_window(recogniser, enrolment, spoken):
    moments = timeline(spoken, recogniser, enrolment)
    assert len(moments) == int(len(spoken) / SAMPLE_RATE / HOP_S)
    heard = [moment for moment in moments if moment.prediction]
    assert len(heard) > 10
    for moment in heard:
        assert moment.end_s - moment.start_s <= WINDOW_S + 1e-9
        window = spoken[round(moment.start_s * SAMPLE_RATE) : round(moment.end_s * SAMPLE_RATE)]
        offline = recogniser.recognise(Recording(window), enrolment)
        assert moment.prediction.baseline.probabilities == pytest.approx(offline.baseline.probabilities, abs=1e-6)
        assert moment.prediction.personalised.probabilities == pytest.approx(
            offline.personalised.probabilities, abs=1e-6
        )


def test_silence_is_shown_as_silence(recogniser, spoken):
    moments = timeline(spoken, recogniser)
    assert [moment.prediction for moment in moments[-1:]] == [None]  # two seconds of nothing
    hiss = np.random.default_rng(0).normal(0, 0.01, 3 * SAMPLE_RATE).astype(np.float32)
    for quiet in (np.zeros(3 * SAMPLE_RATE, np.float32), hiss):
        assert [moment.prediction for moment in timeline(quiet, recogniser)] == [None] * 7


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_a_take_fed_in_odd_pieces_answers_as_it_would_about_what_it_saves(
    recogniser, enrolment, spoken, rate_hz, tmp_path
):
    import torch

    native = resample(torch.from_numpy(spoken), SAMPLE_RATE, rate_hz).numpy()
    take, rng, start = LiveTake(recogniser, enrolment), np.random.default_rng(1), 0
    while start < len(native):
        end = start + int(rng.integers(rate_hz // 20, rate_hz // 4))
        take.feed(native[start:end], rate_hz)
        start = end
    (tmp_path / "take.wav").write_bytes(take.wav())
    saved, rate = soundfile.read(tmp_path / "take.wav", dtype="float32")
    assert rate == SAMPLE_RATE and len(saved) / rate == pytest.approx(len(spoken) / SAMPLE_RATE, abs=0.06)
    again = timeline(saved, recogniser, enrolment)
    assert len(again) == len(take.moments)
    for one, other in zip(take.moments, again, strict=True):
        assert (one.start_s, one.end_s, one.prediction is None) == (
            other.start_s,
            other.end_s,
            other.prediction is None,
        )
        if one.prediction:
            assert one.prediction.personalised == other.prediction.personalised


def test_what_passed_while_the_computer_was_busy_is_left_out_and_the_newest_window_is_answered(recogniser, spoken):
    take = LiveTake(recogniser)
    moment = take.feed(spoken[: 5 * SAMPLE_RATE], SAMPLE_RATE)
    assert take.moments == [moment] and moment.end_s == pytest.approx(4.8)
    kept = take.waveform()
    assert len(kept) / SAMPLE_RATE == take.duration_s == pytest.approx(5.0, abs=0.021)  # nothing of the sound is lost
    np.testing.assert_array_equal(kept, spoken[: len(kept)])


def test_a_take_ends_after_ten_minutes(recogniser, monkeypatch):
    assert LONGEST_TAKE_S == 600
    monkeypatch.setattr(live, "_somebody_speaks", lambda window: False)
    take, minute = LiveTake(recogniser), np.zeros(60 * SAMPLE_RATE, np.float32)
    for _ in range(11):
        take.feed(minute, SAMPLE_RATE)
    assert take.full and take.duration_s == 600


def test_the_table_has_a_row_a_moment_and_nothing_where_nobody_spoke(recogniser, enrolment, spoken):
    moments = timeline(spoken, recogniser, enrolment)
    table = as_table(moments)
    assert table["end_s"].to_list() == [moment.end_s for moment in moments]
    spoke = table[table["speech"]]
    columns = [name for name in table if name.startswith("p_personalised_")]
    np.testing.assert_allclose(spoke[columns].sum(axis=1), 1, atol=1e-5)
    assert table[~table["speech"]]["baseline"].isna().all() and not table["speech"].all()
    document = json.loads(as_json(moments))
    assert document["hop_s"] == HOP_S and len(document["moments"]) == len(moments)
    assert document["moments"][-1]["baseline"] is None


def test_a_personaliser_that_the_model_has_not_is_refused_at_once(recogniser):
    with pytest.raises(UnknownModel):
        LiveTake(recogniser, None, "nonsense")
