"""Two answers for one utterance: what comes out, and that the parts agree with each other."""

import numpy as np
import pytest
import torch

from ser_core.data.audio import SAMPLE_RATE, Recording, level_and_trim, read_recording
from ser_core.data.corpora.synthetic import buzz
from ser_core.encoders import load_encoder
from ser_core.evaluation.certainty import Certainty
from ser_core.inference import models
from ser_core.inference.consent import consent_now
from ser_core.inference.enrolment import enrolment_of
from ser_core.inference.models import UnknownModel, choose_model, fetch, read_model
from ser_core.inference.profiles import ProfileStore
from ser_core.inference.recogniser import Enrolment, Recogniser
from ser_core.labels import APP_EMOTIONS
from ser_core.methods.checkpoint import load_method
from ser_core.weights import EncoderUnavailable
from ser_core.workspace import open_workspace


def _voice(speaker: int, seed: int = 0) -> np.ndarray:
    return np.tile(buzz(speaker, "neutral", 0, np.random.default_rng(seed)), 2)


@pytest.fixture
def workspace(tmp_path):
    return open_workspace(tmp_path / "workspace")


@pytest.fixture
def recogniser(tiny_model, workspace):
    return Recogniser(workspace, str(tiny_model), "cpu")


@pytest.fixture
def enrolment(recogniser):
    return recogniser.enrol([(f"clip {place}", emotion, _voice(place)) for place, emotion in enumerate(APP_EMOTIONS)])


def test_without_enrolment_there_is_one_answer_and_nothing_about_a_person(recogniser):
    prediction = recogniser.recognise(Recording(_voice(1)))
    assert prediction.personalised is prediction.attention is prediction.shift is prediction.personaliser is None
    assert sum(prediction.baseline.probabilities.values()) == pytest.approx(1, abs=1e-4)


def test_the_baseline_is_what_its_method_says_of_the_embedding(recogniser, tiny_model):
    from ser_core.data.batches import Batch

    features = torch.from_numpy(recogniser.embed([_voice(1)]))
    none = torch.zeros(1, 1)
    batch = Batch(features, (), none, none, features[:, None], none.bool(), none.long())
    with torch.inference_mode():
        expected = load_method(tiny_model / "baseline")(batch).emotion_logits.softmax(dim=-1)[0]
    answer = recogniser.recognise(Recording(_voice(1))).baseline
    np.testing.assert_allclose(list(answer.probabilities.values()), expected, atol=1e-5)


def test_an_answer_below_its_methods_threshold_is_not_sure_and_a_temperature_changes_no_emotion(recogniser, enrolment):
    features = recogniser.embed([_voice(1)])
    plain = recogniser.answer(features, enrolment)
    recogniser.baseline.certainty_ = Certainty(3.0, 0.99)
    recogniser.method("speaker_reference").certainty_ = Certainty(1.0, 0.0)
    said = recogniser.answer(features, enrolment)
    assert not said.baseline.sure and said.personalised.sure
    assert said.baseline.emotion == plain.baseline.emotion
    before, after = (np.log(list(one.baseline.probabilities.values())) for one in (plain, said))
    np.testing.assert_allclose(np.diff(after), np.diff(before) / 3, atol=0.01)  # log-odds are divided
    assert said.personalised.probabilities == plain.personalised.probabilities
    assert said.to_json("a.wav", None, [])["baseline"]["sure"] is False


def test_a_model_without_a_threshold_is_sure_from_forty_percent_on(recogniser):
    said = [recogniser.answer(recogniser.embed([_voice(k, k)])).baseline for k in range(12)]
    assert [one.sure for one in said] == [one.probabilities[one.emotion] >= 0.4 for one in said]


@pytest.mark.parametrize("personaliser", ["speaker_reference", "enrolment_attention", None])
def test_an_enrolment_gives_a_second_answer_and_leaves_the_first_alone(recogniser, enrolment, personaliser):
    alone = recogniser.recognise(Recording(_voice(1)))
    both = recogniser.recognise(Recording(_voice(1)), enrolment, personaliser)
    assert both.baseline == alone.baseline
    assert both.personalised != both.baseline and both.shift > 0
    assert both.personaliser == (personaliser or "speaker_reference")
    assert both.milliseconds["total"] == pytest.approx(
        sum(both.milliseconds[step] for step in ("decode", "listen", "encode", "personalise")), abs=0.05
    )


def test_the_order_of_the_enrolment_changes_nothing(recogniser, enrolment):
    order = [3, 1, 6, 0, 2, 5, 4]
    turned = Enrolment(
        tuple(enrolment.utterances[k] for k in order),
        tuple(enrolment.emotions[k] for k in order),
        enrolment.features[order],
    )
    for personaliser in recogniser.info.personalisers:
        there, back = (recogniser.recognise(Recording(_voice(1)), given, personaliser) for given in (enrolment, turned))
        np.testing.assert_allclose(
            list(there.personalised.probabilities.values()), list(back.personalised.probabilities.values()), atol=1e-5
        )
        assert (there.attention or {}) == pytest.approx(back.attention or {}, abs=1e-5)


def test_an_emotion_that_the_model_does_not_know_is_left_out(recogniser, enrolment):
    more = Enrolment(
        (*enrolment.utterances, "x"),
        (*enrolment.emotions, "boredom"),
        np.concatenate([enrolment.features, enrolment.features[:1] * 9]),
    )
    assert (
        recogniser.recognise(Recording(_voice(1)), more).personalised
        == recogniser.recognise(Recording(_voice(1)), enrolment).personalised
    )
    only = Enrolment(("x",), ("boredom",), enrolment.features[:1])
    assert recogniser.recognise(Recording(_voice(1)), only).personalised is None


def test_a_personaliser_that_hears_nothing_of_the_enrolment_gives_no_second_answer(
    workspace, tiny_model, recogniser, monkeypatch
):
    from dataclasses import replace

    method = recogniser.method("enrolment_attention")
    method.settings = replace(method.settings, use="neutral")
    enrolment = recogniser.enrol([("clip", "anger", _voice(2))])
    prediction = recogniser.recognise(Recording(_voice(1)), enrolment, "enrolment_attention")
    assert prediction.personalised is prediction.attention is prediction.shift is None


def test_weights_of_another_size_are_not_taken_for_the_encoder(workspace, monkeypatch, tmp_path):
    from transformers import WhisperConfig, WhisperModel

    config = WhisperConfig(
        d_model=16,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=16,
    )
    WhisperModel(config).save_pretrained(tmp_path / "other")
    monkeypatch.setenv("SER_WEIGHTS", str(tmp_path / "other"))
    with pytest.raises(EncoderUnavailable, match="3 layers of 16 values"):
        Recogniser(workspace, "whisper-tiny.en", "cpu")


def test_loudness_and_silence_around_the_utterance_change_little(recogniser):
    voice = _voice(1)
    quiet = np.concatenate([np.zeros(8_000, dtype=np.float32), voice * 0.1, np.zeros(16_000, dtype=np.float32)])
    there, here = (
        list(recogniser.recognise(Recording(wave)).baseline.probabilities.values()) for wave in (voice, quiet)
    )
    np.testing.assert_allclose(there, here, atol=0.15)


def test_a_profile_is_embedded_once_and_gives_what_its_clips_give(recogniser, workspace, monkeypatch):
    store = ProfileStore(workspace.profiles)
    store.add_many(
        "me", [(emotion, _voice(place), {}) for place, emotion in enumerate(APP_EMOTIONS)], create=consent_now()
    )
    first = enrolment_of(store, "me", recogniser)
    monkeypatch.setattr(recogniser, "embed", lambda waveforms: pytest.fail("embedded twice"))
    again = enrolment_of(store, "me", recogniser)
    np.testing.assert_array_equal(first.features, again.features)
    assert first.emotions == APP_EMOTIONS
    store.create("empty", consent_now())
    assert enrolment_of(store, "empty", recogniser) is None


def test_embedding_together_or_each_alone_gives_the_same(recogniser):
    waves = [_voice(1), _voice(2)[:9_000], _voice(3)]
    np.testing.assert_allclose(recogniser.embed(waves), recogniser.embed_each(waves), atol=1e-4)


def test_an_unknown_model_or_personaliser_is_named_with_the_choice(recogniser, workspace):
    with pytest.raises(UnknownModel, match="choose one of speaker_reference, enrolment_attention"):
        recogniser.recognise(Recording(_voice(1)), None, "magic")
    with pytest.raises(UnknownModel, match="there is no model 'magic'"):
        choose_model("magic", workspace)


@pytest.mark.parametrize("content", [None, "{}", "nonsense", '{"format": 99}'])
def test_a_folder_that_is_no_model_is_refused(content, tmp_path):
    if content is not None:
        (tmp_path / "model.json").write_text(content)
    with pytest.raises(UnknownModel):
        read_model(tmp_path)


def test_whisper_is_the_default_where_it_is_and_compact_where_it_is_not(workspace, weights, monkeypatch):
    monkeypatch.setenv("SER_WEIGHTS", str(weights))
    assert choose_model(None, workspace).name == "whisper-tiny.en"
    monkeypatch.delenv("SER_WEIGHTS")
    assert choose_model(None, workspace).name == "compact"
    with pytest.raises(EncoderUnavailable, match="models fetch whisper-tiny.en"):
        choose_model("whisper-tiny.en", workspace)


def test_a_fetch_that_fails_says_what_to_do(workspace, monkeypatch):
    def unreachable(*arguments, **settings):
        raise ConnectionError

    monkeypatch.setattr(models, "snapshot_download", unreachable)
    with pytest.raises(EncoderUnavailable, match="could not be fetched .* SER_WEIGHTS"):
        fetch("whisper-tiny.en", workspace)


def test_a_fetched_encoder_is_found_in_the_workspace(workspace, weights, monkeypatch):
    import shutil

    monkeypatch.delenv("SER_WEIGHTS")
    monkeypatch.setattr(
        models,
        "snapshot_download",
        lambda source, local_dir, allow_patterns: shutil.copytree(weights / "whisper-tiny.en-encoder", local_dir),
    )
    fetch("whisper-tiny.en", workspace)
    assert choose_model(None, workspace).name == "whisper-tiny.en"


@pytest.mark.parametrize("model", ["compact", "whisper-tiny.en"])
def test_the_models_that_ship_answer_on_real_speech(model, workspace, corpora, weights):
    """An actor that neither has heard, enrolled with one utterance of each emotion; anger is as plain as it gets."""
    recogniser = Recogniser(workspace, model, "cpu")
    actor = corpora / "ravdess" / "Actor_23"
    codes = {
        "neutral": "01",
        "happiness": "03",
        "sadness": "04",
        "anger": "05",
        "fear": "06",
        "disgust": "07",
        "surprise": "08",
    }
    clips = [
        (word, word, read_recording(actor / f"03-01-{code}-01-01-01-23.flac").waveform) for word, code in codes.items()
    ]
    prediction = recogniser.recognise(read_recording(actor / "03-01-05-02-02-02-23.flac"), recogniser.enrol(clips))
    assert prediction.personalised.emotion == "anger"
    assert prediction.personaliser == "speaker_reference" and prediction.shift > 0


def test_the_compact_encoder_hears_late_in_long_speech_as_well_as_early(workspace, corpora, weights):
    """What it learned from were utterances of some two seconds; it must be as near to Whisper where a person goes on."""
    compact = Recogniser(workspace, "compact", "cpu").encoder
    whisper = load_encoder("whisper", weights / "whisper-tiny.en-encoder")
    files = sorted((corpora / "ravdess" / "Actor_23").glob("03-01-0[3-6]-*.flac"))[::4]
    speech = torch.from_numpy(np.concatenate([level_and_trim(read_recording(file).waveform) for file in files]))
    assert len(speech) > 8 * SAMPLE_RATE
    with torch.inference_mode():
        wanted, heard = whisper([speech])[0][0, 1:4], compact([speech])[0][0, 1:4]
    errors = ((heard - wanted) ** 2 / wanted.var(dim=1, keepdim=True)).mean(dim=(0, 2))
    assert errors[300:].mean() < 1.5 * errors[:100].mean() < 0.75
