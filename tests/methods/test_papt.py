"""Personalized adaptive pre-training: what the paper's formulas say, on small numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from ser_core.data.batches import Batch
from ser_core.encoders.compact import Compact, CompactSettings
from ser_core.methods.base import FeatureShape, Preparation
from ser_core.methods.papt import Papt, _mfcc
from ser_core.nn.losses import ccc_loss
from ser_core.recipe import BadRecipe

SHAPE = FeatureShape(n_layers=3, n_values=64, layers=(2,))
SMALL = {"n_clusters": 6, "kmeans_iterations": 5}


def _encoder() -> Compact:
    torch.manual_seed(3)
    settings = CompactSettings(width=32, n_transformer_layers=2, n_heads=2, feedforward=32)
    return Compact(settings).eval()


def _method(**settings) -> Papt:
    torch.manual_seed(0)
    method = Papt.build({**SMALL, **settings}, SHAPE, ("neutral", "anger"), "test")
    if method.pretrains and method.settings.position != "none":
        method.vectors = torch.nn.Parameter(torch.zeros(3, 32))
    method._heard_speakers = np.array([0, 1])
    return method


def _waveforms(n: int = 3) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(7)
    return tuple(0.1 * torch.randn(8000 + 1600 * place, generator=rng) for place in range(n))


def _batch(**values) -> Batch:
    n = 3
    empty = Batch(
        features=torch.randn(n, 3, 64, generator=torch.Generator().manual_seed(1)),
        waveforms=(),
        emotion=torch.tensor([0, 1, 0]),
        classes=torch.ones(n, 2, dtype=torch.bool),
        enrolment=None,
        present=torch.zeros(n, 1, dtype=torch.bool),
        enrolment_emotion=torch.full((n, 1), -1),
        attributes=torch.tensor([[1.0, 4, 4], [5, 2, 3], [7, 1, 6]]),
        speaker=torch.tensor([0, 1, 2]),
        row=torch.arange(n),
    )
    return replace(empty, **values)


def _pseudo_labels(method: Papt) -> None:
    rng = torch.Generator().manual_seed(5)
    method._pseudo_labels = {row: torch.randint(6, (200,), generator=rng) for row in range(3)}


@pytest.mark.parametrize("position", ["last", "first"])
def test_with_zero_vectors_papt_is_tapt(position):
    """Same loss, same gradients on the encoder, whatever the position."""
    losses, gradients = [], []
    for chosen in (position, "none"):
        method, encoder = _method(position=chosen), _encoder()
        _pseudo_labels(method)
        torch.manual_seed(11)
        loss = method.pretraining_loss(_batch(waveforms=_waveforms()), encoder)["masked"]
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append(torch.cat([one.grad.flatten() for one in encoder.parameters() if one.grad is not None]))
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("position", ["last", "first", "prefix"])
def test_a_vector_changes_what_is_heard_where_it_joins(position):
    method, encoder = _method(position=position), _encoder()
    speaker = torch.tensor([0, 1, 2])
    with torch.inference_mode():
        before = method.pooled(encoder, _waveforms(), speaker)
        method.vectors.data[1] = 1.0
        after = method.pooled(encoder, _waveforms(), speaker)
    assert torch.equal(before[0], after[0]) and torch.equal(before[2], after[2])
    assert torch.equal(before[1], after[1]) is (position == "last")  # there it is added to what is pooled
    assert before.shape == (3, 3, 64)


def test_last_adds_the_vector_to_the_mean_of_the_last_layer_and_to_nothing_else():
    """mean over frames of (f + S(s)) is mean(f) + S(s); the spread stays."""
    method = _method(position="last")
    method.vectors.data[2] = torch.arange(32.0)
    features = _batch().features
    voiced = method._with_voice(features, torch.tensor([0, 1, 2]))
    expected = features.clone()
    expected[2, 2, :32] += torch.arange(32.0)
    torch.testing.assert_close(voiced, expected)


def test_the_loss_is_the_cross_entropy_of_masked_frames_alone():
    method, encoder = _method(position="last", crop_s=30.0), _encoder()
    _pseudo_labels(method)
    method.vectors.data.normal_()
    batch = _batch(waveforms=_waveforms())
    torch.manual_seed(4)
    loss = float(method.pretraining_loss(batch, encoder)["masked"].detach())
    torch.manual_seed(4)
    step = int(torch.randint(2**62, ()))
    by_hand = []
    with torch.inference_mode():
        for place, waveform in enumerate(batch.waveforms):  # one by one: neighbours and padding do not matter
            local, mask = encoder.local((waveform,))
            rng = np.random.default_rng([step, place])
            rng.integers(1)  # where it begins, when nothing is cut away
            n = int(mask.sum())
            hidden = method._masked(n, rng)
            heard = encoder.contextual(torch.where(hidden[None, :, None], method.mask_frame, local), mask)[0, -1]
            code = normalize(method.predicts(heard + method.vectors[place]), dim=-1) @ normalize(method.codes, dim=-1).T
            by_hand.append(cross_entropy(code[hidden] / 0.1, method._pseudo_labels[place][:n][hidden]))
    assert loss == pytest.approx(float(torch.stack(by_hand).mean()), abs=1e-4)


def test_masks_are_stretches_and_about_as_many_as_hubert_masks():
    """Starts at 8 % of frames without replacement and 10 frames long: 1 − (1 − .08)^10 = .57 of a long utterance."""
    method, rng = _method(), np.random.default_rng(0)
    shares = [float(method._masked(1000, rng).float().mean()) for _ in range(50)]
    assert np.mean(shares) == pytest.approx(1 - 0.92**10, abs=0.03)
    for n in (1, 5, 12):
        assert 1 <= int(method._masked(n, rng).sum()) <= n


def test_a_crop_has_the_pseudo_labels_of_its_frames():
    method = _method(crop_s=0.4)
    method._pseudo_labels = {0: torch.arange(100)}
    waveform = torch.arange(100 * 320).float()
    labels, cut = method._crop(0, waveform, np.random.default_rng(1))
    assert len(labels) == 20 and len(cut) == 20 * 320
    assert int(cut[0]) == 320 * int(labels[0])


def test_the_loss_does_not_depend_on_how_a_batch_is_divided():
    method, encoder = _method(position="first"), _encoder()
    _pseudo_labels(method)
    method.vectors.data.normal_(std=0.1)
    whole = _batch(waveforms=_waveforms())

    def loss(batch: Batch) -> float:
        torch.manual_seed(9)  # as the trainer does for each part
        return float(method.pretraining_loss(batch, encoder)["masked"].detach())

    parts = [
        replace(whole, waveforms=whole.waveforms[place : place + 1], row=whole.row[place : place + 1],
                speaker=whole.speaker[place : place + 1])
        for place in range(3)
    ]  # fmt: skip
    assert loss(whole) == pytest.approx(np.mean([loss(part) for part in parts]), abs=1e-5)


def test_mfcc_have_deltas_and_as_many_frames_as_asked_for():
    found = _mfcc(_waveforms()[0], 25)
    assert found.shape == (25, 39) and np.isfinite(found).all()


def test_weights_of_utterances_are_weights_in_the_moments():
    """A row that counts twice is a row that is there twice."""
    rng = torch.Generator().manual_seed(0)
    said, rated = torch.randn(6, generator=rng), torch.randn(6, generator=rng)
    twice = ccc_loss(torch.cat([said, said[:2]]), torch.cat([rated, rated[:2]]))
    assert float(ccc_loss(said, rated, torch.tensor([2.0, 2, 1, 1, 1, 1]))) == pytest.approx(float(twice), abs=1e-6)
    torch.testing.assert_close(ccc_loss(said, rated, torch.ones(6)), ccc_loss(said, rated))


def test_heads_are_linear_and_answer_on_the_corpus_scale():
    method = _method(heads=("arousal", "emotion"))
    method.attribute_mean_, method.attribute_scale_ = torch.tensor([4.0, 0, 0]), torch.tensor([2.0, 1, 1])
    output = method.eval()(_batch())
    raw = method.heads["arousal"](output.embedding)[:, 0]
    torch.testing.assert_close(output.attributes[:, 0], 4 + 2 * raw)
    assert output.attributes[:, 1:].isnan().all() and output.emotion_logits.shape == (3, 2)


def test_a_saved_model_knows_no_speakers():
    output = _method().eval()(_batch(speaker=None))
    assert output.emotion_logits.isfinite().all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"position": "middle"}, "'position' is 'middle', but one of last, first, prefix, none"),
        ({"heads": ("anger",)}, "'heads' is 'anger'"),
        ({"heads": ()}, "each once"),
        ({"n_clusters": 1}, "'n_clusters' is 1"),
        ({"clusters_of": "words"}, "'clusters_of' is 'words'"),
    ],
)
def test_impossible_settings_are_named(settings, words):
    with pytest.raises(BadRecipe, match=words):
        _method(**settings)


def test_vectors_at_the_end_need_the_last_layer():
    with pytest.raises(BadRecipe, match=r"set encoder.layers=\[2\]"):
        Papt.build(SMALL, replace(SHAPE, layers=(1,)), ("neutral", "anger"), "test")


def test_pretraining_without_an_encoder_says_what_to_set():
    with pytest.raises(BadRecipe, match=r"set encoder.tune to all, last or lora"):
        _method().prepare_pretraining(Preparation(None, *[np.arange(3)] * 4, None, lambda: None))


def test_the_vanilla_form_has_one_stage_and_the_others_two():
    assert [stage.name for stage in _method(pretrain_epochs=0).stages()] == ["finetune"]
    stages = _method().stages()
    assert [stage.name for stage in stages] == ["pretrain", "finetune"]
    assert stages[0].training["warmup"] == 0.05 and stages[0].training["schedule"] == "linear"
    assert math.isclose(stages[0].training["epochs"], 10)
