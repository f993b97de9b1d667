"""Contract of every encoder, and the truth of Whisper's from transformers."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from transformers import (
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForAudioClassification,
    WhisperForConditionalGeneration,
    WhisperModel,
)

from ser_core.encoders import ENCODERS, load_encoder
from ser_core.encoders.base import statistics
from ser_core.encoders.compact import Compact, CompactSettings
from ser_core.encoders.wav2vec2 import Wav2Vec2
from ser_core.encoders.whisper import Whisper
from ser_core.weights import EncoderUnavailable, find_folder

SMALL = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32,
    "conv_dim": (8, 8), "conv_stride": (5, 64), "conv_kernel": (10, 64), "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
WHISPER = WhisperConfig(
    d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32, decoder_layers=1,
    decoder_attention_heads=2, decoder_ffn_dim=32, num_mel_bins=80, vocab_size=64, pad_token_id=0,
    bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, classifier_proj_size=8,
)  # fmt: skip
COMPACT = CompactSettings(width=32, n_transformer_layers=2, n_heads=2, feedforward=64)


def _encoders():
    torch.manual_seed(0)
    return {
        "whisper": Whisper(WHISPER),
        "wav2vec2 (layer norm)": Wav2Vec2(
            Wav2Vec2Config(**SMALL, feat_extract_norm="layer", do_stable_layer_norm=True)
        ),
        "wav2vec2 (group norm)": Wav2Vec2(Wav2Vec2Config(**SMALL)),
        "hubert": Wav2Vec2(HubertConfig(**SMALL)),
        "wavlm": Wav2Vec2(WavLMConfig(**SMALL, feat_extract_norm="layer", num_buckets=16, max_bucket_distance=32)),
        "compact": Compact(COMPACT),
    }


ALL = _encoders()


@pytest.fixture(params=ALL, ids=list(ALL))
def encoder(request):
    return ALL[request.param].eval()


def _waveforms(*seconds: float) -> list[torch.Tensor]:
    rng = np.random.default_rng(3)
    return [torch.from_numpy(rng.normal(0, 0.05, int(16_000 * s)).astype(np.float32)) for s in seconds]


def test_an_utterance_does_not_depend_on_its_neighbours_in_the_batch(encoder):
    waveforms = _waveforms(0.7, 1.5, 1.0)
    with torch.inference_mode():
        together = encoder.pooled(waveforms)
        alone = torch.cat([encoder.pooled([waveform]) for waveform in waveforms])
    torch.testing.assert_close(together, alone, atol=2e-4, rtol=1e-3)


def test_shapes_are_what_the_encoder_says(encoder):
    with torch.inference_mode():
        layers, mask = encoder(_waveforms(0.7, 1.5))
    assert layers.shape[:2] == (2, encoder.n_layers) and layers.shape[3] == encoder.width
    assert mask.shape == (2, layers.shape[2]) and mask[1].all() and not mask[0].all()
    assert not layers[0, :, ~mask[0]].any()
    assert encoder.pooled(_waveforms(0.6)).shape == (1, encoder.n_layers, 2 * encoder.width)


def test_pooling_is_mean_and_standard_deviation_over_the_frames_there_are():
    frames = np.random.default_rng(0).normal(size=(5, 3))
    layers = torch.zeros(1, 1, 8, 3, dtype=torch.float64)
    layers[0, 0, :5] = torch.from_numpy(frames)
    pooled = statistics(layers, torch.arange(8)[None] < 5)
    np.testing.assert_allclose(pooled[0, 0], np.concatenate([frames.mean(axis=0), frames.std(axis=0)]), atol=1e-6)


def test_whisper_equals_the_published_encoder_where_that_is_fed_its_30_s():
    encoder = Whisper(WHISPER).eval()
    waveform = torch.nn.functional.pad(_waveforms(3.0)[0], (0, 27 * 16_000))
    features = WhisperFeatureExtractor(feature_size=80)(waveform.numpy(), sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        ours, mask = encoder([waveform])
        theirs = encoder.encoder(features.input_features, output_hidden_states=True)
        last = encoder.encoder.layer_norm(ours[:, -1])
    assert ours.shape[2] == 1500 and mask.all()
    torch.testing.assert_close(last, theirs.last_hidden_state, atol=2e-3, rtol=1e-3)


def test_whisper_hears_the_mel_bands_that_transformers_makes():
    waveform = _waveforms(30.0)[0]
    theirs = WhisperFeatureExtractor(feature_size=80)(
        waveform.numpy(), sampling_rate=16_000, return_tensors="np"
    ).input_features[0]
    np.testing.assert_allclose(Whisper(WHISPER).mel(waveform), theirs, atol=1e-3)


@pytest.mark.parametrize("kind", [WhisperModel, WhisperForAudioClassification, WhisperForConditionalGeneration])
def test_whisper_is_read_from_any_folder_that_holds_its_encoder(kind, tmp_path):
    torch.manual_seed(1)
    published = kind(WHISPER)
    published.save_pretrained(tmp_path)
    encoder = load_encoder("whisper", tmp_path)
    part = published.get_encoder() if hasattr(published, "get_encoder") else published.encoder
    assert torch.equal(encoder.encoder.conv1.weight, part.conv1.weight)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (Wav2Vec2Model, Wav2Vec2Config(**SMALL)),
        (HubertModel, HubertConfig(**SMALL)),
        (WavLMModel, WavLMConfig(**SMALL, num_buckets=16)),
    ],
)
def test_wav2vec2_and_its_kin_are_read_from_a_folder(kind, config, tmp_path):
    torch.manual_seed(1)
    published = kind(config).eval()
    published.save_pretrained(tmp_path)
    encoder = load_encoder("wav2vec2", tmp_path)
    waveform = _waveforms(1.0)[0]
    heard = (waveform - waveform.mean()) / (waveform.var(correction=0) + 1e-7).sqrt()
    with torch.inference_mode():
        ours, theirs = encoder([waveform])[0][0, -1], published(heard[None]).last_hidden_state[0]
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)


def test_compact_survives_saving_in_half_precision(tmp_path):
    torch.manual_seed(1)
    encoder = Compact(COMPACT).eval()
    encoder.save(tmp_path)
    again = load_encoder("compact", tmp_path)
    waveforms = _waveforms(1.0)
    with torch.inference_mode():
        torch.testing.assert_close(again.pooled(waveforms), encoder.pooled(waveforms), atol=2e-2, rtol=2e-2)
    assert again.fingerprint != encoder.fingerprint


def test_the_fingerprint_changes_with_the_weights(tmp_path):
    prints = set()
    for seed in (1, 2):
        torch.manual_seed(seed)
        Compact(COMPACT).save(tmp_path / str(seed))
        prints.add(load_encoder("compact", tmp_path / str(seed)).fingerprint)
    assert len(prints) == 2


@pytest.mark.parametrize("name", ENCODERS)
def test_weights_that_are_not_here_are_named_with_the_remedy(name, tmp_path, monkeypatch):
    monkeypatch.delenv("SER_WEIGHTS", raising=False)
    with pytest.raises(EncoderUnavailable, match="'nobody' is not on this machine.*SER_WEIGHTS"):
        load_encoder(name, tmp_path / "nobody")


def test_pickled_weights_are_never_read(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "whisper"}')
    (tmp_path / "pytest_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(EncoderUnavailable):
        load_encoder("whisper", tmp_path)


@pytest.mark.parametrize("name", ["whisper", "wav2vec2", "compact"])
def test_a_folder_of_another_kind_or_broken_weights_are_refused(name, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(EncoderUnavailable, match=tmp_path.name):
        load_encoder(name, tmp_path)


def test_a_folder_is_found_by_the_end_of_a_hub_id(tmp_path, monkeypatch):
    Compact(COMPACT).save(tmp_path / "some-model-encoder")
    monkeypatch.setenv("SER_WEIGHTS", str(tmp_path))
    assert find_folder("somebody/some-model") == tmp_path / "some-model-encoder"


def test_the_real_whisper_tiny_encoder_loads_and_hears(weights, speech_file):
    from ser_core.data.audio import level_and_trim, read_recording

    encoder = load_encoder("whisper", weights / "whisper-tiny.en-encoder")
    with torch.inference_mode():
        pooled = encoder.pooled([torch.from_numpy(level_and_trim(read_recording(speech_file).waveform))])
    assert pooled.shape == (1, 5, 768) and pooled.isfinite().all()


def test_two_threads_may_ask_one_encoder_at_once():
    """Its hidden layers are overheard by hooks, which must not hear another thread's."""
    encoder = _encoders()["wav2vec2 (layer norm)"].eval()
    waveforms = [torch.randn(8000 + 800 * place) for place in range(4)]
    with torch.inference_mode():
        alone = [encoder((waveform,))[0] for waveform in waveforms]

    def heard(place: int) -> torch.Tensor:
        with torch.inference_mode():
            return encoder((waveforms[place],))[0]

    with ThreadPoolExecutor(4) as threads:
        for place, layers in enumerate(threads.map(heard, [0, 1, 2, 3] * 5)):
            assert torch.equal(layers, alone[place % 4])


def test_a_frame_may_be_put_before_thirty_seconds_of_whisper():
    """As the prefix of PAPT is; the last frame then has the last position twice."""
    encoder = _encoders()["whisper"].eval()
    with torch.inference_mode():
        local, mask = encoder.local((torch.randn(30 * 16_000),))
        longer = torch.cat([local[:, :1], local], dim=1)
        layers = encoder.contextual(longer, torch.ones(longer.shape[:2], dtype=torch.bool))
    assert layers.shape[2] == mask.shape[1] + 1 == 1501 and layers.isfinite().all()
