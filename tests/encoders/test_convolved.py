"""Convolutions on a frozen encoder: the authors' formula, what learns, what is kept, and what is refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import WhisperConfig

from ser_core.encoders import ENCODERS, load_encoder
from ser_core.encoders.base import SpeechEncoder, frame_mask
from ser_core.encoders.compact import Compact, CompactSettings
from ser_core.encoders.convolved import Convolved
from ser_core.encoders.tuning import LearningEncoder
from ser_core.encoders.whisper import Whisper
from ser_core.recipe import EncoderChoice
from ser_core.weights import EncoderUnavailable

COMPACT = CompactSettings(width=32, n_transformer_layers=2, n_heads=2, feedforward=64)
WHISPER = WhisperConfig(d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32, num_mel_bins=80)


def _inner(name: str) -> SpeechEncoder:
    torch.manual_seed(0)
    encoder = {"compact": lambda: Compact(COMPACT), "whisper": lambda: Whisper(WHISPER)}[name]()
    return encoder.requires_grad_(False).eval()


def _convolved(name: str = "compact", layers=(0, 1, 2)) -> Convolved:
    encoder = Convolved(_inner(name), layers, name).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        encoder.layer_weights.normal_()
    return encoder.fit(torch.rand(5, encoder.inner.n_layers, 2 * encoder.inner.width) + 0.5)


def _waveforms(*seconds: float) -> list[torch.Tensor]:
    rng = np.random.default_rng(3)
    return [torch.from_numpy(rng.normal(0, 0.05, int(16_000 * s)).astype(np.float32)) for s in seconds]


class _Given(SpeechEncoder):
    """Hands over what it is told, frames that are not there included."""

    n_layers, width, fingerprint = 3, 4, "given"

    def __init__(self, layers: torch.Tensor, n_frames: list[int]):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.given, self.n_frames = layers, n_frames

    def local(self, waveforms):
        return self.given[:, 0], frame_mask(self.n_frames, self.device)

    def contextual(self, local, mask):
        return self.given

    def blocks(self):
        return ()

    def save(self, folder, half=False):
        raise NotImplementedError


@pytest.mark.parametrize("layers", [(0, 1, 2), (2, 0)])
@pytest.mark.parametrize("standardised", [False, True])
def test_frames_are_what_the_papers_formula_says(layers, standardised):
    heard = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
    torch.manual_seed(2)
    encoder = Convolved(_Given(torch.from_numpy(heard), [5, 5]), layers, "given")
    encoder.layer_weights.data = torch.tensor([0.3, -1.0, 2.0])[: len(layers)]
    weights = np.exp(encoder.layer_weights.detach().numpy())
    if standardised:  # by all frames that there are
        flat = heard.transpose(0, 2, 1, 3).reshape(10, 3, 4)
        per_utterance = [heard.mean(axis=2), heard.std(axis=2)]
        encoder.fit(torch.from_numpy(np.concatenate(per_utterance, axis=-1)))
        heard = (heard - flat.mean(axis=0)[None, :, None]) / flat.std(axis=0)[None, :, None]
    frames = np.einsum("l,bltd->btd", weights / weights.sum(), heard[:, list(layers)])
    matrices = [(one.weight.detach().numpy()[:, :, 0], one.bias.detach().numpy()) for one in encoder.convolutions]
    (a, b), (c, d), (e, f) = matrices
    frames = np.maximum(np.maximum(frames @ a.T + b, 0) @ c.T + d, 0) @ e.T + f
    got, mask = encoder([None, None])
    assert got.shape == (2, 1, 5, 256) and mask.all()
    np.testing.assert_allclose(got.detach()[:, 0], frames, atol=1e-5)
    pooled = encoder.pooled([None, None]).detach()
    np.testing.assert_allclose(
        pooled[:, 0], np.concatenate([frames.mean(axis=1), frames.std(axis=1)], axis=-1), atol=2e-4
    )


def test_what_stands_where_there_is_no_frame_changes_nothing():
    layers = torch.randn(2, 3, 6, 4, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(2)
    encoder = Convolved(_Given(layers, [4, 6]), (0, 1, 2), "given")
    before = encoder.pooled([None, None])
    encoder.inner.given = layers.clone()
    encoder.inner.given[0, :, 4:] = 1e3
    frames, mask = encoder([None, None])
    assert torch.equal(encoder.pooled([None, None]), before)
    assert not frames[0, :, ~mask[0]].any() and frames[0, :, mask[0]].any()
    encoder.inner.given = layers[:1, :, :4]
    encoder.inner.n_frames = [4]
    torch.testing.assert_close(encoder.pooled([None]), before[:1])


@pytest.mark.parametrize("name", ["compact", "whisper"])
def test_an_utterance_does_not_depend_on_its_neighbours_in_the_batch(name):
    encoder, waveforms = _convolved(name), _waveforms(0.7, 1.5, 1.0)
    with torch.inference_mode():
        together = encoder.pooled(waveforms)
        alone = torch.cat([encoder.pooled([waveform]) for waveform in waveforms])
    assert together.shape == (3, encoder.n_layers, 2 * encoder.width) == (3, 1, 512)
    torch.testing.assert_close(together, alone, atol=2e-4, rtol=1e-3)


def _learning(**choice) -> LearningEncoder:
    torch.manual_seed(1)
    return LearningEncoder(_inner("compact"), EncoderChoice("compact", tune="convolutions", **choice), (0,))


def test_only_the_convolutions_and_the_weights_of_layers_learn():
    learning = _learning()
    learning(tuple(_waveforms(0.6, 0.9))).square().sum().backward()
    with_gradient = {name for name, weight in learning.encoder.named_parameters() if weight.grad is not None}
    own = {f"convolutions.{place}.{kind}" for place in range(3) for kind in ("weight", "bias")}
    assert with_gradient == set(learning.learned()) == {"layer_weights", *own}
    assert all(weight.grad.any() for weight in learning.learned().values())


def test_all_layers_are_heard_unless_the_recipe_names_some():
    assert _learning().encoder.layers == [0, 1, 2]
    learning = _learning(layers=(1,))
    waveforms = tuple(_waveforms(0.6))
    before = learning(waveforms)
    with torch.no_grad():
        for weight in learning.encoder.inner.layers[1].parameters():  # makes layer 2
            weight += 1.0
    assert torch.equal(learning(waveforms), before)
    with torch.no_grad():
        for weight in learning.encoder.inner.layers[0].parameters():
            weight += 1.0
    assert not torch.allclose(learning(waveforms), before)


def test_a_batch_gives_the_same_gradients_however_it_is_divided():
    """That is why there is no dropout."""
    learning, waveforms = _learning(), _waveforms(0.7, 1.5, 1.0, 0.6)
    gradients = []
    for parts in ([waveforms], [waveforms[:1], waveforms[1:3], waveforms[3:]]):
        learning.zero_grad()
        for part in parts:
            learning(tuple(part)).square().sum().backward()
        gradients.append({name: weight.grad.clone() for name, weight in learning.learned().items()})
    for name, whole in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], whole, rtol=1e-3, atol=1e-3 * float(whole.abs().max()))


def test_what_has_learned_is_taken_out_frozen_and_says_whom_it_heard():
    learning = _learning()
    tuned = learning.merged("tuned", ("anna", "ben"))
    assert isinstance(tuned, Convolved) and tuned.heard_speakers == ("anna", "ben")
    assert not any(weight.requires_grad for weight in tuned.parameters())
    waveforms = tuple(_waveforms(0.6))
    assert torch.equal(tuned.pooled(waveforms), learning(waveforms))


@pytest.mark.parametrize("name", ["compact", "whisper"])
def test_it_survives_saving_with_the_encoder_below(name, tmp_path):
    encoder = _convolved(name, (2, 0))
    encoder.heard_speakers = ("anna",)
    encoder.save(tmp_path / "whole")
    encoder.save(tmp_path / "half", half=True)
    again, half = (load_encoder("convolved", tmp_path / one) for one in ("whole", "half"))
    waveforms = _waveforms(1.0)
    with torch.inference_mode():
        assert torch.equal(again.pooled(waveforms), encoder.pooled(waveforms))
        torch.testing.assert_close(half.pooled(waveforms), encoder.pooled(waveforms), atol=2e-2, rtol=2e-2)
    assert again.layers == [2, 0] and again.heard_speakers == ("anna",) and not again.training
    assert not any(weight.requires_grad for weight in again.parameters())
    assert json.loads((tmp_path / "whole" / "config.json").read_text())["model_type"] == "convolved"
    with torch.inference_mode():
        below = load_encoder(name, tmp_path / "whole" / "inner").pooled(waveforms)
        assert torch.equal(below, encoder.inner.pooled(waveforms))


def test_the_fingerprint_changes_with_the_weights_above_and_below(tmp_path):
    encoder, prints = _convolved(), set()
    for place, weight in enumerate([None, encoder.layer_weights, encoder.inner.conv1.weight]):
        if weight is not None:
            with torch.no_grad():
                weight += 0.1
        encoder.save(tmp_path / str(place))
        prints.add(load_encoder("convolved", tmp_path / str(place)).fingerprint)
    assert len(prints) == 3


def _without_inner(folder):
    shutil.rmtree(folder / "inner")


def _of_another_kind(folder):
    shutil.copy(folder / "inner" / "config.json", folder / "config.json")


def _with_weights_of_another(folder):
    shutil.copy(folder / "inner" / "model.safetensors", folder / "model.safetensors")


def _with_a_layer_too_many(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "layers": [0, 1, 2, 3]}))


def _with_broken_weights(folder):
    (folder / "model.safetensors").write_bytes(b"nonsense")


def _on_an_unknown_encoder(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "inner": "nobody"}))


@pytest.mark.parametrize(
    "damage",
    [
        _without_inner, _of_another_kind, _with_weights_of_another, _with_a_layer_too_many, _with_broken_weights,
        _on_an_unknown_encoder,
    ],
)  # fmt: skip
def test_a_folder_that_does_not_hold_both_encoders_is_refused_in_words(damage, tmp_path, monkeypatch):
    monkeypatch.delenv("SER_WEIGHTS", raising=False)
    _convolved().save(tmp_path / "encoder")
    damage(tmp_path / "encoder")
    with pytest.raises(EncoderUnavailable, match="'encoder'|'inner'|no encoder 'nobody'"):
        load_encoder("convolved", tmp_path / "encoder")


def test_it_is_no_encoder_that_a_recipe_could_name_and_has_no_folder_of_its_own(monkeypatch):
    monkeypatch.delenv("SER_WEIGHTS", raising=False)
    assert "convolved" not in ENCODERS
    with pytest.raises(EncoderUnavailable, match="'convolved' is not on this machine"):
        load_encoder("convolved")
