"""ECAPA says what SpeechBrain's own classes say, from folders without .ckpt files, and tells how to mend what is missing."""

import json
import runpy
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ser_core.encoders import ENCODERS, SPEAKER_ENCODERS, ecapa, load_encoder
from ser_core.encoders.cache import EmbeddingCache
from ser_core.encoders.ecapa import Ecapa, EcapaSettings
from ser_core.weights import EncoderUnavailable

if find_spec("speechbrain") is None:  # importing it here would be before the encoder has said how
    pytest.skip("the extra 'ecapa' is not installed", allow_module_level=True)

TINY = {"channels": [16, 16, 16, 16, 48], "attention_channels": 8}
"""As the published model else."""


def _waveforms(*seconds: float) -> list[torch.Tensor]:
    rng = np.random.default_rng(3)
    return [torch.from_numpy(rng.normal(0, 0.05, int(16_000 * s)).astype(np.float32)) for s in seconds]


def _network() -> torch.nn.Module:
    """SpeechBrain's, with random weights and random statistics in its normalisations."""
    _, ecapa_tdnn = ecapa._speechbrain()
    torch.manual_seed(0)
    network = ecapa_tdnn(80, lin_neurons=192, **TINY).eval()
    for name, buffer in network.named_buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.rand_like(buffer) + (0.5 if name.endswith("var") else -0.5))
    return network


@pytest.fixture
def folder(tmp_path):
    """As a user makes it of the published files: the network's weights by SpeechBrain's names, and a config.json."""
    place = tmp_path / "voice"
    place.mkdir()
    (place / "config.json").write_text(json.dumps({"speechbrain_interface": "SpeakerRecognition", **TINY}))
    save_file(_network().state_dict(), place / "model.safetensors")
    return place


def test_an_embedding_is_what_speechbrains_own_speaker_recogniser_makes_of_the_waveform(folder):
    encoder = load_encoder("ecapa", folder)
    from speechbrain.inference.classifiers import EncoderClassifier
    from speechbrain.lobes.features import Fbank
    from speechbrain.processing.features import InputNormalization

    modules = {
        "compute_features": Fbank(n_mels=80),
        "mean_var_norm": InputNormalization(norm_type="sentence", std_norm=False),
        "embedding_model": _network(),
        "classifier": torch.nn.Identity(),
    }
    theirs = EncoderClassifier(modules, {"label_encoder": None})
    for waveform in _waveforms(0.3, 1.0, 2.5):
        with torch.inference_mode():
            ours, expected = encoder.pooled([waveform]), theirs.encode_batch(waveform[None])
        assert ours.shape == (1, 1, 192) and ours.dtype == torch.float32
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)


def test_the_sizes_not_told_are_those_of_the_published_model():
    with torch.device("meta"):
        tensors = Ecapa().network.state_dict().values()
    weight = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    assert 0 < 83_316_686 - weight < 100_000  # bytes of the published file, which names each tensor besides


def test_an_utterance_does_not_depend_on_its_neighbours_in_the_batch(folder):
    encoder = load_encoder("ecapa", folder)
    waveforms = _waveforms(0.3, 1.5, 0.7)
    alone = torch.cat([encoder.pooled([waveform]) for waveform in waveforms])
    assert torch.equal(encoder.pooled(waveforms), alone)
    assert len(alone[:, 0].unique(dim=0)) == 3


def test_it_is_never_trained(folder):
    encoder = load_encoder("ecapa", folder)
    before = encoder.pooled(_waveforms(0.5))
    assert not any(module.training for module in encoder.train().modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert torch.equal(encoder.pooled(_waveforms(0.5)), before)


def test_an_autocast_does_not_lower_its_precision(folder):
    encoder = load_encoder("ecapa", folder)
    before = encoder.pooled(_waveforms(0.5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(encoder.pooled(_waveforms(0.5)), before)


def test_the_cache_keeps_embeddings_of_a_real_utterance(folder, tmp_path, speech_file):
    encoder = load_encoder("ecapa", folder)
    first = EmbeddingCache(tmp_path / "cache", encoder).embed([str(speech_file)])
    second = EmbeddingCache(tmp_path / "cache", encoder)
    assert first.shape == (1, 1, 192) and first.isfinite().all() and first.std() > 0
    assert torch.equal(second.embed([str(speech_file)]), first) and second.n_read == 0


@pytest.mark.parametrize(("half", "tolerance"), [(False, 0.0), (True, 1e-2)])
def test_it_survives_saving(half, tolerance, tmp_path):
    torch.manual_seed(1)
    encoder = Ecapa(EcapaSettings(**TINY, n_mels=40, lin_neurons=24))
    encoder.heard_speakers = ("anna", "bert")
    encoder.save(tmp_path, half)
    again = load_encoder("ecapa", tmp_path)
    assert again.heard_speakers == ("anna", "bert") and again.fingerprint != encoder.fingerprint
    waveforms = _waveforms(1.0)
    torch.testing.assert_close(again.pooled(waveforms), encoder.pooled(waveforms), atol=tolerance, rtol=tolerance)


def test_other_weights_or_sizes_are_another_fingerprint(folder):
    prints = {load_encoder("ecapa", folder).fingerprint}
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dilations": [1, 1, 1, 1, 1]}))
    prints.add(load_encoder("ecapa", folder).fingerprint)
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"fc.conv.bias": tensors["fc.conv.bias"] + 1}, folder / "model.safetensors")
    prints.add(load_encoder("ecapa", folder).fingerprint)
    assert len(prints) == 3


# what is missing or broken


def _without_weights(folder):
    (folder / "model.safetensors").unlink()


def _broken(folder):
    (folder / "model.safetensors").write_bytes(b"nonsense")


def _one_tensor_short(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["mfa.conv.conv.weight"]
    save_file(tensors, folder / "model.safetensors")


def _of_other_names(folder):
    save_file({"encoder.weight": torch.zeros(2)}, folder / "model.safetensors")


def _of_the_published_size(folder):
    (folder / "config.json").write_text('{"speechbrain_interface": "SpeakerRecognition"}')


def _checkpoint_only(folder):
    (folder / "model.safetensors").rename(folder / "embedding_model.ckpt")
    (folder / "config.json").unlink()


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (_without_weights, r"'voice' has no \*.safetensors"),
        (_broken, "the weights in 'voice' are broken"),
        (_one_tensor_short, "'voice' does not hold SpeechBrain's ECAPA-TDNN of the sizes"),
        (_of_other_names, "'voice' does not hold SpeechBrain's ECAPA-TDNN of the sizes"),
        (_of_the_published_size, "'voice' does not hold SpeechBrain's ECAPA-TDNN of the sizes"),
        (_checkpoint_only, r"'voice' has embedding_model.ckpt but no \*.safetensors.*convert.*once.*README.md, ECAPA"),
    ],
)
def test_a_folder_that_cannot_be_used_is_named_with_the_remedy(harm, says, folder):
    harm(folder)
    with pytest.raises(EncoderUnavailable, match=says):
        load_encoder("ecapa", folder)


@pytest.mark.parametrize(
    "config",
    ["[]", '{"channels": [16, 16]}', '{"channels": 16}', '{"channels": "wide"}', '{"n_mels": -1}', '{"lin_neurons": null}',
     '{"channels": [8, 8, 8, 8, 8, 8], "kernel_sizes": [3, 3, 3, 3, 3, 3], "dilations": [1, 1, 1, 1, 1, 1]}'],
)  # fmt: skip
def test_sizes_that_make_no_network_are_refused(config, folder):
    (folder / "config.json").write_text(config)
    with pytest.raises(
        EncoderUnavailable,
        match="'voice' (does not hold SpeechBrain's ECAPA-TDNN of the sizes|has no readable config.json)",
    ):
        load_encoder("ecapa", folder)


def test_a_hub_id_of_which_the_checkpoint_alone_was_fetched_is_told_how_to_convert_it(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("SER_WEIGHTS", raising=False)
    model = tmp_path / "models--speechbrain--spkrec-ecapa-voxceleb"
    (model / "snapshots" / "5c0be3a").mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("5c0be3a")
    (model / "snapshots" / "5c0be3a" / "embedding_model.ckpt").write_bytes(b"\x80\x04.")
    with pytest.raises(EncoderUnavailable, match="has embedding_model.ckpt but no .*README.md, ECAPA"):
        load_encoder("ecapa")


def test_weights_that_are_not_here_are_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.delenv("SER_WEIGHTS", raising=False)
    with pytest.raises(EncoderUnavailable, match="'nobody' is not on this machine.*SER_WEIGHTS"):
        load_encoder("ecapa", tmp_path / "nobody")


# the library


def test_without_speechbrain_the_file_is_read_and_the_cure_is_named_on_use(folder, monkeypatch):
    for name in ("speechbrain", "speechbrain.lobes.features", "speechbrain.lobes.models.ECAPA_TDNN"):
        monkeypatch.setitem(sys.modules, name, None)  # any import of it fails
    runpy.run_path(ecapa.__file__)
    with pytest.raises(EncoderUnavailable, match=r"not installed: pip install \"attune-ser\[ecapa\]\""):
        load_encoder("ecapa", folder)


def test_importing_speechbrain_leaves_the_precision_of_everyone_else_alone():
    ecapa._speechbrain()
    from speechbrain.utils.quirks import applied_quirks

    assert not applied_quirks & {"allow_tf32", "disable_jit_profiling"}


def test_whoever_looks_through_all_modules_imports_nothing_by_it(folder):
    load_encoder("ecapa", folder)
    for name, module in list(sys.modules.items()):
        if name.startswith("speechbrain"):
            assert not hasattr(module, "no such thing"), name  # else an ImportError


def test_no_recipe_may_learn_on_an_encoder_of_a_voice():
    assert "ecapa" in SPEAKER_ENCODERS and not set(SPEAKER_ENCODERS) & set(ENCODERS)
