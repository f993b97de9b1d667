"""Contract of every method that recognises, then what each paper says of its own."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import nn

from ser_core.data.batches import Batch, Utterances
from ser_core.methods import METHODS
from ser_core.methods.base import FeatureShape, TextShape
from ser_core.methods.checkpoint import BadCheckpoint, load_method, save_method
from ser_core.methods.speaker_reference import fit_effects
from ser_core.nn.attention import attend
from ser_core.nn.losses import emotion_loss, inverse_frequency
from ser_core.recipe import BadRecipe, Recipe

EMOTIONS = ("neutral", "happiness", "anger")
SHAPE = FeatureShape(n_layers=3, n_values=6, layers=(0, 2))
READ = TextShape(n_layers=2, n_values=5, layers=(0, 1))
SETTINGS = {"embedding": 8, "hidden": 10}
RECOGNISING = {name: cls for name, cls in METHODS.items() if not cls.hears_waveforms}
VARIANTS = {
    "concatenation": ("enrolment_attention", {"fusion": "concatenation"}),
    "separate": ("enrolment_attention", {"separate": True}),
    "without_prototypes": ("speaker_reference", {"prototypes": False}),
}
PERSONAL = [*(name for name, cls in RECOGNISING.items() if cls.uses_enrolment), *VARIANTS]


def _build(name: str, pooling: str = "concatenate", **settings):
    torch.manual_seed(0)
    name, settings = VARIANTS.get(name, (name, settings))
    known = {item.name for item in fields(METHODS[name].Settings)}
    usual = {key: value for key, value in SETTINGS.items() if key in known}
    method = METHODS[name].build({**usual, **settings}, replace(SHAPE, pooling=pooling), EMOTIONS, "test", READ)
    for buffer in ("emotion_mean_",):
        if hasattr(method, buffer):
            getattr(method, buffer).normal_()
    return method.eval()


def _batch(n: int = 4, n_slots: int = 3, n_present: int | None = None) -> Batch:
    rng = torch.Generator().manual_seed(1)
    present = torch.arange(n_slots)[None].expand(n, -1) < (n_slots if n_present is None else n_present)
    return Batch(
        features=torch.randn(n, 3, 6, generator=rng),
        waveforms=(),
        emotion=torch.arange(n) % len(EMOTIONS),
        classes=torch.ones(n, len(EMOTIONS), dtype=torch.bool),
        enrolment=torch.randn(n, n_slots, 3, 6, generator=rng) * present[..., None, None],
        present=present,
        enrolment_emotion=torch.where(present, torch.arange(n_slots)[None] % len(EMOTIONS), -1),
        text=torch.randn(n, 2, 5, generator=rng),
        has_text=torch.arange(n) % 3 > 0,
        attributes=torch.full((n, 3), torch.nan),
        gender=torch.arange(n) % 3 - 1,
        speaker=torch.arange(n),
        group=torch.arange(n) % 3 - 1,
        source=torch.arange(n) % 2,
    )


def _permuted(batch: Batch, order: list[int]) -> Batch:
    return replace(
        batch, enrolment=batch.enrolment[:, order], present=batch.present[:, order],
        enrolment_emotion=batch.enrolment_emotion[:, order],
    )  # fmt: skip


@pytest.mark.parametrize("name", RECOGNISING)
@pytest.mark.parametrize("pooling", ["concatenate", "weighted"])
@pytest.mark.parametrize("n_present", [0, 1, 3])
def test_every_method_answers_with_numbers_whoever_is_enrolled(name, pooling, n_present):
    output = _build(name, pooling)(_batch(n_present=n_present))
    assert output.emotion_logits.shape == (4, 3) and output.emotion_logits.isfinite().all()
    assert output.embedding.shape == (4, 16 if METHODS[name].reads else 8)


@pytest.mark.parametrize("name", RECOGNISING)
def test_every_stage_names_its_losses_and_they_reach_the_weights(name):
    method = _build(name).train()
    for stage in method.stages():
        if stage.rows == "unlabelled":  # it needs an encoder, or clusters: tests of its own try it
            continue
        terms = stage.loss(_batch())
        assert terms and all(term.ndim == 0 for term in terms.values())
        sum(terms.values()).backward()
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in method.parameters())


@pytest.mark.parametrize("name", RECOGNISING)
def test_every_method_survives_saving(name, tmp_path):
    method = _build(name)
    save_method(method, Recipe(name, name), tmp_path)
    assert torch.equal(load_method(tmp_path)(_batch()).emotion_logits, method(_batch()).emotion_logits)


@pytest.mark.parametrize("name", RECOGNISING)
def test_an_unknown_setting_is_named(name):
    with pytest.raises(BadRecipe, match="unknown key 'margins'; known keys are"):
        _build(name, margins=1)


@pytest.mark.parametrize("name", PERSONAL)
def test_empty_slots_change_nothing(name):
    """The same enrolment with a masked slot of garbage behind it."""
    batch, method = _batch(n_slots=2), _build(name)
    garbage = torch.full_like(batch.enrolment[:, :1], 1e3)
    padded = replace(
        batch,
        enrolment=torch.cat([batch.enrolment, garbage], dim=1),
        present=torch.cat([batch.present, torch.zeros(4, 1, dtype=torch.bool)], dim=1),
        enrolment_emotion=torch.cat([batch.enrolment_emotion, torch.full((4, 1), -1)], dim=1),
    )
    torch.testing.assert_close(method(padded).emotion_logits, method(batch).emotion_logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", PERSONAL)
def test_the_order_of_the_enrolment_changes_nothing(name):
    method, batch = _build(name), _batch()
    there, back = method(_permuted(batch, [2, 0, 1])), method(batch)
    torch.testing.assert_close(there.emotion_logits, back.emotion_logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", PERSONAL)
def test_with_nobody_enrolled_the_enrolment_tensor_is_not_heard_at_all(name):
    method, batch = _build(name), _batch(n_present=0)
    loud = replace(batch, enrolment=torch.randn_like(batch.enrolment) * 100)
    output, silent = method(loud), method(batch)
    assert torch.equal(output.emotion_logits, silent.emotion_logits)
    assert torch.equal(output.shift, torch.zeros(4))


@pytest.mark.parametrize("name", PERSONAL)
def test_an_enrolment_moves_the_answer(name):
    method = _build(name)
    assert not torch.allclose(method(_batch()).emotion_logits, method(_batch(n_present=0)).emotion_logits)


def test_attention_weights_sum_to_one_or_to_nothing():
    weights = _build("enrolment_attention")(_batch(n_present=2)).attention
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(4))
    assert (weights[:, 2] == 0).all()
    assert (_build("enrolment_attention")(_batch(n_present=0)).attention == 0).all()


def test_enrolment_attention_is_target_plus_attention_as_in_the_papers_code():
    method, batch = _build("enrolment_attention"), _batch()
    target, enrolled = method.trunk(method.front(batch.features)), method.trunk(method.front(batch.enrolment))
    attended, _ = method.attention(target[:, None], enrolled, enrolled)
    expected = method.head(target + attended[:, 0])
    torch.testing.assert_close(method(batch).emotion_logits, expected)


def test_enrolment_attention_without_enrolment_is_its_own_baseline_exactly():
    method, baseline = _build("enrolment_attention"), _build("baseline")
    baseline.load_state_dict({key: value for key, value in method.state_dict().items() if key in baseline.state_dict()})
    batch = _batch(n_present=0)
    assert torch.equal(method(batch).emotion_logits, baseline(batch).emotion_logits)


def test_enrolment_attention_never_sees_the_labels():
    method, batch = _build("enrolment_attention"), _batch()
    swapped = replace(batch, enrolment_emotion=batch.enrolment_emotion.flip(1))
    assert torch.equal(method(swapped).emotion_logits, method(batch).emotion_logits)


@pytest.mark.parametrize(("use", "heard"), [("neutral", [0]), ("emotional", [1, 2]), ("all", [0, 1, 2]), ("none", [])])
def test_use_chooses_which_of_the_enrolment_is_heard(use, heard):
    weights = _build("enrolment_attention", use=use)(_batch()).attention[0]
    assert (weights > 0).nonzero()[:, 0].tolist() == heard


def test_silence_is_attended_to_in_place_of_a_missing_class_and_a_mask_is_not():
    batch = _batch(n_slots=2)
    masked, silent = (_build("enrolment_attention", missing=missing)(batch) for missing in ("mask", "silence"))
    assert masked.attention.shape == (4, 2) and not torch.allclose(masked.emotion_logits, silent.emotion_logits)
    assert silent.attention.sum(dim=1).max() < 1  # the rest went to the silence


def test_concatenation_joins_the_mean_utterance_of_each_emotion_by_hand():
    method, batch = _build("concatenation"), _batch(n=1, n_slots=3)
    batch = replace(batch, enrolment_emotion=torch.tensor([[0, 2, 2]]))
    target = method.trunk(method.front(batch.features))
    first, second, third = method.trunk(method.front(batch.enrolment))[0]
    joined = torch.cat([target[0], first, torch.zeros(8), (second + third) / 2])
    expected = method.head(target + method.joined(joined))
    torch.testing.assert_close(method(batch).emotion_logits, expected)


@pytest.mark.parametrize("name", ["concatenation", "separate"])
def test_a_variant_of_enrolment_attention_without_enrolment_is_its_own_baseline_exactly(name):
    method, baseline = _build(name), _build("baseline")
    baseline.load_state_dict({key: value for key, value in method.state_dict().items() if key in baseline.state_dict()})
    batch = _batch(n_present=0)
    assert torch.equal(method(batch).emotion_logits, baseline(batch).emotion_logits)


def test_a_separate_trunk_hears_the_enrolment_alone():
    method, batch = _build("separate"), _batch()
    heard = method.enrolment_trunk(method.front(batch.enrolment))
    target = method.trunk(method.front(batch.features))
    attended, _ = method.attention(target[:, None], heard, heard)
    torch.testing.assert_close(method(batch).emotion_logits, method.head(target + attended[:, 0]))


def test_prototypes_vote_for_the_emotion_they_are_of_and_nobody_takes_what_is_left():
    method, batch = _build("speaker_reference"), _batch(n=1, n_slots=3)
    batch = replace(
        batch,
        enrolment=batch.features[:, None].expand(-1, 3, -1, -1).clone(),
        present=torch.tensor([[True, False, False]]),
    )
    batch = replace(batch, enrolment_emotion=torch.tensor([[2, -1, -1]]))
    output = method(batch)  # the one that is there is the target itself: cosine 1
    weight = torch.tensor([5.0 * 1.0, 5.0 * 0.5]).softmax(0)[0]
    torch.testing.assert_close(output.attention[0], torch.tensor([float(weight), 0, 0]))
    plain = method.head(output.embedding)
    torch.testing.assert_close(output.emotion_logits - plain, torch.tensor([[0, 0, float(weight)]]))
    without = _build("without_prototypes")(batch)
    torch.testing.assert_close(without.emotion_logits, plain)
    assert without.attention is None


def test_parts_of_the_reference_can_be_taken_away(synthetic_corpus):
    """Without labels all emotions have one mean; without shrinkage the reference is what the enrolled say, on average."""
    emotions = tuple(sorted(synthetic_corpus.table["emotion"].unique()))
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(len(synthetic_corpus.table), 3, 6, generator=rng)
    utterances = Utterances(synthetic_corpus, emotions, features)
    features += torch.tensor(utterances.emotion)[:, None, None]
    enrolment, emotion = torch.randn(1, 2, 2, 6, generator=rng), torch.tensor([[0, 1]])
    present, said = torch.ones(1, 2, dtype=torch.bool), {}
    for part, settings in (
        ("labels", {"labels": False, "shrinkage": 1.0, "prototypes": False}),
        ("shrinkage", {"shrinkage": 0.0}),
    ):
        method = METHODS["speaker_reference"].build(settings, SHAPE, emotions, "test")
        said[part] = method.fit_statistics(utterances, np.arange(len(features)))
    means = said["labels"].emotion_mean_
    torch.testing.assert_close(means, means[:1].expand_as(means))
    assert not torch.allclose(said["shrinkage"].emotion_mean_[0], said["shrinkage"].emotion_mean_[1], atol=0.3)
    plain = (enrolment - said["shrinkage"].emotion_mean_[emotion]).mean(dim=1)
    torch.testing.assert_close(said["shrinkage"].reference(enrolment, present, emotion), plain, atol=1e-4, rtol=1e-4)
    assert (
        said["labels"].reference(enrolment, present, emotion).abs().mean()
        < 0.9 * (enrolment - means[0]).mean(1).abs().mean()
    )


@pytest.mark.parametrize("wrong", [{"use": "some"}, {"missing": "guess"}, {"fusion": "sum"}])
def test_a_use_that_does_not_exist_is_refused(wrong):
    with pytest.raises(BadRecipe, match="one of"):
        _build("enrolment_attention", **wrong)


def test_attend_to_nobody_is_zero_and_leaves_no_nan_in_gradients():
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    target = torch.randn(2, 8, requires_grad=True)
    present = torch.tensor([[True, True], [False, False]])
    taken, _ = attend(attention, target, torch.randn(2, 2, 8), present)
    taken.sum().backward()
    assert (taken[1] == 0).all() and target.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in attention.parameters())


def test_the_reference_is_the_shrunk_mean_of_what_each_utterance_says_by_hand():
    method = _build("speaker_reference")
    method.emotion_mean_ = torch.zeros(3, 2, 6)
    method.emotion_mean_[1] = 2.0
    method.within_over_between_ = torch.full((2, 6), 2.0)
    enrolment = torch.zeros(1, 2, 2, 6)
    enrolment[0, 0], enrolment[0, 1] = 4.0, 7.0  # neutral, whose mean is 0; happiness, whose mean is 2
    emotion, both_there = torch.tensor([[0, 1]]), torch.ones(1, 2, dtype=torch.bool)
    both = method.reference(enrolment, both_there, emotion)
    one = method.reference(enrolment, torch.tensor([[True, False]]), emotion)
    twice = method.reference(enrolment, both_there, torch.zeros(1, 2, dtype=torch.long))
    torch.testing.assert_close(
        both, torch.full((1, 2, 6), (4 + 5) / (2 + 0.5 * 2.0 / 3))
    )  # one of three emotions is missing
    torch.testing.assert_close(one, torch.full((1, 2, 6), 4 / (1 + 0.5 * 2.0 * 2 / 3)))
    torch.testing.assert_close(twice, torch.full((1, 2, 6), (4 + 7) / (2 + 0.5 * 2.0 * 2 / 3)))


def test_whoever_enrolled_every_emotion_is_believed_as_they_are():
    method, batch = _build("speaker_reference"), _batch(n=1, n_slots=3)
    method.within_over_between_ = torch.full((2, 6), 9.0)
    heard, emotion = method.front.standardised(batch.enrolment), torch.tensor([[2, 0, 1]])
    plain = (heard - method.emotion_mean_[emotion]).mean(dim=1)
    torch.testing.assert_close(method.reference(heard, torch.ones(1, 3, dtype=torch.bool), emotion), plain)


def test_labels_matter_to_the_reference_where_emotions_are_missing_and_not_in_a_complete_set():
    method, batch = _build("speaker_reference"), _batch()
    heard, moved = method.front.standardised(batch.enrolment), (batch.enrolment_emotion + 1) % 3
    some = batch.present & torch.tensor([True, True, False])
    right, wrong = (method.reference(heard, some, emotion) for emotion in (batch.enrolment_emotion, moved))
    assert (right - wrong).abs().max() > 0.1
    right, wrong = (method.reference(heard, batch.present, emotion) for emotion in (batch.enrolment_emotion, moved))
    torch.testing.assert_close(right, wrong)


def test_without_labels_no_label_is_heard():
    method, batch = _build("speaker_reference", labels=False, prototypes=False), _batch()
    method.emotion_mean_[:] = method.emotion_mean_[:1].clone()  # what fit_statistics makes of them
    other = replace(batch, enrolment_emotion=torch.where(batch.present, 1, -1))
    torch.testing.assert_close(method(other).emotion_logits, method(batch).emotion_logits)
    with pytest.raises(BadRecipe, match="without 'labels' no enrolled utterance can vote"):
        _build("speaker_reference", labels=False)


def test_several_recordings_of_an_emotion_share_its_vote():
    method, batch = _build("speaker_reference"), _batch(n=2, n_slots=3)
    heard, target = torch.randn(2, 3, 8), torch.randn(2, 8)
    once = method._alike(target, heard, method._told(batch.present, batch.enrolment_emotion).float())
    emotion = torch.cat([batch.enrolment_emotion, batch.enrolment_emotion[:, :1]], dim=1)
    told = method._told(torch.ones(2, 4, dtype=torch.bool), emotion).float()
    twice = method._alike(target, torch.cat([heard, heard[:, :1]], dim=1), told)
    torch.testing.assert_close(twice[:, 1:3], once[:, 1:])
    torch.testing.assert_close(twice[:, 0] + twice[:, 3], once[:, 0])


def test_an_emotion_that_the_method_does_not_know_has_no_vote():
    method, batch = _build("speaker_reference"), _batch(n=1, n_slots=2)
    unknown = replace(batch, enrolment_emotion=torch.tensor([[1, -1]]))
    assert method(unknown).attention[0, 1] == 0 and method(unknown).attention[0, 0] > 0


def test_speaker_reference_undoes_a_speakers_offset():
    """A target shifted by s with a complete enrolment shifted by s sounds like neither shifted."""
    method, batch = _build("speaker_reference"), _batch()
    shift = torch.randn(1, 3, 6)
    moved = replace(batch, features=batch.features + shift, enrolment=batch.enrolment + shift[:, None])
    torch.testing.assert_close(method(moved).emotion_logits, method(batch).emotion_logits, atol=1e-4, rtol=1e-4)


def test_planted_effects_are_found_though_classes_are_missing():
    rng = np.random.default_rng(0)
    speaker_effect, emotion_effect = rng.normal(0, 2, (40, 3)), np.array([[1.0, 0, 0], [0, 2, 0], [-1, -2, 0]])
    rows = [(s, c) for s in range(40) for c in range(3) if not (s % 4 == 0 and c == 1) for _ in range(6)]
    who, emotion = np.array([s for s, _ in rows]), np.array([c for _, c in rows])
    x = 3.0 + speaker_effect[who] + emotion_effect[emotion] + rng.normal(0, 0.5, (len(rows), 3))
    effects = fit_effects(x, who, emotion, 4)
    np.testing.assert_allclose(effects.emotion[:3], emotion_effect, atol=0.15)
    np.testing.assert_allclose(effects.mean_speaker, 3.0 + speaker_effect.mean(axis=0), atol=0.15)
    assert (effects.emotion[3] == 0).all()
    np.testing.assert_allclose(effects.within, 0.25 + 0.25 / 6, rtol=0.25)
    np.testing.assert_allclose(effects.between, speaker_effect.var(axis=0), rtol=0.25)


def test_a_class_that_the_corpus_lacks_is_not_taught_to_be_absent():
    logits = torch.randn(2, 3, requires_grad=True)
    classes = torch.tensor([[True, True, False], [True, True, True]])
    loss = emotion_loss(logits, torch.tensor([0, 0]), classes, torch.ones(3), smoothing=0.1)
    loss.backward()
    assert logits.grad[0, 2] == 0 and logits.grad[1, 2] != 0


def test_the_loss_is_torchs_where_all_classes_are_there():
    logits, truth, weight = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0]), torch.tensor([0.5, 1.0, 2.0])
    ours = emotion_loss(logits, truth, torch.ones(6, 3, dtype=torch.bool), weight)
    torch.testing.assert_close(ours, nn.functional.cross_entropy(logits, truth, weight))


def test_inverse_frequency_gives_each_class_the_same_total():
    counts = torch.tensor([10.0, 20.0, 70.0])
    torch.testing.assert_close(inverse_frequency(counts) * counts, torch.full((3,), 100 / 3))


@pytest.mark.parametrize("damage", ["weights", "description", "nothing there"])
def test_a_broken_checkpoint_is_refused_in_words(damage, tmp_path):
    if damage != "nothing there":
        save_method(_build("baseline"), Recipe("baseline", "baseline"), tmp_path)
        (tmp_path / {"weights": "weights.safetensors", "description": "model.json"}[damage]).write_bytes(b"{}")
    with pytest.raises(BadCheckpoint, match="train it or install it again"):
        load_method(tmp_path)


def test_silence_fills_only_the_classes_that_are_used():
    heard, attended = _build("enrolment_attention", missing="silence", use="emotional")._heard(_batch(n_slots=2))
    assert attended[0].tolist() == [False, True, True, False, False]  # happiness is there, anger is silence
    assert (heard[:, 2:] == 0).all()
