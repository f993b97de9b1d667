"""Pitch, energy and rate: measured on sounds made by formula, and changed one at a time."""

import math

import numpy as np
import pytest
import torch

from ser_core.data.acoustics import energy_db, pitch_hz, rate_hz, with_energy, with_pitch, with_rate
from ser_core.data.audio import SAMPLE_RATE


def voice(hz: float, syllables_hz: float = 4.0, seconds: float = 2.0) -> torch.Tensor:
    """Ten harmonics that swell and fade so often a second."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tone = sum(np.sin(2 * np.pi * hz * harmonic * time) / harmonic for harmonic in range(1, 11))
    return torch.from_numpy((0.1 * tone * np.sin(np.pi * syllables_hz * time) ** 2).astype(np.float32))


@pytest.mark.parametrize("hz", [90.0, 130.0, 210.0, 300.0])
def test_the_pitch_of_a_buzz_is_that_of_its_formula(hz):
    assert pitch_hz(voice(hz)) == pytest.approx(hz, rel=0.02)


@pytest.mark.parametrize("often", [2.0, 4.0, 6.0])
def test_syllables_are_counted(often):
    assert rate_hz(voice(150.0, often)) == pytest.approx(often, rel=0.15)


def test_energy_is_the_mean_square_in_decibels():
    assert energy_db(torch.full((1000,), 0.1)) == pytest.approx(-20.0, abs=1e-4)
    assert energy_db(with_energy(voice(150.0), 2.0)) - energy_db(voice(150.0)) == pytest.approx(
        20 * math.log10(2), abs=1e-4
    )


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_pitch_is_moved_and_length_and_rate_are_kept(factor):
    before = voice(160.0)
    after = with_pitch(before, factor)
    assert len(after) == pytest.approx(len(before), rel=0.01)
    assert pitch_hz(after) == pytest.approx(160.0 * factor, rel=0.03)
    assert rate_hz(after) == pytest.approx(rate_hz(before), rel=0.15)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_rate_is_moved_and_pitch_is_kept(factor):
    before = voice(160.0)
    after = with_rate(before, factor)
    assert len(after) == round(len(before) / factor)
    assert pitch_hz(after) == pytest.approx(160.0, rel=0.03)
    assert rate_hz(after) == pytest.approx(rate_hz(before) * factor, rel=0.2)


def test_what_cannot_be_measured_is_not_a_number():
    assert math.isnan(pitch_hz(torch.zeros(1000))) and math.isnan(rate_hz(torch.zeros(SAMPLE_RATE)))
