"""What benchmarks/speed.py counts is what there is; how long anything takes is not asserted."""

import json
import math
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import (
    AutoModel,
    Wav2Vec2Config,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForAudioClassification,
)

from ser_core.data.corpora.synthetic import speechlike

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.append(str(REPOSITORY / "benchmarks"))

import speed  # noqa: E402
import speed_systems  # noqa: E402

COMPACT = REPOSITORY / "assets" / "models" / "compact"


def asked(**changed) -> Namespace:
    return Namespace(**{"name": "", "seconds": 0.6, "weights": None, "corpus": None, "workspace": None, **changed})


@pytest.fixture(scope="module")
def tiny_whisper(tmp_path_factory) -> Path:
    """A folder as Whisper's, with random weights of a size of 8."""
    folder = tmp_path_factory.mktemp("whisper")
    config = WhisperConfig(d_model=8, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=8, num_labels=7)
    WhisperForAudioClassification(config).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    return folder


def test_a_linear_layer_multiplies_once_for_each_weight_and_row():
    layer, rows = nn.Linear(8, 3), torch.zeros(5, 8)
    assert speed_systems.macs(lambda: layer(rows)) == 5 * 8 * 3


def test_attention_counts_though_torch_does_not_see_it_on_a_cpu():
    frames = torch.zeros(1, 4, 50, 16)
    assert speed_systems.macs(lambda: scaled_dot_product_attention(frames, frames, frames)) == 2 * 4 * 50 * 50 * 16


def test_a_transformer_layer_counts_though_torch_fuses_it():
    layer, frames = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True).eval(), torch.zeros(1, 50, 64)
    projections, attention, feedforward = 4 * 50 * 64 * 64, 2 * 50 * 50 * 64, 2 * 50 * 64 * 128
    with torch.inference_mode():
        assert speed_systems.macs(lambda: layer(frames)) == projections + attention + feedforward
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_wav2vec2_forward_counts_as_by_hand():
    d, n = 16, 16_000
    config = Wav2Vec2Config(
        hidden_size=d, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, conv_dim=(8,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    system, expected, width = speed_systems._forward("tiny", config, asked(seconds=1.0)), 0, 1
    for kernel, stride in zip((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2), strict=True):
        n = (n - kernel) // stride + 1
        expected, width = expected + n * 8 * width * kernel, 8
    positions = (n + 1) * d * (d // 2) * 16
    layers = 2 * (n * (4 * d * d + 2 * d * 32) + 2 * n * n * d)
    with torch.inference_mode():  # as systems are measured
        assert speed_systems.macs(system.answer) == expected + n * 8 * d + positions + layers


def test_peak_memory_is_that_of_this_process_in_mebibytes():
    held = np.ones(2**25)  # 256 MiB
    resident = psutil.Process().memory_info().rss / 2**20
    assert held.sum() and resident - 1 <= speed_systems.peak_mib() < psutil.virtual_memory().total / 2**20


def test_percentiles_and_rates_are_those_of_hand():
    found = speed_systems.summary([10.0, 20.0, 30.0, 40.0], 2)
    assert found == {"repetitions": 4, "p50_ms": 25.0, "p95_ms": 38.5, "utterances_per_s": 80.0}


@pytest.mark.parametrize(("one_ms", "n"), [(10.0, 30), (1000.0, 10), (60_000.0, 5)])
def test_what_is_slow_is_repeated_less_often_but_five_times(one_ms, n):
    assert speed_systems.repetitions(30, 5, one_ms) == n


def test_nobody_is_repeated_more_often_than_was_asked_for():
    assert speed_systems.repetitions(2, 5, 60_000.0) == 2


@pytest.mark.parametrize(
    ("config", "millions"),
    [(speed_systems.wav2vec2_base_config, 94.4), (speed_systems.wavlm_large_config, 315.5)],
    ids=["wav2vec2-base", "WavLM-large"],
)
def test_the_stand_ins_have_the_published_sizes(config, millions):
    with torch.device("meta"):
        model = AutoModel.from_config(config())
    assert sum(each.numel() for each in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


def test_the_pipeline_hears_30_seconds_whatever_was_said(tiny_whisper):
    short, long = (speed_systems.padded_whisper(asked(weights=tiny_whisper, seconds=s)) for s in (0.6, 3.0))
    first = 3000 * 80 * 8 * 3  # its first convolution: 3000 frames, 80 bands, 8 channels, kernel 3
    assert speed_systems.macs(short.answer) == speed_systems.macs(long.answer) > first
    assert len(short.answer_many()) == speed_systems.BATCH


def test_cepstral_statistics_are_means_and_deviations_of_coefficients_and_their_slopes():
    features, waveform = speed_systems.CepstralStatistics(), torch.from_numpy(speechlike(0.6))
    cepstra = features.mfcc(waveform).numpy()  # (M, T)
    padded = np.pad(cepstra, ((0, 0), (2, 2)), mode="edge")
    slopes = sum(n * (padded[:, 2 + n : 2 + n + cepstra.shape[1]] - padded[:, 2 - n : 2 - n + cepstra.shape[1]]) for n in (1, 2)) / 10  # fmt: skip
    both = np.concatenate([cepstra, slopes])
    expected = np.concatenate([both.mean(axis=1), both.std(axis=1)])
    np.testing.assert_allclose(features(waveform[None])[0].numpy(), expected, rtol=1e-3, atol=1e-3)


def test_an_svm_fitted_on_a_corpus_answers_with_its_emotions(tmp_path):
    system = speed_systems.mfcc_svm(asked(corpus=f"synthetic={tmp_path / 'made'}"))
    assert "128 utterances of synthetic" in system.what
    assert set(system.answer_many()) <= {"neutral", "happiness", "sadness", "anger"} and len(system.answer()) == 1


def test_ratios_are_of_medians_and_do_not_exist_without_the_reference():
    rows = [{"name": "wav2vec2-base", "p50_ms": 300.0}, {"name": "compact", "p50_ms": 10.0}]
    assert [row["times_faster"] for row in speed.with_ratios(rows)] == [1.0, 30.0]
    assert math.isnan(speed.with_ratios(rows[1:])[0]["times_faster"])


def test_one_command_measures_in_processes_of_their_own_and_writes_what_it_prints(tmp_path, capsys):
    output = tmp_path / "speed.json"
    small = ["--seconds", "0.6", "--repetitions", "1", "--threads", "1", "--workspace", str(tmp_path / "workspace")]
    assert speed.main([*small, "--only", "compact", "--only", "mfcc-svm", "--output", str(output)]) == 0
    compact, svm = json.loads(output.read_text())["systems"]
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(printed) == 4 and compact["what"] in printed[2] and svm["what"] in printed[3]
    assert compact["repetitions"] == svm["repetitions"] == 1 and compact["threads"] == 1
    assert compact["batch"]["peak_mib"] >= compact["peak_mib"] > svm["peak_mib"] > 0
    assert compact["weights_m"] <= _stored_values(
        COMPACT / "encoder", COMPACT / "baseline", COMPACT / "speaker_reference"
    )
    assert compact["weights_m"] > _stored_values(COMPACT / "encoder") and compact["times_faster"] is None


def _stored_values(*folders: Path) -> float:
    """Millions of values in weights files: the weights, and a few statistics that are none."""
    files = [file for folder in folders for file in folder.glob("*.safetensors")]
    return sum(_n_values(file) for file in files) / 1e6


def _n_values(file: Path) -> int:
    with safe_open(file, framework="np") as opened:
        return sum(math.prod(opened.get_slice(name).get_shape()) for name in opened.keys())  # noqa: SIM118


def test_without_whisper_its_systems_are_left_out_and_it_is_said_why(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("SER_WEIGHTS", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    words = ["--only", "whisper-pipeline", "--weights", str(tmp_path / "nowhere"), "--workspace", str(tmp_path / "w")]
    assert speed.main(words) == 0
    assert "Left out: whisper-pipeline: the encoder 'nowhere' is not on this machine" in capsys.readouterr().out


def test_a_system_that_fails_is_not_passed_over(tmp_path, tiny_whisper):
    words = ["--only", "mfcc-svm", "--corpus", f"mine={tmp_path / 'absent'}", "--workspace", str(tmp_path / "w")]
    with pytest.raises(speed.MeasurementFailed, match="mfcc-svm ended with exit code 1"):
        speed.main([*words, "--weights", str(tiny_whisper)])
