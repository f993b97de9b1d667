"""Which feature carries the gap: who is moved by how much, what is heard, and the tables of hand-made answers."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from ser_core.data.audio import SAMPLE_RATE
from ser_core.evaluation.counts import count
from ser_core.evaluation.gaps import change_of
from ser_core.studies.bias_features import (
    ACOUSTIC,
    AS_IT_IS,
    FEATURES,
    PROCESSED,
    conditions,
    heard,
    numbers,
    tables,
    told,
)
from ser_core.studies.stored import RESULTS


def measured_voices() -> pd.DataFrame:
    """Two women an octave above two men, in octaves; energy and rate alike; somebody of unknown gender."""
    voices = {"w1": ("female", 8.0), "w2": ("female", 8.4), "m1": ("male", 7.0), "m2": ("male", 7.4), "x": (None, 9.0)}
    rows = [
        {"speaker": speaker, "group": group, "pitch": pitch + shift, "energy": -3.0, "rate": 2.0}
        for speaker, (group, pitch) in voices.items()
        for shift in (-0.1, 0.1)
    ]
    return pd.DataFrame(rows)


def test_the_difference_between_groups_is_taken_away_and_doubled_and_speakers_of_a_group_stay_as_different():
    factors = dict(conditions(measured_voices()))
    assert list(factors) == [PROCESSED, *(f"{name} {how}" for name in ACOUSTIC for how in ("alike", "further apart"))]
    alike, apart = (np.log2(factors[f"pitch {how}"]) for how in ("alike", "further apart"))
    assert alike.to_dict() == pytest.approx({"m1": 0.5, "m2": 0.5, "w1": -0.5, "w2": -0.5, "x": 0.0})
    assert np.allclose(apart, -alike)
    assert np.allclose(factors["rate alike"], 1) and np.allclose(factors["energy further apart"], 1)


class _Ear:
    """Hears how long a recording is, how loud, and how often it crosses zero."""

    device = torch.device("cpu")

    def pooled(self, waveforms):
        [one] = waveforms
        crossings = (one[1:] * one[:-1] < 0).float().mean()
        return torch.stack([torch.tensor(float(len(one))), one.abs().max(), crossings])[None, None]


def test_one_feature_is_changed_in_the_recording_and_energy_is_levelled_away(tmp_path):
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    path = str(tmp_path / "tone.wav")
    soundfile.write(path, 0.2 * np.sin(2 * np.pi * 200 * time + 0.3), SAMPLE_RATE)
    length, loudness, crossings = heard(_Ear(), [path], [1.0], "energy alike")[0, 0].tolist()
    assert heard(_Ear(), [path], [2.0], "energy alike")[0, 0].tolist() == pytest.approx(
        [length, loudness, crossings], rel=1e-3
    )
    faster = heard(_Ear(), [path], [1.25], "rate alike")[0, 0].tolist()
    assert faster[0] == pytest.approx(length / 1.25, rel=0.05) and faster[2] == pytest.approx(crossings, rel=0.05)
    higher = heard(_Ear(), [path], [1.25], "pitch alike")[0, 0].tolist()
    assert higher[0] == pytest.approx(length, rel=0.05) and higher[2] == pytest.approx(1.25 * crossings, rel=0.05)
    processed = heard(_Ear(), [path], [1.1], PROCESSED)[0, 0].tolist()
    assert processed[0] == pytest.approx(length, rel=0.05) and processed[2] == pytest.approx(crossings, rel=0.05)


@pytest.fixture(scope="module")
def answered() -> pd.DataFrame:
    """Women are taken for angry half of the time; not any more once pitch is alike."""
    rng, parts = np.random.default_rng(0), []
    for condition, share in (
        (AS_IT_IS, 0.5),
        (PROCESSED, 0.5),
        ("pitch alike", 0.0),
        ("energy alike", 0.5),
        ("rate alike", 0.5),
    ):
        for speaker in range(12):
            group = "female" if speaker % 2 else "male"
            truth = np.array(["anger", "neutral"] * 10)
            said = np.where((rng.random(20) < share) & (group == "female"), "anger", truth)
            parts.append(pd.DataFrame({
                "method": "source_only", "seed": 0, "fold": 0, "speaker": f"s{speaker}", "corpus": "toy", "condition": condition,
                "group": group, "emotion": truth, "predicted_emotion": said, "pitch": 8.0 if group == "female" else 7.0,
                "energy": -3.0, "rate": 2.0,
            }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def test_changes_are_those_against_the_recordings_as_they_are(answered):
    results = tables(answered)[RESULTS].set_index("condition")
    parts = {name: count(part) for name, part in answered.groupby("condition")}
    group = answered.groupby("speaker")["group"].first()
    expected = change_of(parts["pitch alike"], parts[AS_IT_IS], group)["eo"]
    assert results.loc["pitch alike", "eo_change"] == expected.value < -0.2
    assert results.loc["pitch alike", "eo"] == 0 and results.loc[AS_IT_IS, "eo_change"] == 0
    assert (results["n_utterances"] == 240).all() and (results["n_speakers"] == 12).all()


def test_features_stand_in_their_units_and_the_answer_is_told(answered):
    found = tables(answered)
    features = found[FEATURES].set_index(["feature", "group"])["mean"]
    assert features["pitch", "female"] == pytest.approx(256) and features["pitch", "male"] == pytest.approx(128)
    assert features["energy", "male"] == pytest.approx(-3 * 20 * np.log10(2)) and features["rate", "male"] == 4
    lines = told(found, str)
    assert lines[0] == "pitch (Hz): female 256.0, male 128.0."
    assert any(line.startswith("source_only, pitch alike: a change of mean ΔEO of -0.") for line in lines)
    assert len(numbers(found, str).rows) == 5
