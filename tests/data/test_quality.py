"""Fit for enrolment or not: judged on real speech, and on real speech spoilt in known ways."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_core.data.audio import SAMPLE_RATE, read_recording
from ser_core.data.quality import assess, has_speech, speech_spans

RATE = SAMPLE_RATE


@pytest.fixture(scope="module")
def speech(speech_file: Path) -> np.ndarray:
    """A clear utterance, 3.3 s with pauses at both ends, made as loud as a phone would."""
    waveform = read_recording(speech_file).waveform
    return waveform * (0.5 / np.abs(waveform).max())


def noise(n_samples: int, level: float) -> np.ndarray:
    return np.random.default_rng(7).normal(0, level, n_samples).astype(np.float32)


NO_SPEECH = {
    "zeros": np.zeros(2 * RATE, dtype=np.float32),
    "noise": noise(3 * RATE, 0.01),
    "faint_noise": noise(3 * RATE, 0.0005),
    "mains_hum": (0.1 * np.sin(2 * np.pi * 50 * np.arange(3 * RATE) / RATE)).astype(np.float32),
    "whistle": (0.1 * np.sin(2 * np.pi * 1_200 * np.arange(3 * RATE) / RATE)).astype(np.float32),
    "pink_noise": np.fft.irfft(
        np.fft.rfft(noise(3 * RATE, 0.05)) / np.sqrt(np.maximum(1, np.arange(3 * RATE // 2 + 1)))
    ).astype(np.float32)
    * 50,
    "chord": (0.1 * sum(np.sin(2 * np.pi * hz * np.arange(3 * RATE) / RATE) for hz in (220, 277, 330))).astype(
        np.float32
    ),
    "rumble": (0.01 * np.cumsum(noise(3 * RATE, 0.05))).astype(np.float32),
    "nothing": np.empty(0, dtype=np.float32),
    "a_few_samples": noise(100, 0.1),
}


@pytest.mark.parametrize("name", NO_SPEECH)
def test_what_is_no_speech_is_poor_and_says_so(name):
    quality = assess(NO_SPEECH[name])
    assert quality.verdict == "poor"
    assert quality.speech_s == 0.0
    assert quality.advice[0].startswith("No speech was found")
    assert quality.to_dict()["level_dbfs"] is None, "what cannot be measured is null"
    assert quality.to_dict()["snr_db"] is None
    assert not has_speech(NO_SPEECH[name])


@pytest.mark.parametrize("loud", ["the speech", "a slammed door", "a whistle"])
def test_whether_anybody_speaks_is_found_wherever_they_do(loud, speech):
    around = noise(9 * RATE, 0.0005)
    if loud == "a slammed door":
        around[RATE : RATE + 4_000] += noise(4_000, 0.4)
    if loud == "a whistle":
        around[: 2 * RATE] += np.sin(2 * np.pi * 1_200 * np.arange(2 * RATE) / RATE).astype(np.float32)
    assert not has_speech(around)
    around[5 * RATE : 5 * RATE + len(speech)] += (1.0 if loud == "the speech" else 0.2) * speech
    assert has_speech(around) and assess(around).speech_s > 0.3


@pytest.mark.parametrize("corpus", ["ravdess", "emodb", "nemo", "korean"])
def test_nearly_all_utterances_of_speech_corpora_will_do(corpus, corpora):
    paths = pd.read_csv(corpora / corpus / "metadata.csv")["path"].sample(12, random_state=3)
    verdicts = [assess(read_recording(corpora / corpus / path)).verdict for path in paths]
    assert verdicts.count("poor") <= 1
    assert verdicts.count("good") >= 8


@pytest.mark.parametrize("name", ["Actor_14/03-01-05-02-02-01-14.flac", "Actor_06/03-01-03-02-02-01-06.flac"])
def test_a_woman_who_shouts_is_heard(name, corpora):
    """The detector alone finds no speech in these."""
    assert assess(read_recording(corpora / "ravdess" / name)).speech_s > 1.0


def test_a_clear_utterance_is_good_and_needs_no_advice(speech):
    quality = assess(speech)
    assert (quality.verdict, quality.advice) == ("good", ())
    assert 1.0 < quality.speech_s < 2.5  # ecosystem notes: speech in about half of a RAVDESS recording
    assert quality.speech_share == pytest.approx(quality.speech_s * RATE / len(speech))
    assert quality.peak == pytest.approx(0.5)
    assert quality.to_dict()["verdict"] == "good"


def test_a_recording_and_its_waveform_are_judged_alike(speech_file):
    recording = read_recording(speech_file)
    assert assess(recording) == assess(recording.waveform)


def test_halving_the_level_lowers_it_by_6_db(speech):
    loud, soft = assess(speech), assess(0.5 * speech)
    assert loud.level_dbfs - soft.level_dbfs == pytest.approx(6.02, abs=0.2)
    assert loud.snr_db == pytest.approx(soft.snr_db, abs=1.0)


def test_the_level_is_that_of_the_speech_alone(speech):
    ((first, _), *_, (_, last)) = [*speech_spans(speech), *speech_spans(speech)]
    cut = speech[round(first * RATE) : round(last * RATE)].astype(np.float64)
    assert assess(speech).level_dbfs == pytest.approx(10 * np.log10(np.mean(cut**2)), abs=0.5)


@pytest.mark.parametrize(("gain", "verdict"), [(0.02, "usable"), (0.004, "poor")])
def test_a_quiet_voice_is_told_to_come_closer(speech, gain, verdict):
    quality = assess(gain * speech)
    assert quality.verdict == verdict
    assert any("Come closer to the microphone" in words for words in quality.advice)


@pytest.mark.parametrize(("gain", "verdict"), [(7.0, "usable"), (14.0, "poor")])
def test_a_clipped_voice_is_told_to_move_away(speech, gain, verdict):
    quality = assess(np.clip(gain * speech, -1, 1))
    assert quality.verdict == verdict
    assert any("away from the microphone" in words for words in quality.advice)
    assert quality.clipped_share == pytest.approx(np.mean(np.abs(gain * speech) >= 0.999), abs=1e-6)


@pytest.mark.parametrize(("snr_db", "verdict"), [(25, "good"), (6, "usable"), (-3, "poor")])
def test_noise_is_measured_and_told(speech, snr_db, verdict):
    level = 10 ** ((assess(speech).level_dbfs - snr_db) / 20)
    quality = assess(speech + noise(len(speech), level))
    measured = 10 * np.log10(10 ** (snr_db / 10) + 1)  # the speech part holds noise as well
    assert quality.snr_db == pytest.approx(measured, abs=2.0)
    assert quality.verdict == verdict
    assert any("noise" in words for words in quality.advice) == (verdict != "good")


def test_without_a_pause_there_is_no_noise_to_measure(speech):
    first, last = speech_spans(speech)[0][0], speech_spans(speech)[-1][1]
    quality = assess(speech[round((first + 0.05) * RATE) : round((last - 0.05) * RATE)])
    assert np.isnan(quality.snr_db)
    assert quality.to_dict()["snr_db"] is None
    assert quality.verdict == "good"


def test_much_silence_around_a_sentence_is_told(speech):
    silence = noise(6 * RATE, 1e-4)
    quality = assess(np.concatenate([silence, speech, silence]))
    assert quality.verdict == "usable"
    assert any("silence" in words for words in quality.advice)


def test_a_single_word_is_told_to_be_a_sentence(speech):
    start = round((speech_spans(speech)[0][0] + 0.1) * RATE)
    quality = assess(
        np.concatenate([noise(RATE // 2, 1e-4), speech[start : start + round(0.5 * RATE)], noise(RATE // 2, 1e-4)])
    )
    assert 0.3 < quality.speech_s < 0.8
    assert quality.verdict == "usable"
    assert any("whole sentence" in words for words in quality.advice)


def test_advice_is_for_people_and_the_worst_comes_first(speech):
    quality = assess(np.clip(14 * speech, -1, 1) * 0.9999 + noise(len(speech), 0.2))
    assert quality.verdict == "poor"
    for words in quality.advice:
        assert words.endswith(".")
        assert not any(jargon in words for jargon in ("dB", "SNR", "RMS", "Hz"))


# where speech is


def test_spans_are_in_order_and_inside_the_recording(speech):
    edges = [edge for span in speech_spans(np.concatenate([speech, speech])) for edge in span]
    assert edges == sorted(edges)
    assert edges[0] >= 0
    assert edges[-1] <= 2 * len(speech) / RATE
    assert len(edges) >= 4, "two utterances with a pause between them"


def test_a_second_of_silence_in_front_moves_the_spans_by_a_second(speech):
    before = speech_spans(speech)
    after = speech_spans(np.concatenate([noise(RATE, 1e-4), speech]))
    assert after[0][0] - before[0][0] == pytest.approx(1.0, abs=0.1)
    assert after[-1][1] - before[-1][1] == pytest.approx(1.0, abs=0.1)


def test_spans_do_not_depend_on_the_level(speech):
    loud, soft = speech_spans(speech), speech_spans(0.02 * speech)
    np.testing.assert_allclose(np.ravel(soft), np.ravel(loud), atol=0.05)


def test_many_may_ask_at_once(corpora):
    paths = pd.read_csv(corpora / "emodb" / "metadata.csv")["path"].sample(8, random_state=1)
    waveforms = [read_recording(corpora / "emodb" / path).waveform for path in paths]
    one_by_one = [speech_spans(waveform) for waveform in waveforms]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(speech_spans, waveforms)) == one_by_one


def test_the_detector_is_quiet_and_leaves_torch_its_threads():
    script = (
        "import numpy, torch; torch.set_num_threads(2)\n"
        "from ser_core.data.quality import assess\n"
        "assess(numpy.random.default_rng(0).normal(0, 0.1, 16000).astype('float32'))\n"
        "import threading; seen = []\n"
        "born_later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))\n"
        "born_later.start(); born_later.join()\n"
        "print(torch.get_num_threads(), *seen)"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.strip()) == (0, "2 2"), run.stderr
