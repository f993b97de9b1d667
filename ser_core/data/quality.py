"""Is a recording fit for enrolment? How much speech, how loud, clipped or noisy, and what to do about it.

Speech is found by silero-vad (https://github.com/snakers4/silero-vad, MIT). The thresholds were set so that recordings
of RAVDESS, EmoDB, nEMO and a Korean corpus pass: their speech lasts 1 s and more, fills 40 % of a recording and more,
and is as quiet as -54 dBFS.
"""

import math
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import torch
from torchaudio.functional import resample

from ser_core.data.audio import LEAST_SPEECH_S, SAMPLE_RATE, Recording

Verdict = Literal["good", "usable", "poor"]

_SHORT_SPEECH_S = 0.8
_LITTLE_SPEECH_SHARE = 0.25
_FAINT_DBFS, _QUIET_DBFS = -58.0, -46.0
_CLIPPED_AT, _CLIPPED_SHARE, _DISTORTED_SHARE = 0.999, 0.01, 0.05
_NOISE_SNR_DB, _SOME_NOISE_SNR_DB = 5.0, 12.0
_FLOOR_DBFS = -100.0

_FRAME = SAMPLE_RATE // 40
_MIN_PAUSE_S, _PAUSE_MARGIN_S = 0.2, 0.1
_LOUD_DBFS, _MAX_GAIN_DB = -20.0, 40.0
"""What the detector hears: it misses speech that is far quieter than what it was trained on."""

_PITCH_DOWN = (5, 8)
"""It also misses shouts and screams, most often women's, so it listens a second time, 1.6 times slower and deeper."""


@dataclass(frozen=True)
class Quality:
    """What was measured in a recording, and what a person can do about it.

    Attributes:
        speech_s: seconds in which somebody speaks.
        speech_share: part of the recording in which somebody speaks, 0 to 1.
        level_dbfs: root mean square of the speech, dB below full scale; nan without speech.
        peak: largest absolute sample, 0 to 1.
        clipped_share: part of the samples at full scale, 0 to 1.
        snr_db: level of the speech above that of the pauses; nan without speech, or without a pause of 0.2 s.
        verdict: 'good', 'usable' (with advice) or 'poor' (better record again).
        advice: what to do, in words, the most important first; empty where all is good.
    """

    speech_s: float
    speech_share: float
    level_dbfs: float
    peak: float
    clipped_share: float
    snr_db: float
    verdict: Verdict
    advice: tuple[str, ...]

    def to_dict(self) -> dict[str, float | str | list[str] | None]:
        """For JSON: what could not be measured is None."""
        values = {**asdict(self), "advice": list(self.advice)}
        return {name: None if value != value else value for name, value in values.items()}


def assess(recording: Recording | np.ndarray) -> Quality:
    """Measure a recording and say whether it will do for enrolment.

    Args:
        recording: as read, neither levelled nor trimmed; or its waveform, (N,) float32, 16 kHz.
    """
    waveform = recording.waveform if isinstance(recording, Recording) else np.asarray(recording, dtype=np.float32)
    spans = speech_spans(waveform)
    speech = _inside(spans, len(waveform), margin_s=0.0)
    measured = {
        "speech_s": float(speech.sum()) / SAMPLE_RATE,
        "speech_share": float(speech.mean()) if len(speech) else 0.0,
        "level_dbfs": _dbfs(np.mean(np.square(waveform[speech], dtype=np.float64))) if speech.any() else math.nan,
        "peak": float(np.abs(waveform).max(initial=0.0)),
        "clipped_share": float(np.mean(np.abs(waveform) >= _CLIPPED_AT)) if len(waveform) else 0.0,
    }
    pauses = waveform[~_inside(spans, len(waveform), margin_s=_PAUSE_MARGIN_S)]
    snr_db = measured["level_dbfs"] - _floor_dbfs(pauses)
    findings = _findings(**measured, snr_db=snr_db)
    return Quality(**measured, snr_db=snr_db, verdict=_worst(findings), advice=tuple(words for _, words in findings))


def speech_spans(waveform: np.ndarray) -> list[tuple[float, float]]:
    """Where somebody speaks: (start, end) in seconds, in order.

    Args:
        waveform: (N,) float32 in [-1, 1], 16 kHz, at any level.
    """
    if len(waveform) < _FRAME or not np.any(waveform):
        return []
    audible = torch.from_numpy(_audible(waveform))
    return _union([*_DETECTOR(audible, 1.0), *_second_time(audible)])


def has_speech(waveform: np.ndarray) -> bool:
    """Whether 0.3 s of speech or more are found in the loudest second, or in all of it as `speech_spans` finds it: none of 950
    utterances of RAVDESS, EmoDB, nEMO and a Korean corpus had less.

    Args:
        waveform: (N,) float32 in [-1, 1], 16 kHz, at any level.
    """
    if len(waveform) < _FRAME or not np.any(waveform):
        return False
    audible = torch.from_numpy(_audible(waveform))
    loudest = _loudest(audible)
    if len(loudest) < len(audible) and _seconds(_DETECTOR(loudest, 1.0)) >= LEAST_SPEECH_S:
        return True  # three times faster, and it need not listen to half a minute
    found = _DETECTOR(audible, 1.0)
    if _seconds(found) < LEAST_SPEECH_S:  # listened to a second time only where it matters
        found = _union([*found, *_second_time(audible)])
    return _seconds(found) >= LEAST_SPEECH_S


def _loudest(audible: torch.Tensor) -> torch.Tensor:
    """The second with the most energy."""
    energy = torch.cat([torch.zeros(1, dtype=torch.float64), audible.double().square().cumsum(0)])
    if len(audible) <= SAMPLE_RATE:
        return audible
    start = int((energy[SAMPLE_RATE:] - energy[:-SAMPLE_RATE]).argmax())
    return audible[start : start + SAMPLE_RATE]


def _second_time(audible: torch.Tensor) -> list[tuple[float, float]]:
    few, many = _PITCH_DOWN
    return _DETECTOR(resample(audible, few, many), many / few)


def _seconds(spans: list[tuple[float, float]]) -> float:
    return sum(end - start for start, end in spans)


class _Detector:
    """silero-vad, loaded when first asked, in a thread of its own.

    It keeps state while it listens, so one caller at a time; and on a busy computer its many small steps take a hundred
    times as long unless torch works on one core, a setting that torch keeps by thread.
    """

    def __init__(self):
        self._starting = threading.Lock()
        self._thread: ThreadPoolExecutor | None = None

    def __call__(self, waveform: torch.Tensor, slowed: float) -> list[tuple[float, float]]:
        """Spans in seconds of what (N,) samples were before they were slowed."""
        with self._starting:
            if self._thread is None:
                self._thread = self._start()
        spans = self._thread.submit(self._listen, waveform).result()
        return [(span["start"] / SAMPLE_RATE / slowed, span["end"] / SAMPLE_RATE / slowed) for span in spans]

    def _start(self) -> ThreadPoolExecutor:
        n_threads = torch.get_num_threads()
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="speech-detector")
        try:
            thread.submit(self._load).result()
        finally:
            torch.set_num_threads(n_threads)  # threads born later take the last value set anywhere
        return thread

    def _load(self) -> None:
        torch.get_num_threads()  # a thread takes the shared number when it first asks, and then keeps its own
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit.load, which is the only way in
            from silero_vad import get_speech_timestamps, load_silero_vad  # when first imported, sets one thread too

            torch.set_num_threads(1)
            self._model, self._timestamps = load_silero_vad(), get_speech_timestamps

    def _listen(self, waveform: torch.Tensor) -> list[dict[str, int]]:
        return self._timestamps(waveform, self._model, sampling_rate=SAMPLE_RATE)


_DETECTOR = _Detector()


def _findings(speech_s, speech_share, level_dbfs, peak, clipped_share, snr_db) -> list[tuple[Verdict, str]]:
    if speech_s < LEAST_SPEECH_S:
        return [("poor", "No speech was found. Check that the right microphone is chosen, and say a whole sentence.")]
    findings: list[tuple[bool, Verdict, str]] = [
        (
            clipped_share >= _CLIPPED_SHARE,
            "poor" if clipped_share >= _DISTORTED_SHARE else "usable",
            "The sound is distorted because it was too loud. Move a little away from the microphone, or turn it down.",
        ),
        (
            level_dbfs < _QUIET_DBFS,
            "poor" if level_dbfs < _FAINT_DBFS else "usable",
            "Your voice is very quiet. Come closer to the microphone, or turn it up.",
        ),
        (
            snr_db < _SOME_NOISE_SNR_DB,
            "poor" if snr_db < _NOISE_SNR_DB else "usable",
            "There is a lot of noise around you: with noisy recordings the answers for you can be worse than those for everybody. "
            "Go to a quieter place, or come closer to the microphone.",
        ),
        (
            speech_s < _SHORT_SPEECH_S,
            "usable",
            f"Only {speech_s:.1f} seconds of speech were found. Say a whole sentence.",
        ),
        (
            speech_share < _LITTLE_SPEECH_SHARE,
            "usable",
            "Most of the recording is silence. Start to speak right away, and stop the recording when you are done.",
        ),
    ]
    found = [(verdict, words) for holds, verdict, words in findings if holds]
    return sorted(found, key=lambda finding: finding[0] != "poor")


def _worst(findings: list[tuple[Verdict, str]]) -> Verdict:
    return findings[0][0] if findings else "good"


def _union(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _inside(spans: list[tuple[float, float]], n_samples: int, margin_s: float) -> np.ndarray:
    inside = np.zeros(n_samples, dtype=bool)
    for start, end in spans:
        inside[max(0, round((start - margin_s) * SAMPLE_RATE)) : round((end + margin_s) * SAMPLE_RATE)] = True
    return inside


def _frame_energy(samples: np.ndarray) -> np.ndarray:
    n_frames = len(samples) // _FRAME
    return np.square(samples[: n_frames * _FRAME].reshape(n_frames, _FRAME), dtype=np.float64).mean(axis=1)


def _floor_dbfs(pauses: np.ndarray) -> float:
    """Level of the pauses; their median frame, so that a breath or a click does not count as noise."""
    return _dbfs(np.median(_frame_energy(pauses))) if len(pauses) >= _MIN_PAUSE_S * SAMPLE_RATE else math.nan


def _audible(waveform: np.ndarray) -> np.ndarray:
    loud_dbfs = _dbfs(np.quantile(_frame_energy(waveform), 0.95))
    gain = 10 ** (min(_LOUD_DBFS - loud_dbfs, _MAX_GAIN_DB) / 20)
    return np.clip(waveform * gain, -1.0, 1.0).astype(np.float32)


def _dbfs(energy: float) -> float:
    return 10 * math.log10(max(float(energy), 10 ** (_FLOOR_DBFS / 10)))
