"""The same utterance, heard otherwise: a part of it, faster or slower, through noise."""

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torchaudio.functional import add_noise
from torchaudio.transforms import Resample

from ser_core.data.audio import SAMPLE_RATE

SPEEDS = (0.9, 1.0, 1.1)
"""Speed factors, which move pitch and formants along (Ko et al. 2015, Interspeech)."""


def change_speed(waveform: Tensor, factor: float) -> Tensor:
    """Play (N,) samples `factor` times faster, (N / factor,)."""
    return waveform if factor == 1.0 else _resampler(round(100 * factor))(waveform)


def random_crop(waveform: Tensor, seconds: float, rng: np.random.Generator) -> Tensor:
    """A stretch of (N,) samples of at most `seconds`."""
    spare = len(waveform) - round(seconds * SAMPLE_RATE)
    if spare <= 0:
        return waveform
    start = int(rng.integers(spare + 1))
    return waveform[start : len(waveform) - spare + start]


def random_noise(waveform: Tensor, rng: np.random.Generator, snr_db: tuple[float, float] = (10.0, 30.0)) -> Tensor:
    """Add noise of a random colour (white to brown) at a random signal-to-noise ratio in dB."""
    spectrum = torch.fft.rfft(torch.from_numpy(rng.standard_normal(len(waveform)).astype(np.float32)))
    slope = rng.uniform(0.0, 1.0)
    coloured = torch.fft.irfft(spectrum / (1 + torch.arange(len(spectrum))) ** slope, n=len(waveform))
    return add_noise(waveform, coloured, torch.tensor(rng.uniform(*snr_db), dtype=torch.float32))


@cache
def _resampler(percent: int) -> Resample:
    return Resample(percent, 100)
