"""From any audio file to a waveform: mono, 16 kHz, float32 in [-1, 1]; and what is accepted at all.

Hard limits are checked from the header before anything is decoded: a megabyte of FLAC can hold hours of silence.
"""

import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

SAMPLE_RATE = 16_000
"""Hz, of every waveform in the package."""

PREPARED = "level-trim-1"
"""Part of every cache's key: changes whenever `read_recording` or `level_and_trim` would give other samples."""

LEVEL_DBFS = -26.0
"""Root mean square of the loud part of a waveform after `level_and_trim`."""

LEAST_SPEECH_S = 0.3
"""With less, nobody is said to speak."""

NO_SPEECH = "no speech was found in the recording, so no answer is sure"
"""Of one that is accepted all the same: a laugh or a shout may go unnoticed (`quality.has_speech`)."""

_TRIM_BELOW_PEAK_DB = 35.0
_TRIM_MARGIN_S = 0.1
_SILENT_DBFS = -60.0
_CLIPPED_AT = 0.999
_WARN_CLIPPED = 0.01
_REFUSE_CLIPPED = 0.10
_ABSURD = 1e6
"""Full scale is 1; floating-point files can hold anything."""

_RATES_HZ = (4_000, 192_000)
_ODD_RATE_HZ = 50
_STREAM_CONTEXT_S = 0.02
"""More than a resampled sample hears on either side of itself."""

_UNKNOWN_FRAMES = 2**63 - 1
"""What libsndfile says of a FLAC file that was streamed, with a header never completed; it cannot seek there."""

_MAX_CHANNELS = 8


@dataclass(frozen=True)
class Limits:
    """What a recording may be, by purpose."""

    min_s: float
    max_s: float
    max_bytes: int


UTTERANCE = Limits(min_s=0.5, max_s=30.0, max_bytes=10 * 2**20)


class AudioRejected(ValueError):
    """A recording that cannot be used; `code` is stable, the message says what to do."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Recording:
    """A decoded file.

    Attributes:
        waveform: (N,) float32, mono, 16 kHz, in [-1, 1]; neither levelled nor trimmed.
        warnings: what was odd but accepted, in words.
    """

    waveform: np.ndarray
    warnings: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Seconds."""
        return len(self.waveform) / SAMPLE_RATE


def read_recording(source: str | Path | bytes, limits: Limits = UTTERANCE) -> Recording:
    """Read a file that libsndfile reads (WAV, FLAC, Ogg Vorbis or Opus, MP3 …), any rate, any channels.

    Args:
        source: a path, or the file's bytes.
        limits: longest, shortest and largest that is accepted.

    Raises:
        AudioRejected: with one of the codes missing, empty, too_large, undecodable, unsupported_format, too_long,
            too_short, not_finite, silent, clipped.
    """
    n_bytes, stream, name = _open(source)
    if n_bytes == 0:
        raise AudioRejected("empty", "the file is empty; record or choose it again")
    if n_bytes > limits.max_bytes:
        raise AudioRejected(
            "too_large",
            f"the file has {n_bytes / 2**20:.0f} MB, at most {limits.max_bytes / 2**20:.0f} MB are accepted; "
            "cut or compress it",
        )
    try:
        with soundfile.SoundFile(stream) as file:
            rate, channels = file.samplerate, file.channels
            if not (_RATES_HZ[0] <= rate <= _RATES_HZ[1] and 1 <= channels <= _MAX_CHANNELS):
                raise AudioRejected(
                    "unsupported_format",
                    f"the file has {channels} channels at {rate} Hz; "
                    f"1 to {_MAX_CHANNELS} channels at {_RATES_HZ[0]} to {_RATES_HZ[1]} Hz are accepted",
                )
            if file.frames >= _UNKNOWN_FRAMES:
                raise AudioRejected("undecodable", "the file does not say how long it is; save or convert it again")
            if file.frames > limits.max_s * rate:
                raise _too_long(file.frames / rate, limits)
            # bounded even if the header lies
            samples = file.read(int(limits.max_s * rate) + 1, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, soundfile.SoundFileRuntimeError, EOFError, OSError, TypeError):
        # TypeError is what the ending .raw earns
        raise AudioRejected(
            "undecodable", "the file is not audio that can be read here; use WAV, FLAC, OGG or MP3"
        ) from None
    finally:
        if isinstance(stream, io.IOBase):
            stream.close()
    _check_samples(samples, rate, limits)
    warnings = [*_name_warnings(name), *_format_warnings(rate, channels), *_clipping_warnings(samples)]
    mono = at_16_khz(samples.mean(axis=1), rate)[: int(limits.max_s * SAMPLE_RATE)]  # an odd rate is rounded
    return Recording(np.clip(mono, -1.0, 1.0).astype(np.float32), tuple(warnings))


def at_16_khz(waveform: np.ndarray, rate_hz: int) -> np.ndarray:
    """Resample (N,) float32 samples to 16 kHz.

    A rate that shares no factor with 16 kHz would need a filter of gigabytes (a header can claim 191,999 Hz); it is
    taken for the next multiple of 50 Hz, which shifts the pitch by at most a tenth of a semitone.
    """
    if rate_hz == SAMPLE_RATE:
        return waveform
    rate_hz = _usable_rate(rate_hz)
    import torch  # here, because it takes seconds: the app's first page lists profiles without it
    from torchaudio.functional import resample

    return resample(torch.from_numpy(waveform), rate_hz, SAMPLE_RATE).numpy()


class StreamResampler:
    """Brings a stream to 16 kHz piece by piece, as `at_16_khz` brings it in one go; keeps 20 ms back.

    Args:
        rate_hz: of what comes in.
    """

    def __init__(self, rate_hz: int):
        self._rate_hz = _usable_rate(rate_hz)
        self._step = self._rate_hz // math.gcd(self._rate_hz, SAMPLE_RATE)  # so many in, a whole number out
        self._context = self._step * math.ceil(_STREAM_CONTEXT_S * self._rate_hz / self._step)
        self._waiting = np.zeros(self._context, dtype=np.float32)

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """The next (N,) float32 samples in; out come those (M,) at 16 kHz that no later sample can change."""
        self._waiting = np.concatenate([self._waiting, samples])
        n_ready = (len(self._waiting) - 2 * self._context) // self._step * self._step
        if n_ready <= 0:
            return np.empty(0, dtype=np.float32)
        heard = at_16_khz(self._waiting[: n_ready + 2 * self._context], self._rate_hz)
        self._waiting = self._waiting[n_ready:]
        first, n_out = (n * SAMPLE_RATE // self._rate_hz for n in (self._context, n_ready))
        return heard[first : first + n_out]


def level_and_trim(waveform: np.ndarray) -> np.ndarray:
    """The utterance as encoders hear it: silence at both ends cut to 0.1 s, loudness levelled.

    Speech corpora differ by 25 dB from speaker to speaker, and a microphone's gain is not an emotion.

    Args:
        waveform: (N,) float32 in [-1, 1].

    Returns:
        (M,) float32, M <= N; an all-zero waveform comes back as it is.
    """
    frame, hop = SAMPLE_RATE // 40, SAMPLE_RATE // 100
    if len(waveform) < frame:
        return waveform
    power = np.square(waveform, dtype=np.float64)
    cumulative = np.concatenate([[0.0], np.cumsum(power)])
    starts = np.arange(0, len(waveform) - frame + 1, hop)
    energy = (cumulative[starts + frame] - cumulative[starts]) / frame
    peak = energy.max()
    if peak <= 0.0:
        return waveform
    active = np.flatnonzero(energy >= peak * 10 ** (-_TRIM_BELOW_PEAK_DB / 10))
    margin = int(_TRIM_MARGIN_S * SAMPLE_RATE)
    first = max(0, starts[active[0]] - margin)
    last = min(len(waveform), starts[active[-1]] + frame + margin)
    gain = 10 ** (LEVEL_DBFS / 20) / math.sqrt(energy[active].mean())
    return np.clip(waveform[first:last] * gain, -1.0, 1.0).astype(np.float32)


def _usable_rate(rate_hz: int) -> int:
    odd = math.gcd(rate_hz, SAMPLE_RATE) < _ODD_RATE_HZ // 2
    return _ODD_RATE_HZ * round(rate_hz / _ODD_RATE_HZ) if odd else rate_hz


def _open(source: str | Path | bytes) -> tuple[int, str | io.BytesIO, str]:
    if isinstance(source, bytes):
        return len(source), io.BytesIO(source), ""
    path = Path(source)
    try:
        if not path.is_file():
            raise AudioRejected("missing", f"there is no file '{path.name}' at the place named; check the path")
        with path.open("rb"):
            pass
    except OSError:
        raise AudioRejected("missing", f"the file '{path.name}' may not be read; check its permissions") from None
    return path.stat().st_size, str(path), path.name


def _too_long(seconds: float, limits: Limits) -> AudioRejected:
    return AudioRejected(
        "too_long", f"the recording lasts {seconds:.0f} s, at most {limits.max_s:.0f} s are accepted; cut it"
    )


def _check_samples(samples: np.ndarray, rate: int, limits: Limits) -> None:
    if len(samples) > limits.max_s * rate:
        raise _too_long(len(samples) / rate, limits)
    if len(samples) < limits.min_s * rate:
        raise AudioRejected(
            "too_short",
            f"the recording lasts {len(samples) / rate:.2f} s, at least {limits.min_s:.1f} s are needed; "
            "speak a whole sentence",
        )
    if not (np.abs(samples) < _ABSURD).all():
        raise AudioRejected("not_finite", "the file holds samples that are not numbers; export it again")
    if not np.sqrt(np.mean(np.square(samples.mean(axis=1), dtype=np.float64))) > 10 ** (_SILENT_DBFS / 20):
        raise AudioRejected("silent", "the recording is silent; check the microphone and record again")
    clipped = _clipped_share(samples)
    if clipped > _REFUSE_CLIPPED:
        raise AudioRejected(
            "clipped",
            f"{clipped:.0%} of the recording is clipped; move away from the microphone or turn its level down",
        )


def _clipped_share(samples: np.ndarray) -> float:
    return float(np.mean(np.abs(samples) >= _CLIPPED_AT))


def _clipping_warnings(samples: np.ndarray) -> list[str]:
    clipped = _clipped_share(samples)
    return [f"{clipped:.1%} of the recording is clipped; the level was too high"] if clipped > _WARN_CLIPPED else []


def _format_warnings(rate: int, channels: int) -> list[str]:
    warnings = []
    if rate < SAMPLE_RATE:
        warnings.append(f"recorded at {rate} Hz: sounds above {rate // 2} Hz are missing, answers may be less certain")
    if channels > 1:
        warnings.append(f"{channels} channels were mixed to one")
    return warnings


def _name_warnings(name: str) -> list[str]:
    if ".." in name or not name.isprintable():
        return ["the file has a strange name; only its content was used"]
    return []
