"""What the compact encoder is taught by, and how: layer by layer, through noise, and longer than one utterance."""

import numpy as np
import pytest
import torch

from ser_core.data.audio import SAMPLE_RATE
from ser_core.data.batches import Utterances
from ser_core.encoders import load_encoder
from ser_core.encoders.compact import Compact, CompactSettings
from ser_core.methods import METHODS, distillation
from ser_core.methods.base import FeatureShape
from ser_core.recipe import BadRecipe

SMALL = CompactSettings(width=32, n_transformer_layers=2, n_heads=2, feedforward=32)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A folder with a Whisper of random weights, three layers of width 32."""
    from transformers import WhisperConfig, WhisperModel

    folder = tmp_path_factory.mktemp("teacher")
    torch.manual_seed(0)
    WhisperModel(
        WhisperConfig(
            d_model=32, encoder_layers=3, encoder_attention_heads=2, encoder_ffn_dim=16, decoder_layers=1, vocab_size=8,
            decoder_attention_heads=2, decoder_ffn_dim=16, pad_token_id=0, bos_token_id=1, eos_token_id=2,
            decoder_start_token_id=1,
        )
    ).save_pretrained(folder)  # fmt: skip
    return folder


@pytest.fixture
def built(teacher, monkeypatch):
    monkeypatch.setattr(distillation, "CompactSettings", lambda: SMALL)

    def build(**settings):
        torch.manual_seed(0)
        shape = FeatureShape(n_layers=3, n_values=64, layers=(0,))
        return METHODS["distillation"].build({"teacher": str(teacher), **settings}, shape, ("neutral", "anger"), "test")

    return build


@pytest.fixture(scope="module")
def utterances(synthetic_corpus):
    return Utterances(synthetic_corpus, synthetic_corpus.emotions)


def _batch(utterances, n: int = 4):
    return utterances.batch(np.arange(n), [np.empty(0, dtype=np.int64)] * n)


def test_each_layer_that_is_given_frames_hears_them_instead_of_those_below_it():
    torch.manual_seed(0)
    student = Compact(SMALL).eval()
    local, mask = student.local([torch.randn(8000), torch.randn(5000)])
    own = student.contextual(local, mask)
    torch.testing.assert_close(student.contextual(local, mask, own), own)
    given = torch.randn(own.shape)
    forced, there = student.contextual(local, mask, given), mask[..., None]
    torch.testing.assert_close(forced[:, 0], own[:, 0])
    for n_below, layer in enumerate(student.layers):
        expected = layer(given[:, n_below], src_key_padding_mask=~mask) * there
        torch.testing.assert_close(forced[:, n_below + 1], expected)


def test_the_teachers_frames_are_given_in_the_forced_share_of_training_alone(built, utterances, monkeypatch):
    method, given = built(noise=0.0, forced=0.5), []
    contextual = method.student.contextual
    monkeypatch.setattr(
        method.student,
        "contextual",
        lambda local, mask, below=None: given.append(below) or contextual(local, mask, below),
    )
    for method.progress, training in ((0.49, True), (0.51, True), (0.0, False)):
        method.train(training).loss(_batch(utterances))
    assert [below is not None for below in given] == [True, False, False]


def test_a_student_that_hears_as_its_teacher_has_no_error(built, utterances):
    method = built().eval()
    method.fit_statistics(utterances, np.arange(8))
    wanted, mask = method._teacher_frames(_batch(utterances).waveforms)
    method.student.contextual = lambda local, mask, below=None: wanted.transpose(0, 1)
    terms = method.loss(_batch(utterances))
    assert list(terms) == ["layer_0", "layer_1", "layer_2"] and all(term == 0 for term in terms.values())
    off = method.scale_[:, None] * mask[..., None]  # one standard deviation everywhere
    method.student.contextual = lambda local, mask, below=None: (wanted + off).transpose(0, 1)
    torch.testing.assert_close(torch.stack(list(method.loss(_batch(utterances)).values())), torch.full((3,), 1 / 3))


def test_noise_is_heard_by_the_student_and_not_by_the_teacher(built, utterances, monkeypatch):
    method, heard = built(noise=1.0).train(), {}
    monkeypatch.setattr(distillation, "random_noise", lambda waveform, rng: waveform + 100)
    for name in ("student", "teacher"):
        encoder = getattr(method, name)
        local = encoder.local
        monkeypatch.setattr(
            encoder, "local", lambda given, name=name, local=local: heard.update({name: given}) or local(given)
        )
    method.loss(_batch(utterances))
    for student, teacher in zip(heard["student"], heard["teacher"], strict=True):
        torch.testing.assert_close(student, teacher + 100)
        assert teacher.abs().max() < 50


def test_utterances_are_joined_end_to_end_and_cut_at_30_s(built):
    method = built(joined=4)
    seconds = [torch.full((SAMPLE_RATE * (9 if place < 4 else 1),), float(place)) for place in range(6)]
    lengths = set()
    for _ in range(40):
        joined = method._joined(tuple(seconds))
        lengths.add(len(joined))
        if len(joined) == 2:
            assert len(joined[0]) == distillation.LONGEST and len(joined[1]) == 2 * SAMPLE_RATE
            assert joined[1].unique().tolist() == [4.0, 5.0]
    assert lengths == {6, 3, 2}  # by one, two and four
    assert [len(one) for one in built()._joined(tuple(seconds))] == [len(one) for one in seconds]


def test_a_student_goes_on_from_an_encoder_and_remembers_whom_that_has_heard(built, utterances, tmp_path):
    torch.manual_seed(1)
    before = Compact(SMALL)
    before.heard_speakers = ("synthetic_0", "somebody_else")
    before.save(tmp_path / "before")
    method = built(start=str(tmp_path / "before"))
    torch.testing.assert_close(method.student.conv1.weight, before.conv1.weight)
    assert all(parameter.requires_grad for parameter in method.student.parameters()) and method.student.training
    method.fit_statistics(utterances, np.arange(4)).export(tmp_path / "after")
    after = load_encoder("compact", tmp_path / "after" / "encoder")
    assert set(after.heard_speakers) == {"somebody_else", *(f"synthetic_{one}" for one in range(8))}


@pytest.mark.parametrize(
    "student", [CompactSettings(width=16, n_heads=2), CompactSettings(width=32, n_heads=2, n_transformer_layers=4)]
)
def test_a_teacher_of_another_width_or_with_too_few_layers_is_refused(built, monkeypatch, student):
    monkeypatch.setattr(distillation, "CompactSettings", lambda: student)
    with pytest.raises(BadRecipe, match=r"the teacher has 3 layers of width 32; .*set another \[settings\] teacher"):
        built()
