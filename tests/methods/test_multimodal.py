"""Voice and words together: that an absent modality is absent, who counts for which loss, and every combination of settings."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch

from ser_core.data.batches import Batch, Texts, Utterances
from ser_core.data.manifest import make_corpus
from ser_core.labels import ATTRIBUTES
from ser_core.methods.base import HEADS, FeatureShape, TextShape
from ser_core.methods.checkpoint import load_method, save_method
from ser_core.methods.multimodal import LISTENERS, MODALITIES, Multimodal
from ser_core.recipe import BadRecipe, Recipe

EMOTIONS = ("neutral", "happiness", "anger")
SHAPE = FeatureShape(n_layers=3, n_values=6, layers=(0, 2))
READ = TextShape(n_layers=2, n_values=5, layers=(0, 1))
N = 12
SOME_HEADS = (("emotion",), ("arousal",), ("emotion", *ATTRIBUTES), ("dominance", "valence"))


def built(text: TextShape | None = READ, **settings) -> Multimodal:
    torch.manual_seed(0)
    small = {"embedding": 8, "hidden": 10, **settings}
    method = Multimodal.build(small, SHAPE, EMOTIONS, "test", text)
    for name, buffer in method.named_buffers():
        if name.endswith("emotion_mean_"):
            buffer.normal_()
    with torch.no_grad():
        for name in ("no_text", "no_speech"):  # as if learned
            if hasattr(method, name):
                getattr(method, name).normal_()
    return method.eval()


def batch_of(n: int = N, n_slots: int = 3, seed: int = 1, **changes) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    batch = Batch(
        features=torch.randn(n, 3, 6, generator=rng),
        waveforms=(),
        emotion=torch.arange(n) % 3,
        classes=torch.ones(n, 3, dtype=torch.bool),
        enrolment=torch.randn(n, n_slots, 3, 6, generator=rng),
        present=torch.ones(n, n_slots, dtype=torch.bool),
        enrolment_emotion=torch.arange(n_slots).expand(n, -1) % 3,
        text=torch.randn(n, 2, 5, generator=rng),
        has_text=torch.ones(n, dtype=torch.bool),
        attributes=torch.rand(n, 3, generator=rng) * 6 + 1,
        gender=torch.arange(n) % 2,
        speaker=torch.arange(n) % 4,
    )
    return replace(batch, **changes)


def utterances(rated: bool = True, n: int = 48, n_sentences: int = 9, voice: float = 1.0, seed: int = 0) -> Utterances:
    """A toy of random features; the attributes lie on a scale of 1 to 7, and the first values of layer 0 tell them."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(1, 7, (n, 3))
    rows = pd.DataFrame(
        {
            "path": "none.wav", "speaker": [f"s{place % 6}" for place in range(n)],
            "gender": [("female", "male", "unknown")[place % 3] for place in range(n)],
            "emotion": [EMOTIONS[place // 6 % 3] for place in range(n)],
        },
        [f"u{place:03}" for place in range(n)],
    )  # fmt: skip
    rows = rows.assign(**dict(zip(ATTRIBUTES, points.T, strict=True))) if rated else rows
    corpus = make_corpus("toy", rows, attribute_range=(1, 7) if rated else None)
    features = torch.from_numpy(rng.normal(size=(n, 3, 6))).float()
    features[:, 0, :3] = torch.from_numpy(points).float() * voice
    own = np.arange(n) % max(n_sentences, 1)
    read = torch.from_numpy(rng.normal(size=(n_sentences, 2, 5))).half()
    texts = Texts(tuple(f"sentence {place}" for place in range(n_sentences)), read, own, own)
    return Utterances(corpus, EMOTIONS, features, texts)


def rows_that_teach(batch: Batch, **settings) -> dict[str, torch.Tensor]:
    """For each term of the loss, which rows' embeddings it has a gradient for, (B,) bool."""
    method, joined = built(**settings), []
    answer = method.answer

    def kept(embedding, heard=None):
        joined.append(embedding.detach().requires_grad_())
        return answer(joined[0], heard)

    method.answer = kept
    terms = method.loss(batch)
    return {name: torch.autograd.grad(term, joined)[0].abs().sum(dim=1) > 0 for name, term in terms.items()}


def test_words_that_are_absent_change_nothing_whatever_stands_in_their_place():
    method, batch = built(), batch_of(has_text=torch.arange(N) % 2 > 0)
    loud = torch.where(batch.has_text[:, None, None], batch.text, 1e3)
    there, silent = method(replace(batch, text=loud)).emotion_logits, method(batch).emotion_logits
    assert torch.equal(there, silent)
    assert torch.equal(
        method(batch.without_text()).emotion_logits, method(replace(batch, text=loud).without_text()).emotion_logits
    )


def test_words_that_are_there_do_count():
    method, batch = built(), batch_of()
    other = replace(batch, text=batch.text.flip(0))
    assert not torch.allclose(method(batch).emotion_logits, method(other).emotion_logits)
    assert not torch.allclose(method(batch).emotion_logits, method(batch.without_text()).emotion_logits)


@pytest.mark.parametrize(("vector", "settings"), [("no_text", {}), ("no_speech", {"speech_dropout": 0.9})])
def test_what_stands_for_an_absent_modality_is_learned_and_no_zeros(vector, settings):
    method = built(**settings).train()
    batch = batch_of(64, has_text=torch.zeros(64, dtype=torch.bool))
    sum(method.loss(batch).values()).backward()
    assert getattr(method, vector).grad.abs().min() > 0
    before = method.eval()(batch).emotion_logits
    if vector == "no_text":
        with torch.no_grad():
            method.no_text.zero_()
        assert not torch.allclose(method(batch).emotion_logits, before)


@pytest.mark.parametrize("p", [0.0, 0.3, 0.9])
def test_training_leaves_the_words_out_as_often_as_said_and_use_never(p):
    torch.manual_seed(0)
    method, batch = built(text_dropout=p, input_dropout=0.0), batch_of(4000)
    left_out = (method.train()._words(batch) == method.no_text).all(dim=1).float().mean().item()
    assert abs(left_out - p) <= 4 * (p * (1 - p) / 4000) ** 0.5
    assert not (method.eval()._words(batch) == method.no_text).all(dim=1).any()


def test_where_training_leaves_the_voice_out_its_enrolment_has_no_vote():
    torch.manual_seed(0)
    quiet = {"input_dropout": 0.0, "dropout": 0.0, "text_dropout": 0.0}
    method = built(listener="speaker_reference", speech_dropout=0.5, **quiet).train()
    batch = batch_of(40)
    other = replace(batch, enrolment_emotion=(batch.enrolment_emotion + 1) % 3)  # a complete set: the reference stays
    answers = []
    for one in (batch, other):
        torch.manual_seed(3)
        answers.append(method(one))
    left_out = (answers[0].embedding[:, : len(method.no_speech)] == method.no_speech).all(dim=1)
    changed = (answers[0].emotion_logits - answers[1].emotion_logits).abs().amax(dim=1)
    assert 10 < left_out.sum() < 30 and changed[left_out].max() < 1e-5 < 1e-3 < changed[~left_out].min()


def test_the_answer_from_words_alone_does_not_depend_on_the_voice():
    method, batch = built(listener="speaker_reference"), batch_of()
    other = replace(batch, features=torch.randn(N, 3, 6), present=torch.zeros(N, 3, dtype=torch.bool))
    assert torch.equal(method.of_words_alone(batch).emotion_logits, method.of_words_alone(other).emotion_logits)
    read = replace(batch, text=batch.text.flip(0))
    assert not torch.allclose(method.of_words_alone(batch).emotion_logits, method.of_words_alone(read).emotion_logits)


@pytest.mark.parametrize("settings", [{"modalities": "text"}, {"speaker_embedding": True}, {"heads": HEADS}])
def test_words_alone_are_answered_whatever_the_network_hears_beside(settings):
    method, batch = built(**settings), batch_of()
    there = method.of_words_alone(batch)
    loud = method.of_words_alone(replace(batch, features=batch.features * 100))
    assert torch.equal(there.emotion_logits, loud.emotion_logits)
    if settings.get("modalities") == "text":
        assert torch.equal(there.emotion_logits, method(batch).emotion_logits)


def test_a_network_of_words_does_not_hear_and_one_of_speech_does_not_read():
    batch = batch_of()
    loud, other = replace(batch, features=batch.features * 100), replace(batch, text=batch.text * 100)
    words, voice = built(modalities="text"), built(modalities="speech")
    assert torch.equal(words(batch).emotion_logits, words(loud).emotion_logits)
    assert torch.equal(voice(batch).emotion_logits, voice(other).emotion_logits)
    assert (words.hears_speech, words.uses_enrolment, voice.text_shape) == (False, False, None)


def test_with_nobody_enrolled_it_is_the_network_fed_an_enrolment_of_absent_ones():
    method, batch = built(listener="speaker_reference"), batch_of()
    nobody = replace(batch, present=torch.zeros(N, 3, dtype=torch.bool))
    empty = replace(
        batch, enrolment=torch.zeros(N, 1, 3, 6), present=torch.zeros(N, 1, dtype=torch.bool),
        enrolment_emotion=torch.full((N, 1), -1),
    )  # fmt: skip
    assert torch.equal(method(nobody).emotion_logits, method(empty).emotion_logits)
    assert torch.equal(method(nobody).shift, torch.zeros(N))
    assert not torch.allclose(method(batch).emotion_logits, method(nobody).emotion_logits)


def test_a_row_of_no_class_teaches_no_emotion_but_its_attributes_and_gender():
    emotion = torch.arange(N) % 3
    emotion[:3] = -1
    teaches = rows_that_teach(batch_of(emotion=emotion), heads=("emotion", "arousal"))
    assert teaches["emotion"].tolist() == [False] * 3 + [True] * 9
    assert teaches["arousal"].all() and teaches["gender"].all()


def test_an_unknown_gender_teaches_none_and_an_unrated_row_no_attribute():
    batch = batch_of(gender=torch.arange(N) % 3 - 1)
    batch.attributes[:4] = torch.nan
    teaches = rows_that_teach(batch, heads=("emotion", "valence"))
    assert torch.equal(teaches["gender"], batch.gender >= 0)
    assert torch.equal(teaches["valence"], torch.arange(N) >= 4)
    assert teaches["emotion"].all()


def test_the_terms_are_those_of_torch_and_the_gender_counts_a_tenth():
    batch = batch_of(gender=torch.tensor([-1, 0, 1] * 4))
    method = built(smoothing=0.0)
    terms, output = method.loss(batch), method(batch)
    known = batch.gender >= 0
    gender = torch.nn.functional.cross_entropy(method.gender(output.embedding)[known], batch.gender[known])
    torch.testing.assert_close(terms["gender"], 0.1 * gender)
    torch.testing.assert_close(
        terms["emotion"], torch.nn.functional.cross_entropy(output.emotion_logits, batch.emotion)
    )


def test_where_nobody_has_a_label_every_term_is_zero_and_gradients_are_numbers():
    nothing = batch_of(
        emotion=torch.full((N,), -1), attributes=torch.full((N, 3), torch.nan), gender=torch.full((N,), -1)
    )
    method = built(heads=HEADS).train()
    terms = method.loss(nothing)
    assert set(terms) == {*HEADS, "gender"} and all(term.item() == 0 for term in terms.values())
    sum(terms.values()).backward()
    assert all(weight.grad.isfinite().all() for weight in method.parameters() if weight.grad is not None)


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize(("heads", "modalities"), list(product(SOME_HEADS, MODALITIES)))
def test_every_combination_learns_and_survives_saving(listener, heads, modalities, tmp_path):
    method = built(
        listener=listener,
        heads=heads,
        modalities=modalities,
        speaker_weight=0.1,
        speaker_embedding=modalities != "text",
    )
    toy = utterances()
    method.fit_statistics(toy, np.arange(len(toy.corpus)))
    batch, optimiser = batch_of(), torch.optim.SGD(method.parameters(), lr=0.1)
    before = {name: weight.clone() for name, weight in method.named_parameters()}
    terms = method.train().loss(batch)
    assert set(terms) == {*heads, "gender", "speaker"}
    sum(terms.values()).backward()
    optimiser.step()
    assert all(not torch.equal(weight, before[name]) for name, weight in method.named_parameters() if "heads" in name)
    save_method(method.eval(), Recipe("multimodal", "multimodal"), tmp_path)
    again, output = load_method(tmp_path), method(batch)
    torch.testing.assert_close(again(batch).emotion_logits, output.emotion_logits, atol=0, rtol=0, equal_nan=True)
    assert output.emotion_logits.isfinite().all() == ("emotion" in heads)
    if any(name in ATTRIBUTES for name in heads):
        torch.testing.assert_close(again(batch).attributes, output.attributes, atol=0, rtol=0, equal_nan=True)
        found = output.attributes.isfinite().all(dim=0).tolist()
        assert found == [name in heads for name in ATTRIBUTES]
    assert again.speakers is None and again.text_shape == method.text_shape


def test_the_heads_that_only_training_needs_are_left_out_of_what_is_saved(tmp_path):
    from safetensors.torch import load_file

    method = built(speaker_weight=0.1).fit_statistics(utterances(), np.arange(48))
    assert method.speakers.weight.shape == (6, 16)
    save_method(method, Recipe("multimodal", "multimodal"), tmp_path)
    names = set(load_file(tmp_path / "weights.safetensors"))
    assert names == {name for name in method.state_dict() if not name.startswith(("speakers.", "gender."))}


def test_attributes_come_out_on_the_scale_of_the_ratings_and_are_learned():
    """The toy's voice tells them outright; audmetric says how well they come out."""
    import audmetric

    toy = utterances(n=96)
    settings = {"speech_dropout": 0.0, "input_dropout": 0.0, "dropout": 0.0, "gender_weight": 0.0}
    method = built(heads=ATTRIBUTES, modalities="speech", **settings)
    method.fit_statistics(toy, np.arange(96))
    batch, optimiser = toy.batch(np.arange(96), [np.empty(0, int)] * 96), torch.optim.Adam(method.parameters(), lr=0.02)
    torch.testing.assert_close(method.attribute_mean_, batch.attributes.mean(dim=0), atol=1e-4, rtol=1e-4)
    for _ in range(150):
        optimiser.zero_grad()
        sum(method.loss(batch).values()).backward()
        optimiser.step()
    said = method(batch).attributes.detach().numpy()
    rated = toy.attributes
    for place in range(3):
        assert audmetric.concordance_cc(rated[:, place], said[:, place]) > 0.9
    assert np.abs(said.mean(axis=0) - rated.mean(axis=0)).max() < 0.5 and said.min() > -1 and said.max() < 9


def test_on_another_scale_the_same_network_says_the_same_on_that_scale():
    """Ratings of 1 to 7 brought to 0 to 1: so are the answers, untrained as they are."""
    seven, unit = utterances(), utterances()
    unit.corpus.table[list(ATTRIBUTES)] = (unit.corpus.table[list(ATTRIBUTES)] - 1) / 6
    there, here = (
        built(heads=ATTRIBUTES).fit_statistics(toy, np.arange(48))(batch_of()).attributes for toy in (seven, unit)
    )
    torch.testing.assert_close(here, (there - 1) / 6, atol=1e-5, rtol=1e-5)
    assert np.abs(there.detach().mean(dim=0).numpy() - seven.attributes.mean(axis=0)).max() < 1.5


def test_classes_are_weighed_only_where_the_sampler_does_not_balance_them():
    few = utterances()
    kept = np.flatnonzero((few.emotion > 0) | (np.arange(48) < 6))  # neutral is rare
    even = built().fit_statistics(few, kept).class_weight_
    uneven = built(batches="shuffled").fit_statistics(few, kept).class_weight_
    counts = np.bincount(few.emotion[kept], minlength=3)
    assert even.tolist() == [1, 1, 1]
    np.testing.assert_allclose(uneven, len(kept) / (3 * counts), rtol=1e-5)


def test_ratings_of_attributes_watch_ccc_and_emotions_uar():
    assert [built(heads=heads).stages()[0].monitor for heads in (("emotion", "arousal"), ("arousal",))] == [
        "uar",
        "ccc",
    ]
    assert [built(heads=heads).stages()[0].whole for heads in (("emotion",), ("emotion", "arousal"))] == [False, True]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"heads": ()}, r"'heads' are \[\], but some of emotion, arousal, valence, dominance were expected"),
        ({"heads": ("emotion", "emotion")}, "each once"),
        ({"heads": ("emotion", "mood")}, "'heads' is 'mood', but one of emotion, arousal"),
        ({"modalities": "smell"}, "'modalities' is 'smell', but one of both, speech, text"),
        ({"listener": "papt"}, "'listener' is 'papt', but one of baseline"),
        ({"text_dropout": 1.0}, "'text_dropout' is 1.0, but at least 0 and at most 0.9"),
        ({"gender_weight": -0.1}, "'gender_weight' is -0.1, but at least 0"),
        ({"modalities": "text", "speaker_embedding": True}, "'speaker_embedding' hears the voice"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_words(settings, words):
    with pytest.raises(BadRecipe, match=words):
        built(**settings)


@pytest.mark.parametrize("modalities", ["both", "text"])
def test_to_read_takes_an_encoder_of_text(modalities):
    with pytest.raises(BadRecipe, match="words are to be read, but there is no encoder of text"):
        built(text=None, modalities=modalities)
    built(text=None, modalities="speech")


def test_attributes_that_nobody_rated_are_refused_in_words():
    with pytest.raises(BadRecipe, match="'valence' is to be learned, but the training utterances have 0 ratings of it"):
        built(heads=("valence",)).fit_statistics(utterances(rated=False), np.arange(48))


@pytest.mark.parametrize("n_sentences", [0, 1])
def test_a_corpus_that_says_nothing_or_always_the_same_is_refused_in_words(n_sentences):
    toy = utterances(n_sentences=n_sentences)
    toy = replace(toy, texts=replace(toy.texts, row=np.minimum(toy.texts.row, n_sentences - 1)))
    with pytest.raises(BadRecipe, match=f"the utterances say {n_sentences} different sentences"):
        built().fit_statistics(toy, np.arange(48))
