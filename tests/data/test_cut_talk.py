"""Free speech: what is cut, what is refused, and what is only hinted at."""

from pathlib import Path

import numpy as np
import pytest

from ser_core.data import talk
from ser_core.data.audio import SAMPLE_RATE, AudioRejected, read_recording
from ser_core.data.talk import LONGEST_S, cut_talk, speech_pieces

SECONDS = np.arange(40 * SAMPLE_RATE) / SAMPLE_RATE


def _takes(corpora: Path, n: int) -> np.ndarray:
    files = sorted((corpora / "ravdess" / "Actor_23").glob("*.flac"))[:n]
    return np.concatenate([read_recording(file).waveform for file in files])


def _spans(monkeypatch, spans: list[tuple[float, float]]) -> None:
    monkeypatch.setattr(talk, "speech_spans", lambda waveform: spans)


def test_real_speech_is_cut_into_utterances_that_lie_within_it(corpora):
    heard = _takes(corpora, 12)
    found = cut_talk(heard)
    assert 8 <= len(found.utterances) <= 24 and found.speech_s > 15
    assert all(0.8 <= len(one) / SAMPLE_RATE <= LONGEST_S + 0.01 for one in found.utterances)
    joined = np.concatenate(found.utterances)
    assert found.speech_s - 3 < len(joined) / SAMPLE_RATE <= len(heard) / SAMPLE_RATE


@pytest.mark.parametrize("kind", ["chords", "noise", "nothing"])
def test_what_is_no_speech_is_refused_with_what_was_found(kind):
    chords = sum(
        np.sin(2 * np.pi * hz * SECONDS) * (0.6 + 0.4 * np.sin(4 * np.pi * SECONDS + hz)) for hz in (220, 277, 330)
    )
    noise = np.random.default_rng(0).normal(0, 1, len(SECONDS))
    heard = {"chords": chords, "noise": noise, "nothing": 0 * SECONDS}[kind]
    with pytest.raises(AudioRejected, match="of 40 seconds sound like speech; music, or a noisy room") as refused:
        cut_talk((0.1 * heard).astype(np.float32))
    assert refused.value.code == "hardly_speech"


def test_two_seconds_of_speech_are_too_little(corpora):
    with pytest.raises(
        AudioRejected, match=r"\d.\d seconds of speech were found, at least 15 are needed, and pauses do not count"
    ) as refused:
        cut_talk(_takes(corpora, 1))
    assert refused.value.code == "little_speech"


def test_fifteen_seconds_without_a_pause_are_cut_where_it_is_quietest(monkeypatch):
    waveform = np.full(20 * SAMPLE_RATE, 0.1, np.float32)
    quiet = [4.0, 8.2, 12.4, 16.5]
    for at in quiet:
        waveform[round((at - 0.05) * SAMPLE_RATE) : round((at + 0.05) * SAMPLE_RATE)] = 0.0
    pieces = speech_pieces([(0.0, 20.0)], waveform, 0.0, 5.0, 0.0)
    assert [end for _, end in pieces[:-1]] == pytest.approx(quiet, abs=0.06)


def test_short_exclamations_are_left_out_and_few_utterances_refused(monkeypatch):
    _spans(monkeypatch, [(at, at + 0.3) for at in range(0, 40, 1)] + [(41.0, 46.0), (47.0, 52.0)])
    with pytest.raises(AudioRejected, match="falls into 4 parts"):
        cut_talk(np.zeros(60 * SAMPLE_RATE, np.float32))


def test_speech_without_a_pause_is_too_few_utterances(monkeypatch):
    _spans(monkeypatch, [(1.0, 17.0)])
    with pytest.raises(AudioRejected, match="falls into 4 parts, at least 5 are needed; make a short pause") as refused:
        cut_talk(np.random.default_rng(0).normal(0, 0.1, 20 * SAMPLE_RATE).astype(np.float32))
    assert refused.value.code == "few_utterances"
