"""What is accepted as a recording, what is refused and with which code, and what levelling does to it."""

import io
import struct
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import wavfile

from ser_core.data.audio import (
    SAMPLE_RATE,
    AudioRejected,
    Limits,
    Recording,
    StreamResampler,
    at_16_khz,
    level_and_trim,
    read_recording,
)

RATE = SAMPLE_RATE
CONTAINERS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


def tone(hz: float = 440.0, seconds: float = 2.0, rate: int = RATE, peak: float = 0.3) -> np.ndarray:
    return (peak * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def encoded(samples: np.ndarray, rate: int = RATE, container: str = "WAV", subtype: str = "PCM_16") -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=container, subtype=subtype)
    return stream.getvalue()


def dominant_hz(waveform: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), 10 * RATE))
    return float(spectrum.argmax()) / 10


def with_clipping(share: float) -> np.ndarray:
    samples = tone()
    samples[: round(share * len(samples))] = 1.0
    return samples


def with_one(value: float) -> np.ndarray:
    samples = tone()
    samples[500] = value
    return samples


def refusal(source: str | Path | bytes, limits: Limits | None = None) -> AudioRejected:
    with pytest.raises(AudioRejected) as refused:
        read_recording(source, *([limits] if limits else []))
    return refused.value


BAD = {
    "empty": (b"", "empty"),
    "text_named_wav": (b"this is not audio, it is a letter\n" * 100, "undecodable"),
    "a_page_of_html": (b"<!doctype html><html></html>", "undecodable"),
    "a_riff_without_sound": (b"RIFF\x24\x00\x00\x00WAVE", "undecodable"),
    "nan_sample": (encoded(with_one(np.nan), subtype="FLOAT"), "not_finite"),
    "infinite_sample": (encoded(with_one(np.inf), subtype="FLOAT"), "not_finite"),
    "minus_infinite_sample": (encoded(with_one(-np.inf), subtype="FLOAT"), "not_finite"),
    "absurd_samples": (encoded(np.full((RATE, 2), 3e38), subtype="FLOAT"), "not_finite"),
    "a_tenth_of_a_second": (encoded(tone(seconds=0.1)), "too_short"),
    "no_samples": (encoded(np.empty(0, dtype=np.float32)), "too_short"),
    "31_seconds": (encoded(tone(seconds=31.0)), "too_long"),
    "clipped_30_percent": (encoded(with_clipping(0.3)), "clipped"),
    "silent": (encoded(np.zeros(2 * RATE)), "silent"),
    "nearly_silent": (encoded(tone(peak=1e-4)), "silent"),
    "nine_channels": (encoded(np.tile(tone()[:, None], 9)), "unsupported_format"),
    "2_khz": (encoded(tone(rate=2_000), 2_000), "unsupported_format"),
    "over_10_mb": (bytes(10 * 2**20 + 1), "too_large"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_recording_is_refused_with_a_stable_code_and_no_path(name, tmp_path):
    content, code = BAD[name]
    path = tmp_path / f"{name}.wav"
    path.write_bytes(content)
    for source in (path, str(path), content):
        error = refusal(source)
        assert error.code == code
        assert str(tmp_path) not in str(error)
        assert ";" in str(error), "the message says what was found, then what to do"


def test_a_missing_file_a_folder_and_an_impossible_name_are_refused(tmp_path):
    for path in (tmp_path / "absent.wav", tmp_path, tmp_path / ("a" * 300), tmp_path / "nul\0byte.wav"):
        error = refusal(path)
        assert error.code == "missing"
        assert str(tmp_path) not in str(error)


def test_six_hours_of_silence_are_refused_from_the_header(tmp_path):
    path = tmp_path / "six_hours.flac"
    hour = np.zeros(3_600 * 8_000, dtype=np.int16)
    with soundfile.SoundFile(path, "w", 8_000, 1, "PCM_16") as file:
        for _ in range(6):
            file.write(hour)
    del hour
    assert path.stat().st_size < 2**20, "a megabyte holds hours"
    process = psutil.Process()
    before = process.memory_info().rss
    assert refusal(path).code == "too_long"
    assert process.memory_info().rss - before < 50 * 2**20


def test_the_memory_a_file_may_claim_is_bounded_even_if_its_rate_shares_no_factor_with_16_khz():
    content = encoded(tone(rate=191_999), 191_999)  # an exact filter would take 12 GB
    process = psutil.Process()
    before = process.memory_info().rss
    recording = read_recording(content)
    assert process.memory_info().rss - before < 300 * 2**20
    assert dominant_hz(recording.waveform) == pytest.approx(440, abs=5)


@pytest.mark.parametrize(
    "rate", [4_001, 8_000, 11_025, 11_127, 22_050, 22_255, 44_099, 44_100, 48_000, 96_000, 192_000]
)
def test_any_rate_keeps_pitch_and_length(rate):
    recording = read_recording(encoded(tone(rate=rate), rate))
    assert dominant_hz(recording.waveform) == pytest.approx(440, abs=5)
    assert recording.duration_s == pytest.approx(2.0, rel=0.007)


def test_resampling_leaves_16_khz_alone():
    waveform = tone()
    assert at_16_khz(waveform, RATE) is waveform


def test_8_khz_stereo_is_accepted_with_warnings_and_the_right_pitch():
    recording = read_recording(encoded(np.tile(tone(rate=8_000)[:, None], 2), 8_000))
    assert dominant_hz(recording.waveform) == pytest.approx(440, abs=5)
    assert recording.duration_s == pytest.approx(2.0, abs=0.01)
    assert any("8000 Hz" in warning for warning in recording.warnings)
    assert any("2 channels" in warning for warning in recording.warnings)


def test_channels_are_averaged():
    left, right = tone(300), tone(700)
    recording = read_recording(encoded(np.stack([left, right], axis=1), subtype="FLOAT"))
    np.testing.assert_allclose(recording.waveform, (left + right) / 2, atol=1e-6)


def test_a_little_clipping_is_accepted_with_a_warning():
    recording = read_recording(encoded(with_clipping(0.05)))
    assert any("5.0% of the recording is clipped" in warning for warning in recording.warnings)
    assert read_recording(encoded(with_clipping(0.005))).warnings == ()


def test_a_wav_is_read_as_scipy_reads_it(tmp_path):
    path = tmp_path / "tone.wav"
    path.write_bytes(encoded(tone()))
    rate, samples = wavfile.read(path)
    recording = read_recording(path)
    assert (rate, recording.waveform.dtype) == (RATE, np.float32)
    np.testing.assert_array_equal(recording.waveform, samples.astype(np.float32) / 32_768)


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_promised_format_decodes(name):
    recording = read_recording(encoded(tone(), RATE, *CONTAINERS[name]))
    assert dominant_hz(recording.waveform) == pytest.approx(440, abs=5)
    assert recording.duration_s == pytest.approx(2.0, abs=0.15)  # MP3 pads
    assert recording.waveform.std() == pytest.approx(0.3 / np.sqrt(2), rel=0.1)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM"])
def test_every_kind_of_wav_decodes(subtype):
    recording = read_recording(encoded(tone(), subtype=subtype))
    assert dominant_hz(recording.waveform) == pytest.approx(440, abs=5)


def test_the_content_decides_and_not_the_ending(tmp_path):
    for ending in (".mp3", ".txt", ""):
        path = tmp_path / f"tone{ending}"
        path.write_bytes(encoded(tone()))
        assert read_recording(path).duration_s == 2.0
    raw = tmp_path / "tone.raw"
    raw.write_bytes(encoded(tone()))
    assert refusal(raw).code == "undecodable"  # libsndfile takes this ending at its word


@pytest.mark.parametrize(
    "name", ["..%2f..%2fetc.wav", "a;rm -rf ~.wav", "héllo wörld 🎙.wav", "tab\tnew\nline.wav", "-rf.wav"]
)
def test_strange_names_are_only_names(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(encoded(tone()))
    recording = read_recording(path)
    assert len(recording.waveform) == 2 * RATE
    assert bool(recording.warnings) == (".." in name or "\t" in name)


def test_a_header_that_claims_4_gigabytes_gives_what_is_there():
    content = bytearray(encoded(tone()))
    place = content.index(b"data") + 4
    content[place : place + 4] = struct.pack("<I", 0xFFFFFFF0)
    content[4:8] = struct.pack("<I", 0xFFFFFFFF)
    recording = read_recording(bytes(content))
    assert len(recording.waveform) == 2 * RATE
    assert dominant_hz(recording.waveform) == pytest.approx(440, abs=5)


def test_half_a_wav_is_accepted():
    content = encoded(tone())
    recording = read_recording(content[: len(content) // 2])
    assert recording.duration_s == pytest.approx(1.0, abs=0.01)
    assert dominant_hz(recording.waveform) == pytest.approx(440, abs=5)


def test_a_flac_that_does_not_say_how_long_it_is_is_refused_in_words():
    content = bytearray(encoded(tone(), RATE, "FLAC", "PCM_16"))
    content[21] &= 0xF0  # the 36 bits of STREAMINFO that hold the number of samples
    content[22:26] = bytes(4)
    error = refusal(bytes(content))
    assert error.code == "undecodable"
    assert "how long" in str(error)


def test_limits_are_those_given():
    limits = Limits(min_s=0.05, max_s=1.0, max_bytes=64_000)
    assert read_recording(encoded(tone(seconds=0.1)), limits).duration_s == pytest.approx(0.1)
    assert refusal(encoded(tone(seconds=1.5)), limits).code == "too_long"
    assert refusal(encoded(tone(seconds=3.0)), limits).code == "too_large"


def _ogg_crc_table() -> list[int]:
    table = []
    for byte in range(256):
        remainder = byte << 24
        for _ in range(8):
            remainder = (remainder << 1) ^ (0x04C11DB7 if remainder & 0x80000000 else 0)
        table.append(remainder & 0xFFFFFFFF)
    return table


_OGG_CRC = _ogg_crc_table()


def resealed(content: bytearray) -> bytearray:
    """Ogg pages with checksums that fit, so that damage reaches the decoder (RFC 3533, section 6)."""
    start = 0
    while content[start : start + 4] == b"OggS" and start + 27 <= len(content):
        lacing = content[start + 27 : start + 27 + content[start + 26]]
        end = start + 27 + len(lacing) + sum(lacing)
        content[start + 22 : start + 26] = bytes(4)
        crc = 0
        for byte in content[start:end]:
            crc = ((crc << 8) & 0xFFFFFFFF) ^ _OGG_CRC[(crc >> 24) ^ byte]
        content[start + 22 : start + 26] = struct.pack("<I", crc)
        start = end
    return content


def damaged(original: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes changed, most often near the head, where it hurts; at times cut off."""
    content = bytearray(original)
    reach = min(len(content), int(rng.choice([64, 512, len(content)])))
    for place in rng.integers(0, reach, size=rng.integers(1, 7)):
        content[place] = rng.integers(0, 256)
    if content.startswith(b"OggS") and rng.random() < 0.9:
        content = resealed(content)
    return bytes(content[: len(content) if rng.random() < 0.8 else int(rng.integers(1, len(content)))])


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_damaged_file_is_refused_or_read_and_nothing_else(name):
    rng = np.random.default_rng(2026)
    speechlike = tone(seconds=0.7) * rng.uniform(0.2, 1.0, round(0.7 * RATE))
    original = encoded(speechlike, RATE, *CONTAINERS[name])
    outcomes = {"read": 0, "refused": 0}
    for _ in range(300):
        try:
            recording = read_recording(damaged(original, rng))
        except AudioRejected:
            outcomes["refused"] += 1
            continue
        outcomes["read"] += 1
        assert isinstance(recording, Recording)
        assert recording.waveform.ndim == 1
        assert recording.waveform.dtype == np.float32
        assert np.abs(recording.waveform).max() <= 1.0  # also false for nan
    assert min(outcomes.values()) > 0, "both ends of the fuzz are reached"


# levelling and trimming


@st.composite
def utterances(draw) -> np.ndarray:
    """Silence, bursts of a buzzing voice, silence; a faint floor of noise throughout."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lead, length, tail = (draw(st.floats(low, high)) for low, high in ((0.0, 1.0), (0.3, 2.0), (0.0, 1.0)))
    voice = sum(
        tone(hertz, length, peak=0.2 / harmonic) for harmonic, hertz in enumerate((130, 260, 390, 520), start=1)
    )
    envelope = np.abs(np.sin(np.pi * draw(st.floats(0.5, 4.0)) * np.arange(len(voice)) / RATE))
    parts = [np.zeros(round(lead * RATE)), voice * envelope, np.zeros(round(tail * RATE))]
    samples = np.concatenate(parts)
    return (samples + rng.normal(0, 1e-4, len(samples))).astype(np.float32)


def loud_level_dbfs(waveform: np.ndarray) -> float:
    """Root mean square of the 25 ms frames that are within 35 dB of the loudest, every 10 ms."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform.astype(np.float64), 400)[::160]
    energy = np.square(frames).mean(axis=1)
    return float(10 * np.log10(energy[energy >= energy.max() * 10**-3.5].mean()))


@given(utterances())
def test_levelling_reaches_minus_26_dbfs_and_a_second_time_changes_nothing(waveform):
    once = level_and_trim(waveform)
    assert loud_level_dbfs(once) == pytest.approx(-26.0, abs=0.3)
    twice = level_and_trim(once)
    assert loud_level_dbfs(twice) == pytest.approx(loud_level_dbfs(once), abs=0.3)
    assert abs(len(twice) - len(once)) <= 320  # frames fall elsewhere: up to a hop at each end


@given(utterances(), st.floats(0.05, 1.0))
def test_the_gain_of_the_microphone_does_not_matter(waveform, gain):
    expected = level_and_trim(waveform)
    levelled = level_and_trim((gain * waveform).astype(np.float32))
    assert len(levelled) == len(expected)
    np.testing.assert_allclose(levelled, expected, atol=1e-5)


@given(utterances())
def test_levelling_never_lengthens_and_stays_finite(waveform):
    levelled = level_and_trim(waveform)
    assert 0 < len(levelled) <= len(waveform)
    assert levelled.dtype == np.float32
    assert np.abs(levelled).max() <= 1.0


def test_silence_at_both_ends_is_cut_to_a_tenth_of_a_second():
    second = np.zeros(RATE, dtype=np.float32)
    levelled = level_and_trim(np.concatenate([second, tone(seconds=1.0), second]))
    assert len(levelled) / RATE == pytest.approx(1.2, abs=0.05)


@pytest.mark.parametrize(
    "waveform", [np.zeros(RATE, dtype=np.float32), tone(seconds=0.01), np.empty(0, dtype=np.float32)]
)
def test_nothing_to_level_comes_back_as_it_is(waveform):
    np.testing.assert_array_equal(level_and_trim(waveform), waveform)


def test_one_loud_click_cannot_push_samples_out_of_range():
    waveform = 0.001 * tone(seconds=1.0)
    waveform[100] = 1.0
    assert np.abs(level_and_trim(waveform)).max() <= 1.0


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_a_stream_resampled_piece_by_piece_is_what_it_would_be_in_one_go(rate_hz: int):
    rng = np.random.default_rng(rate_hz)
    waveform = rng.normal(0, 0.2, 2 * rate_hz).astype(np.float32)
    stream, pieces, start = StreamResampler(rate_hz), [], 0
    while start < len(waveform):
        end = start + int(rng.integers(1, rate_hz // 3))
        pieces.append(stream.feed(waveform[start:end]))
        start = end
    streamed, whole = np.concatenate(pieces), at_16_khz(waveform, rate_hz)
    assert 0 < len(whole) - len(streamed) <= 0.05 * SAMPLE_RATE
    np.testing.assert_allclose(streamed, whole[: len(streamed)], atol=2e-6)
