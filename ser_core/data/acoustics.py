"""Pitch, energy and rate of an utterance: measured, and changed one at a time."""

import math

import numpy as np
import torch
from scipy.signal import find_peaks
from torch import Tensor
from torchaudio.functional import detect_pitch_frequency, phase_vocoder

from ser_core.data.audio import SAMPLE_RATE
from ser_core.data.augmentation import change_speed

_N_FFT, _HOP = 400, 100
_FRAME = SAMPLE_RATE // 100
_LOWEST_HZ, _HIGHEST_HZ = 60, 500


def pitch_hz(waveform: Tensor) -> float:
    """Median fundamental frequency over the louder half of an utterance (N,), in Hz; nan where it is too short."""
    if len(waveform) < SAMPLE_RATE // 4:
        return math.nan
    found = detect_pitch_frequency(waveform, SAMPLE_RATE, frame_time=0.01, freq_low=_LOWEST_HZ, freq_high=_HIGHEST_HZ)
    loud = _intensity_db(waveform)[: len(found)]
    return float(found[: len(loud)][loud >= loud.median()].median())


def energy_db(waveform: Tensor) -> float:
    """Level of an utterance (N,), in dB below full scale."""
    return float(10 * waveform.square().mean().clamp(min=1e-12).log10())


def rate_hz(waveform: Tensor) -> float:
    """Syllables a second: peaks of the intensity that stand out by 2 dB; nan where there are none.

    Source: the idea of de Jong & Wempe 2009, Behavior Research Methods 41(2), 385-390, without their check of voicing.
    """
    smooth = np.convolve(_intensity_db(waveform).clamp(min=-60).numpy(), np.hanning(9) / np.hanning(9).sum(), "same")
    peaks, _ = find_peaks(smooth, prominence=2.0, height=np.median(smooth) - 2)
    return len(peaks) / (len(waveform) / SAMPLE_RATE) if len(peaks) else math.nan


def with_pitch(waveform: Tensor, factor: float) -> Tensor:
    """The pitch (and formants) of (N,) times `factor`, to a hundredth; as long as before."""
    factor = round(factor, 2)
    return change_speed(with_rate(waveform, 1 / factor), factor)[: len(waveform)]


def with_energy(waveform: Tensor, factor: float) -> Tensor:
    """The amplitude of (N,) times `factor`."""
    return waveform * factor


def with_rate(waveform: Tensor, factor: float) -> Tensor:
    """`factor` times faster, (N / factor,), with the pitch it had."""
    window = torch.hann_window(_N_FFT)
    spectrum = torch.stft(waveform, _N_FFT, _HOP, window=window, return_complex=True)
    advance = torch.linspace(0, math.pi * _HOP, _N_FFT // 2 + 1)[:, None]
    length = round(len(waveform) / factor)
    return torch.istft(phase_vocoder(spectrum, factor, advance), _N_FFT, _HOP, window=window, length=length)


def _intensity_db(waveform: Tensor) -> Tensor:
    """Of every 10 ms, (T,)."""
    frames = waveform[: len(waveform) // _FRAME * _FRAME].reshape(-1, _FRAME)
    return 10 * frames.square().mean(dim=1).clamp(min=1e-12).log10()
