"""What Whisper writes down: the published weights in the package's own class, speech alone heard, nothing invented."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import WhisperConfig, WhisperForAudioClassification, WhisperForConditionalGeneration
from whisper.tokenizer import get_tokenizer

from ser_core.__main__ import main
from ser_core.data.audio import read_recording
from ser_core.data.talk import speech_pieces
from ser_core.encoders.base import DeviceUnavailable
from ser_core.inference import models, transcription
from ser_core.inference.models import UnknownModel, fetch
from ser_core.inference.transcription import (
    SIZES,
    Transcriber,
    TranscriberUnavailable,
    available,
    load_whisper,
    whispers_name,
)
from ser_core.weights import EncoderUnavailable
from ser_core.workspace import open_workspace

RATE = 16_000
ENGLISH, MULTILINGUAL = 51864, 51865


def small_config(vocabulary: int, **changed) -> WhisperConfig:
    sizes = {
        "d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 128, "decoder_layers": 3,
        "decoder_attention_heads": 2, "decoder_ffn_dim": 128, "num_mel_bins": 80, "max_target_positions": 64,
    }  # fmt: skip
    ids = {"pad_token_id": 50256, "bos_token_id": 50257, "eos_token_id": 50256, "decoder_start_token_id": 50257}
    return WhisperConfig(vocab_size=vocabulary, **{**sizes, **ids, **changed})


def a_checkpoint(folder, vocabulary: int = ENGLISH, **changed) -> WhisperForConditionalGeneration:
    """Of random weights, as OpenAI lays it out on the hub."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        published = WhisperForConditionalGeneration(small_config(vocabulary, **changed)).eval()
        with torch.no_grad():
            for name, parameter in published.named_parameters():
                if "embed_positions" not in name:
                    parameter.normal_(0.0, 0.3)
    published.save_pretrained(folder)
    return published


def a_speaking_checkpoint(folder, text: str, language: str | None = None) -> None:
    """One whose decoder says a text whatever it hears: at each place its positional embedding points at the next token."""
    vocabulary = MULTILINGUAL if language else ENGLISH
    a_checkpoint(folder, vocabulary)
    load_whisper(folder)  # the package's tokenizer is read without its warning
    tokenizer = get_tokenizer(bool(language), num_languages=99, language=language, task="transcribe")
    first = [*tokenizer.sot_sequence_including_notimestamps][1:]  # what follows the start, which the model is given
    tokens = [*first, *tokenizer.encode(f" {text}"), tokenizer.eot]
    weights = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(5)
    embedding = torch.randn(vocabulary, 32, generator=generator)
    weights["model.decoder.embed_tokens.weight"] = embedding
    weights["model.decoder.embed_positions.weight"][: len(tokens)] = 100 * embedding[tokens]
    weights["model.decoder.layer_norm.weight"] = torch.full((32,), 5.0)
    weights["model.decoder.layer_norm.bias"] = torch.zeros(32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """One in which no Whisper is at hand, nor in the cache of whoever runs the tests."""
    monkeypatch.delenv("SER_WEIGHTS", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "no cache"))
    return open_workspace(tmp_path / "workspace")


@pytest.fixture(scope="module")
def speaking(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speaking") / "whisper-base.en"
    a_speaking_checkpoint(folder, "Kids are talking by the door.")
    return folder


@pytest.fixture
def heard(speech_file) -> np.ndarray:
    return read_recording(speech_file).waveform


class Counting:
    """Stands where Whisper is: counts, and gives back what it was told to."""

    def __init__(self, **said):
        self.dims = SimpleNamespace(n_mels=80)
        self.is_multilingual = False
        self.n_heard = self.n_written = self.n_at_once = self.most_at_once = 0
        good = {"text": " Yes. ", "no_speech_prob": 0.01, "avg_logprob": -0.2, "compression_ratio": 0.8}
        self.said = SimpleNamespace(**{**good, **said})

    def embed_audio(self, mel):
        assert mel.shape == (1, 80, 3000)
        self.n_heard += 1
        return torch.zeros(1, 1500, 4)

    def decode(self, features, options):
        self.n_written += 1
        return self.said


@pytest.fixture
def counting(speaking, workspace):
    """A transcriber and the stub in it."""

    def build(**said) -> tuple[Transcriber, Counting]:
        transcriber = Transcriber(workspace, speaking, "cpu")
        transcriber._model = Counting(**said)
        return transcriber, transcriber._model

    return build


@pytest.mark.parametrize("vocabulary", [ENGLISH, MULTILINGUAL])
def test_the_packages_model_gives_the_logits_of_the_published_one(vocabulary, tmp_path):
    published = a_checkpoint(tmp_path, vocabulary)
    ours = load_whisper(tmp_path)
    generator = torch.Generator().manual_seed(3)
    mel = torch.randn(2, 80, 3000, generator=generator)
    tokens = torch.randint(0, vocabulary, (2, 11), generator=generator)
    with torch.inference_mode():
        theirs = published(input_features=mel, decoder_input_ids=tokens).logits
        logits = ours(mel, tokens)
    assert theirs.std() > 0.1 and (theirs[0] - theirs[1]).abs().max() > 0.1
    torch.testing.assert_close(logits, theirs, atol=1e-4, rtol=1e-4)
    assert ours.is_multilingual == (vocabulary == MULTILINGUAL)
    assert not any(parameter.requires_grad for parameter in ours.parameters())


def test_every_weight_has_a_name_in_the_packages_model_and_none_is_left_over(tmp_path):
    from whisper.model import ModelDimensions, Whisper

    published = a_checkpoint(tmp_path)
    renamed = [name for key in published.state_dict() if (name := whispers_name(key)) is not None]
    assert len(renamed) == len(set(renamed)) == len(published.state_dict()) - 1  # the output is the token embedding
    assert set(renamed) == set(Whisper(ModelDimensions(80, 1500, 32, 4, 2, ENGLISH, 64, 32, 2, 3)).state_dict())


def test_what_is_not_among_the_weights_is_as_in_the_package(tmp_path):
    from whisper.model import Whisper

    a_checkpoint(tmp_path)
    ours = load_whisper(tmp_path)
    fresh = dict(Whisper(ours.dims).named_buffers())
    for name, buffer in ours.named_buffers():
        assert buffer.layout == torch.strided and buffer.device.type == "cpu"  # Apple's devices take nothing sparse
        if name != "alignment_heads":
            torch.testing.assert_close(buffer, fresh[name])


def test_a_file_becomes_segments_and_text_through_the_real_package(speaking, workspace, heard):
    transcriber = Transcriber(workspace, speaking, "cpu")
    transcript = transcriber.transcribe(heard)
    [segment] = transcript.segments
    assert transcript.text == segment.text == "Kids are talking by the door."
    assert transcript.language == "en" and transcript.model == "whisper-base.en"
    assert 0.5 < segment.start_s < segment.end_s < len(heard) / RATE  # RAVDESS begins and ends with silence
    assert 0 <= segment.no_speech_probability < 0.5 and -0.5 < segment.mean_log_probability <= 0
    assert transcriber.transcribe(heard).segments == transcript.segments


def test_the_command_writes_down_a_file_through_the_real_package(speaking, workspace, speech_file, capsys):
    command = [
        "transcribe",
        speech_file,
        "--whisper",
        speaking,
        "--device",
        "cpu",
        "--json",
        "--workspace",
        workspace.root,
    ]
    assert main([*map(str, command)]) == 0
    [answer] = json.loads(capsys.readouterr().out)
    assert answer["text"] == "Kids are talking by the door." and answer["segments"][0]["start_s"] > 0.5


def test_the_language_is_told_by_a_multilingual_model(workspace, heard, tmp_path):
    a_speaking_checkpoint(tmp_path / "babel", "Guten Tag!", "de")
    transcriber = Transcriber(workspace, tmp_path / "babel", "cpu")
    decode, asked = transcriber._model.decode, []

    def noted(features, options):
        asked.append(options)
        return decode(features, options)

    transcriber._model.decode = noted
    transcript = transcriber.transcribe(heard)
    assert (transcript.language, transcript.text) == ("de", "Guten Tag!")
    [options] = asked
    assert (options.language, options.task, options.temperature, options.fp16) == ("de", "transcribe", 0.0, False)


def test_what_the_real_package_repeats_without_end_is_dropped(workspace, heard, tmp_path):
    a_speaking_checkpoint(tmp_path / "stuck", "no no no no no no no no no no no no no no no no no no no no no no")
    transcript = Transcriber(workspace, tmp_path / "stuck", "cpu").transcribe(heard)
    assert (transcript.text, transcript.language, transcript.segments) == ("", None, ())


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(0, dtype=np.float32),
        np.zeros(5 * RATE, dtype=np.float32),
        np.random.default_rng(0).normal(0, 0.02, 5 * RATE).astype(np.float32),
        (0.2 * np.sin(np.arange(5 * RATE) * 0.17)).astype(np.float32),
    ],
    ids=["nothing", "silence", "noise", "a tone"],
)
def test_where_nobody_speaks_whisper_is_never_asked(sound, counting):
    transcriber, whisper = counting()
    transcript = transcriber.transcribe(sound)
    assert (transcript.text, transcript.language, transcript.segments) == ("", None, ())
    assert whisper.n_heard == whisper.n_written == 0


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({}, "Yes."),
        ({"no_speech_prob": 0.9}, "Yes."),  # sure of its words all the same
        ({"avg_logprob": -1.5}, "Yes."),
        ({"no_speech_prob": 0.61, "avg_logprob": -1.01}, ""),
        ({"compression_ratio": 2.41}, ""),
        ({"text": "  "}, ""),
    ],
)
def test_what_whisper_does_not_believe_itself_or_repeats_is_dropped(said, text, counting, heard):
    transcriber, whisper = counting(**said)
    transcript = transcriber.transcribe(heard)
    assert whisper.n_written == 1
    assert transcript.text == text and len(transcript.segments) == bool(text)
    assert transcript.language == ("en" if text else None)


def test_in_two_minutes_speech_alone_is_heard_and_times_are_those_of_the_recording(counting, heard):
    recording = np.zeros(120 * RATE, dtype=np.float32)
    recording += np.random.default_rng(1).normal(0, 1e-4, len(recording)).astype(np.float32)
    places = (3, 50, 100)
    for place in places:
        recording[place * RATE : place * RATE + len(heard)] += heard
    transcriber, whisper = counting()
    transcript = transcriber.transcribe(recording)
    assert whisper.n_heard == whisper.n_written == 3
    assert transcript.text == "Yes. Yes. Yes."
    for place, segment in zip(places, transcript.segments, strict=True):
        assert place < segment.start_s < segment.end_s < place + len(heard) / RATE


def test_two_minutes_are_written_down_by_the_real_package_too(speaking, workspace, heard):
    recording = np.concatenate([heard, np.zeros(114 * RATE, dtype=np.float32), heard])
    transcript = Transcriber(workspace, speaking, "cpu").transcribe(recording)
    assert transcript.text == "Kids are talking by the door. Kids are talking by the door."
    assert transcript.segments[1].start_s > 114


def test_one_utterance_of_short_pauses_is_heard_at_once():
    spans = [(0.1, 1.0), (1.5, 3.0), (4.5, 6.0)]
    assert speech_pieces(spans, np.zeros(7 * RATE), 2.0, 30.0, 0.2) == [(0.0, pytest.approx(6.2))]


def test_long_pauses_and_the_ends_of_the_window_part_what_is_heard():
    spans = [(1.0, 2.0), (8.0, 28.0), (28.2, 50.0), (50.1, 57.9)]
    pieces = speech_pieces(spans, np.zeros(58 * RATE), 2.0, 30.0, 0.2)
    assert pieces == [pytest.approx(part) for part in [(0.8, 2.2), (7.8, 28.1), (28.1, 58.0)]]


def test_speech_without_a_pause_is_cut_where_it_is_quietest():
    speech = np.random.default_rng(0).normal(0, 0.1, 70 * RATE)
    for quiet in (25.0, 45.0):
        speech[int((quiet - 0.1) * RATE) : int((quiet + 0.1) * RATE)] *= 0.01
    pieces = speech_pieces([(1.0, 69.0)], speech, 2.0, 30.0, 0.2)
    assert all(end - start <= 30.0 for start, end in pieces)
    assert [pieces[0][1], pieces[1][1]] == [pytest.approx(25.0, abs=0.1), pytest.approx(45.0, abs=0.1)]
    assert [start for start, _ in pieces[1:]] == [end for _, end in pieces[:-1]]
    assert (pieces[0][0], pieces[-1][1]) == (pytest.approx(0.8), pytest.approx(69.2))


def test_many_may_ask_at_once_and_are_served_one_by_one(speaking, workspace, heard):
    transcriber = Transcriber(workspace, speaking, "cpu")
    written, inside, most = [], 0, 0
    decode = transcriber._model.decode

    def watched(features, options):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        result = decode(features, options)
        time.sleep(0.2)  # so that the others would come in
        inside -= 1
        return result

    transcriber._model.decode = watched
    asking = [threading.Thread(target=lambda: written.append(transcriber.transcribe(heard).text)) for _ in range(4)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert written == ["Kids are talking by the door."] * 4 and most == 1


def test_a_transcript_goes_to_json_and_what_is_no_number_is_null(counting, heard):
    transcriber, _ = counting(no_speech_prob=float("nan"))
    said = json.loads(json.dumps(transcriber.transcribe(heard).to_json(), allow_nan=False))
    assert set(said) == {"text", "language", "segments", "model", "seconds"}
    assert said["segments"][0]["no_speech_probability"] is None and said["segments"][0]["text"] == "Yes."


# what is here, and what is not


def test_nothing_is_available_where_nothing_is_and_the_remedy_is_named(workspace):
    assert available(workspace) == ()
    with pytest.raises(TranscriberUnavailable, match="python -m ser_core models fetch whisper-base.en`"):
        Transcriber(workspace)
    with pytest.raises(TranscriberUnavailable, match="'whisper-small' is not on this machine.*fetch whisper-small`"):
        Transcriber(workspace, "whisper-small")
    with pytest.raises(TranscriberUnavailable, match="no Whisper 'enormous'; choose one of whisper-base.en"):
        Transcriber(workspace, "enormous")


def test_what_was_fetched_what_ser_weights_names_and_what_the_hub_has_cached_is_found_best_first(
    workspace, tmp_path, monkeypatch
):
    a_checkpoint(workspace.models / "whisper-tiny", MULTILINGUAL)
    a_checkpoint(tmp_path / "weights" / "whisper-large", MULTILINGUAL)  # as the hub calls the first large one
    monkeypatch.setenv("SER_WEIGHTS", str(tmp_path / "weights"))
    cached = tmp_path / "cache" / "models--openai--whisper-base.en"
    a_checkpoint(cached / "snapshots" / "abc")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    assert available(workspace) == ("whisper-base.en", "whisper-tiny", "whisper-large-v1")
    assert Transcriber(workspace, device="cpu").name == "whisper-base.en"
    assert Transcriber(workspace, "whisper-tiny", "cpu").name == "whisper-tiny"


def test_ser_weights_may_name_the_folder_itself_and_then_no_other_size_is_meant(workspace, tmp_path, monkeypatch):
    a_checkpoint(tmp_path / "whisper-small.en")
    monkeypatch.setenv("SER_WEIGHTS", str(tmp_path / "whisper-small.en"))
    assert available(workspace) == ("whisper-small.en",)


def test_an_encoder_alone_is_no_transcriber(workspace, tmp_path):
    WhisperForAudioClassification(small_config(ENGLISH)).save_pretrained(workspace.models / "whisper-tiny.en")
    assert available(workspace) == ()
    with pytest.raises(
        TranscriberUnavailable, match="has no decoder; it hears but cannot write.*fetch whisper-base.en`"
    ):
        Transcriber(workspace, workspace.models / "whisper-tiny.en")


def test_the_encoder_at_hand_for_recognition_is_not_taken_for_a_transcriber(workspace, weights, monkeypatch):
    monkeypatch.setenv("SER_WEIGHTS", str(weights))
    assert "whisper-tiny.en" not in available(workspace)
    with pytest.raises(TranscriberUnavailable, match="'whisper-tiny.en-encoder' has no decoder"):
        Transcriber(workspace, weights / "whisper-tiny.en-encoder")


def _without_weights(folder):
    (folder / "model.safetensors").unlink()


def _cut_off(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def _without_a_layer(folder):
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "decoder.layers.2." not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def _without_a_bias(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["model.decoder.layers.1.fc1.bias"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _config(**changed):
    def change(folder):
        config = json.loads((folder / "config.json").read_text())
        kept = {name: value for name, value in {**config, **changed}.items() if value is not None}
        (folder / "config.json").write_text(json.dumps(kept))

    return change


@pytest.mark.parametrize(
    ("harm", "words", "seen_at_once"),
    [
        (_without_weights, r"no \*.safetensors", True),
        (_cut_off, "broken; fetch the model again", True),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), "broken", True),
        (_without_a_layer, "lacks weights, decoder.layers.2", True),
        (_without_a_bias, "do not fit its config.json", False),
        (lambda folder: (folder / "config.json").unlink(), "no readable config.json", True),
        (lambda folder: (folder / "config.json").write_text("[1]"), "no readable config.json", True),
        (_config(model_type="bert"), "is a bert model, not Whisper", True),
        (_config(d_model=None), "lacks d_model", True),
        (_config(d_model="many"), "d_model many", True),
        (_config(decoder_layers=10**9), "sizes that no published Whisper has", True),
        (_config(decoder_layers=4), "lacks weights, decoder.layers.3", True),
        (_config(d_model=64), "do not fit its config.json", True),
        (_config(vocab_size=1000), "vocab_size 1000", True),
        (_config(vocab_size=ENGLISH), "do not fit its config.json", True),
        (_config(encoder_attention_heads=5), "encoder_attention_heads 5", True),
        (_config(max_source_positions=100), "max_source_positions 100", True),
    ],
)
def test_a_folder_that_is_not_whole_or_not_whisper_is_refused_in_words(harm, words, seen_at_once, workspace):
    folder = workspace.models / "whisper-base"
    a_checkpoint(folder, MULTILINGUAL)
    harm(folder)
    with pytest.raises(TranscriberUnavailable, match=words) as refused:
        Transcriber(workspace, folder, "cpu")
    assert str(workspace.root) not in str(refused.value)
    assert available(workspace) == (() if seen_at_once else ("whisper-base",))


def test_a_pt_file_is_refused_and_never_opened(workspace, tmp_path):
    (tmp_path / "base.pt").write_bytes(b"\x80\x04cos\nsystem\n.")
    with pytest.raises(TranscriberUnavailable, match="'base.pt' is a file; name the folder .*never opened"):
        Transcriber(workspace, tmp_path / "base.pt")


def test_weights_in_two_files_are_read_and_one_of_the_two_is_not_taken_for_a_model(workspace, tmp_path):
    folder = workspace.models / "whisper-large-v2"
    published = a_checkpoint(tmp_path / "one", MULTILINGUAL)
    published.save_pretrained(folder, max_shard_size="4MB")
    shards = sorted(folder.glob("*.safetensors"))
    assert len(shards) > 1
    torch.testing.assert_close(
        load_whisper(folder).decoder.positional_embedding, published.model.decoder.embed_positions.weight
    )
    assert available(workspace) == ("whisper-large-v2",)
    shards[-1].unlink()
    assert available(workspace) == ()


def test_a_device_that_is_not_here_is_named(speaking, workspace):
    with pytest.raises(DeviceUnavailable, match="no device 'abacus'"):
        Transcriber(workspace, speaking, "abacus")


# fetching


@pytest.mark.parametrize("name", SIZES)
def test_every_size_can_be_fetched_and_is_then_at_hand(name, workspace, speaking, monkeypatch):
    asked = []

    def download(source, local_dir, allow_patterns):
        asked.append((source, allow_patterns))
        shutil.copytree(speaking, local_dir)

    monkeypatch.setattr(models, "snapshot_download", download)
    assert fetch(name, workspace) == workspace.models / name
    [(source, patterns)] = asked
    assert source == SIZES[name] and available(workspace) == (name,)
    offered = ("config.json", "model.safetensors", "model-00001-of-00002.safetensors", "pytorch_model.bin", "base.pt")
    offered += ("model.fp32-00001-of-00002.safetensors",)
    assert [*huggingface_hub.utils.filter_repo_objects(offered, allow_patterns=patterns)] == [*offered[:3]]


def test_a_name_that_is_none_is_refused_with_those_that_are(workspace):
    with pytest.raises(UnknownModel, match="'whisper-enormous'; choose one of .*whisper-base"):
        fetch("whisper-enormous", workspace)


def test_a_fetch_that_brings_no_weights_or_breaks_off_leaves_no_half_folder(workspace, monkeypatch):
    def download(source, local_dir, allow_patterns):
        local_dir.mkdir(parents=True)
        (local_dir / "config.json").write_text("{}")
        if broken:
            raise ConnectionError

    monkeypatch.setattr(models, "snapshot_download", download)
    for words in ("could not be fetched .*check the connection", "no whole"):
        broken = words != "no whole"
        with pytest.raises(EncoderUnavailable, match=words):
            fetch("whisper-base", workspace)
        assert not (workspace.models / "whisper-base").exists()


def test_what_had_arrived_whole_before_a_download_broke_off_stays_and_is_not_taken_for_a_model(workspace, monkeypatch):
    def download(source, local_dir, allow_patterns):
        (local_dir / ".cache").mkdir(parents=True)
        (local_dir / "config.json").write_text("{}")
        (local_dir / "model-00001-of-00002.safetensors").write_bytes(b"the first of two")
        (local_dir / ".cache" / "abc.incomplete").write_bytes(b"half of the second")
        raise ConnectionError

    monkeypatch.setattr(models, "_ask_hub", lambda source: None)  # there is no network here
    monkeypatch.setattr(models, "snapshot_download", download)
    with pytest.raises(EncoderUnavailable):
        fetch("whisper-base", workspace)
    assert (workspace.models / "whisper-base" / "model-00001-of-00002.safetensors").is_file()
    assert available(workspace) == ()


@pytest.mark.parametrize("hub", ["is not there", "says nothing"])
def test_a_hub_that_cannot_be_reached_is_not_waited_for(hub, workspace):
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        if hub == "says nothing":
            port.listen()
        environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
        environment["HF_ENDPOINT"] = f"http://127.0.0.1:{port.getsockname()[1]}"
        command = [sys.executable, "-m", "ser_core", "models", "fetch", "whisper-base", "--workspace", workspace.root]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2
    assert "'openai/whisper-base' could not be fetched" in done.stderr and "check the connection" in done.stderr
    assert not (workspace.models / "whisper-base").exists()


def test_a_hub_whose_very_address_cannot_be_looked_up_is_not_waited_for(workspace, monkeypatch):
    never = threading.Event()
    monkeypatch.setattr(models.HfApi, "model_info", lambda *_, **__: never.wait())
    monkeypatch.setattr(models, "_HUB_S", 0.05)
    with pytest.raises(EncoderUnavailable, match="could not be fetched .TimeoutError.; check the connection"):
        fetch("whisper-base", workspace)
    never.set()


def test_the_package_is_not_imported_before_it_is_needed():
    program = "import sys, ser_core.inference.models; print('whisper' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False", transcription.__name__
