"""Every reader of what others hand in, with valid inputs of the project's own making, for benchmarks/fuzz.py and its test.

A case is the content of one file. The reader must give a valid value, which is checked, or its own small named error.
"""

import io
import json
import shutil
import struct
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch

from ser_core import recipe as recipes
from ser_core.data import audio
from ser_core.data.corpora import manifest_file
from ser_core.data.corpora.synthetic import buzz
from ser_core.encoders import ENCODERS, load_encoder
from ser_core.encoders.compact import Compact, CompactSettings
from ser_core.encoders.text import load_text_encoder
from ser_core.encoders.wav2vec2 import Wav2Vec2
from ser_core.encoders.whisper import Whisper
from ser_core.evaluation.predictions import read_predictions
from ser_core.inference.archives import UNLABELLED, ArchivedProfile, ArchivedUtterance, as_flac, pack, unpack
from ser_core.inference.calibration import PriorCorrection, SpeakerStatistics
from ser_core.inference.consent import consent_now
from ser_core.inference.live import LiveTake
from ser_core.inference.models import ModelInfo, read_model, write_model
from ser_core.inference.models import Reader as ModelReader
from ser_core.inference.onnx import ONNX_FORMAT, OnnxRecogniser
from ser_core.inference.profiles import ProfileStore
from ser_core.inference.recogniser import Recogniser
from ser_core.inference.voices import VoiceLine
from ser_core.labels import APP_EMOTIONS, ATTRIBUTES, EMOTIONS
from ser_core.methods import METHODS
from ser_core.methods.base import FeatureShape, TextShape
from ser_core.methods.checkpoint import load_method, save_method
from ser_core.training.jobs import Order, read_job
from ser_core.training.states import States
from ser_core.training.status import Status, read_status, state_of
from ser_core.ui.listening import Listeners, answer
from ser_core.ui.runs_shown import command_of, progress_in_words, results_table, runs_table, state_in_words
from ser_core.workspace import open_workspace

CONTAINERS = {
    "wav16": ("WAV", "PCM_16"), "wav24": ("WAV", "PCM_24"), "wav8": ("WAV", "PCM_U8"), "float": ("WAV", "FLOAT"), "double": ("WAV", "DOUBLE"),
    "ulaw": ("WAV", "ULAW"), "alaw": ("WAV", "ALAW"), "ima": ("WAV", "IMA_ADPCM"), "ms": ("WAV", "MS_ADPCM"), "gsm": ("WAV", "GSM610"),
    "g721": ("WAV", "G721_32"), "nms": ("WAV", "NMS_ADPCM_16"), "wavmp3": ("WAV", "MPEG_LAYER_III"),
    "wavex": ("WAVEX", "PCM_16"), "rf64": ("RF64", "PCM_16"), "w64": ("W64", "PCM_16"), "flac": ("FLAC", "PCM_16"), "flac24": ("FLAC", "PCM_24"),
    "vorbis": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III"), "aiff": ("AIFF", "PCM_16"), "aifc": ("AIFF", "IMA_ADPCM"),
    "au": ("AU", "PCM_16"), "caf": ("CAF", "PCM_16"), "alac": ("CAF", "ALAC_16"), "voc": ("VOC", "PCM_16"), "nist": ("NIST", "PCM_16"),
    "ircam": ("IRCAM", "PCM_16"), "paf": ("PAF", "PCM_16"), "svx": ("SVX", "PCM_16"), "mat4": ("MAT4", "PCM_16"), "mat5": ("MAT5", "PCM_16"),
    "pvf": ("PVF", "PCM_16"), "xi": ("XI", "DPCM_16"), "htk": ("HTK", "PCM_16"), "avr": ("AVR", "PCM_16"), "mpc2k": ("MPC2K", "PCM_16"),
    "sds": ("SDS", "PCM_16"), "wve": ("WVE", "ALAW"),
}  # fmt: skip
"""All that the library reads, not only what the page names."""


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        kind: how cases are bent, a key of MUTATIONS.
        file: what a case is called in its folder.
        make: fills a folder with what else is needed, and gives valid inputs.
        read: given the path of the case; raises AssertionError where the value is not valid.
        n_cases: of a whole run.
        n_sampled: of those, in the test suite.
    """

    kind: str
    file: str
    make: Callable[[Path], list[bytes]]
    read: Callable[[Path], object]
    n_cases: int
    n_sampled: int = 0


def voice(seconds: float = 0.8, rate_hz: int = audio.SAMPLE_RATE) -> np.ndarray:
    """Something that buzzes, (N,) float32."""
    one = buzz(1, "anger", 0, np.random.default_rng(0))
    return np.resize(one, int(seconds * rate_hz)).astype(np.float32)


# audio


def encoded(container: str, subtype: str, rate_hz: int = 16_000, channels: int = 1) -> bytes:
    """A voice in a container, as bytes."""
    stream = io.BytesIO()
    samples = np.tile(voice(0.6, rate_hz)[:, None], channels)
    soundfile.write(stream, samples, rate_hz, format=container, subtype=subtype)
    return stream.getvalue()


def _sounds(folder: Path) -> list[bytes]:
    made = []
    for container, subtype in CONTAINERS.values():
        for rate_hz in (16_000, 8_000):
            try:
                made.append(encoded(container, subtype, rate_hz))
                break
            except (soundfile.LibsndfileError, TypeError, ValueError):  # this build cannot write it
                continue
    stereo = [encoded(*CONTAINERS[name], 44_100, 2) for name in ("wav16", "flac", "vorbis")]
    return [*made, *stereo]


def _checked(recording: audio.Recording) -> audio.Recording:
    waveform, limits = recording.waveform, audio.UTTERANCE
    assert waveform.dtype == np.float32 and waveform.ndim == 1
    assert np.isfinite(waveform).all() and np.abs(waveform).max() <= 1.0
    assert 0.99 * limits.min_s <= recording.duration_s <= limits.max_s
    assert np.isfinite(audio.level_and_trim(waveform)).all()
    return recording


def _read_sound(path: Path) -> object:
    return _checked(audio.read_recording(path))


def _read_sound_bytes(path: Path) -> object:
    return _checked(audio.read_recording(path.read_bytes()))


# tables


def _manifest(folder: Path) -> list[bytes]:
    rows = []
    for place in range(12):
        (folder / f"{place}.wav").touch()
        rows.append({
            "utterance_id": f"u{place}", "path": f"{place}.wav", "speaker": f"s{place % 3}", "emotion": EMOTIONS[place % 4],
            "gender": ("female", "male", "unknown")[place % 3], "age": 20 + place, "duration_s": 0.5, "language": "en", "split": "train",
            "arousal": 1 + place % 5, "valence": 2.5, "dominance": 3, "text": "a, b", "text_id": place % 2, "intensity": 1,
            "duplicate_of": "",
        })  # fmt: skip
    table = pd.DataFrame(rows)
    few = table[["path", "speaker", "emotion"]]
    return [one.to_csv(index=False).encode() for one in (table, few)]


def _tabbed(folder: Path) -> list[bytes]:
    return [content.replace(b'"a, b"', b"a b").replace(b",", b"\t") for content in _manifest(folder)]


def _read_manifest(path: Path) -> object:
    corpus = manifest_file.load(path, "fuzzed")
    table = corpus.table
    assert len(table) and table.index.is_unique and table.columns.is_unique
    assert table["speaker"].map(type).eq(str).all() and set(table["emotion"].dropna()) <= {
        *EMOTIONS,
        "other",
        "no_agreement",
    }
    assert all(pd.api.types.is_float_dtype(table[name]) for name in ATTRIBUTES)
    assert all(isinstance(problem, str) for problem in corpus.problems)
    assert set(corpus.relabelled(APP_EMOTIONS).emotions) <= set(APP_EMOTIONS)
    return corpus


def _predictions(folder: Path) -> list[bytes]:
    rng, rows = np.random.default_rng(0), []
    for place in range(16):
        p = rng.dirichlet(np.ones(3)).round(4)
        rows.append({
            "utterance_id": f"u{place % 8}", "speaker": f"s{place % 4}", "gender": ("female", "male")[place % 2], "corpus": "made",
            "emotion": EMOTIONS[place % 8 % 3], "predicted_emotion": EMOTIONS[place % 3], "method": ("baseline", "mine")[place // 8], "seed": 0,
            "text_id": place % 2, "intensity": 1, "p_neutral": p[0], "p_happiness": p[1], "p_sadness": round(1 - p[0] - p[1], 4),
        })  # fmt: skip
    table = pd.DataFrame(rows)
    few, one = (
        table[["speaker", "emotion", "predicted_emotion"]],
        table[table["method"] == "mine"].drop(columns="predicted_emotion"),
    )
    return [
        *(each.to_csv(index=False).encode() for each in (table, few, one)),
        few.to_csv(index=False, sep=";").encode(),
    ]


def _read_predictions(path: Path) -> object:
    read = read_predictions(path)
    assert len(read.table) and read.methods and set(read.table["method"]) == set(read.methods)
    assert set(read.table["emotion"]) | set(read.table["predicted_emotion"]) <= set(EMOTIONS)
    assert read.table["speaker"].map(type).eq(str).all() and all(isinstance(note, str) for note in read.notes)
    return read


# recipes


def _recipe_files(folder: Path) -> list[bytes]:
    texts = [
        path.read_text("utf-8") for path in sorted(recipes.RECIPES.glob("*.toml")) if not path.stem.endswith("_split")
    ]
    return [text.encode() for text in texts]


def _read_recipe(path: Path) -> object:
    return _checked_recipe(recipes.read_recipe(path))


def _split_files(folder: Path) -> list[bytes]:
    return [b'dev = ["a", "b"]\ntest = ["c", "d", "e"]\n']


def _read_split(path: Path) -> object:
    split = recipes.read_split(path)
    assert all(isinstance(name, str) for name in (*split.dev, *split.test))
    return split


def _assignments(folder: Path) -> list[bytes]:
    recipe, lines = recipes.read_recipe("baseline"), []
    for part in recipes.PARTS:
        values = recipe.settings if part == "settings" else vars(getattr(recipe, part))
        lines += [f"{part}.{key}={json.dumps(value)}" for key, value in values.items()]
    return ["\n".join([*lines, "settings.hidden=64"]).encode()]


def _read_settings(path: Path) -> object:
    lines = path.read_bytes().decode("utf-8", errors="surrogateescape").split("\n")
    return _checked_recipe(recipes.read_recipe("baseline").changed(lines))


def _checked_recipe(recipe: recipes.Recipe) -> recipes.Recipe:
    assert isinstance(recipe.name, str) and isinstance(recipe.method, str)
    for part in ("encoder", "text", "speaker_encoder", "training", "data"):
        chosen = getattr(recipe, part)
        for item in fields(chosen):
            value = getattr(chosen, item.name)
            numbers = isinstance(item.default, float) and type(value) is int
            assert type(value) is type(item.default) or numbers, f"{part}.{item.name} is {value!r}"
    assert all(type(layer) is int for part in (recipe.encoder, recipe.text) for layer in part.layers)
    assert all(isinstance(name, str) for name in (*recipe.data.unlabelled, *recipe.beside))
    recipe.without_paths()
    if recipe.method in METHODS:
        recipes.settings_from(METHODS[recipe.method].Settings, recipe.settings, "settings")
        json.dumps(recipe.to_json())
    return recipe


# profiles


def _archives(folder: Path) -> list[bytes]:
    stamp, flac = "2026-01-02T03:04:05.678+00:00", as_flac(voice(0.6))
    kept = tuple(
        ArchivedUtterance(word, 0.6, stamp, {"verdict": "good", "advice": ["a"], "snr_db": None}, flac, "a door")
        for word in ("anger", UNLABELLED)
    )
    return [pack(ArchivedProfile("Ada", stamp, kept[:n], asdict(consent_now()))) for n in (1, 2)]


def _read_archive(path: Path) -> object:
    profile = unpack(path.read_bytes())
    assert isinstance(profile.name, str)
    for one in profile.utterances:
        _checked(audio.read_recording(one.flac))
    again = unpack(pack(profile))
    assert [one.flac for one in again.utterances] == [one.flac for one in profile.utterances]
    return profile


def _bring_in(path: Path) -> object:
    store = ProfileStore(path.parent / "profiles.sqlite3")
    profile = store.import_archive(path.read_bytes(), consent_now())
    assert store.get(profile.name).name == profile.name
    unpack(store.export(profile.name))
    store.delete(profile.name)
    return profile


# models


def _model(folder: Path) -> None:
    """A model with random weights, as small as can be."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Compact(CompactSettings(width=16, n_transformer_layers=1, n_heads=2, feedforward=16)).save(
            folder / "encoder", half=True
        )
        shape = FeatureShape(n_layers=2, n_values=32, layers=(0, 1))
        for name in ("baseline", "speaker_reference"):
            method = METHODS[name].build({"embedding": 8, "hidden": 8}, shape, APP_EMOTIONS, name)
            save_method(method, recipes.Recipe(name, name), folder / name, half=True)
        text = TextShape(3, 16, (0, 1, 2))
        reads = METHODS["multimodal"].build({"embedding": 8, "hidden": 8}, shape, APP_EMOTIONS, "multimodal", text)
        save_method(reads, recipes.Recipe("multimodal", "multimodal"), folder / "multimodal", half=True)
    reader = ModelReader("multimodal", "minilm", "", (1.0, 7.0), "circumplex")
    write_model(
        ModelInfo("made", folder, "compact", "encoder", APP_EMOTIONS, "baseline", ("speaker_reference",), reader)
    )
    report = {"train_speakers": ["a", "b"], "dev_speakers": ["c"], "target_speakers": [], "models": {}}
    (folder / "report.json").write_text(json.dumps(report))
    (folder / "README.md").write_text("# A card\n")
    rng = np.random.default_rng(0)
    heard, said = rng.normal(size=(40, 8)), rng.dirichlet(np.ones(7), 40)
    correction = PriorCorrection().fit(heard, np.arange(40) % 8, np.arange(40) % 7, said)
    correction.save(folder / "calibration.safetensors")
    VoiceLine.fit(heard, np.arange(40) % 2 == 0).save(folder / "voices.safetensors")


def _of_model(*names: str) -> Callable[[Path], list[bytes]]:
    def make(folder: Path) -> list[bytes]:
        _model(folder)
        return [(folder / name).read_bytes() for name in names]

    return make


def _read_model(path: Path) -> object:
    info = read_model(path.parent)
    words = (info.name, info.encoder, info.source, info.baseline, *info.emotions, *info.personalisers)
    assert all(isinstance(word, str) for word in words)
    if info.reader:
        assert all(isinstance(word, str) for word in (info.reader.method, info.reader.encoder, info.reader.source))
    info.why_unavailable(open_workspace(path.parent / "workspace"))
    assert isinstance(info.card, str)
    assert all(isinstance(name, str) for name in info.heard_speakers or ())
    return info


def _whole_model(path: Path) -> object:
    """From the folder to an answer, whatever in it was bent."""
    recogniser = Recogniser(open_workspace(path.parent / "workspace"), str(path.parent), "cpu")
    said = recogniser.recognise(audio.Recording(voice(0.6)))
    assert said.baseline.emotion in recogniser.info.emotions
    recogniser.info.load_calibration()
    recogniser.info.load_voices()
    return recogniser


def _calibrate(path: Path) -> object:
    correction = PriorCorrection.load(path)
    n_values, width = correction.mean_.shape[1], correction.vectors_.shape[1]
    said = np.full((3, n_values), 1 / max(n_values, 1))
    right = correction.transform(said, SpeakerStatistics.of(np.ones((3, width)), said))
    assert right.shape == said.shape
    return correction


def _tell_voices(path: Path) -> object:
    line = VoiceLine.load(path)
    assert isinstance(line.are_two(np.zeros((4, len(line.weight)))), bool)
    return line


def _read_method(path: Path) -> object:
    method = load_method(path.parent)
    assert all(isinstance(word, str) for word in method.emotions)
    return method


def _folder_of(name: str) -> Callable[[Path], list[bytes]]:
    """A method's or an encoder's files, at the top of the folder."""
    part, file = name.split("/")

    def make(folder: Path) -> list[bytes]:
        _model(folder / "model")
        for one in (folder / "model" / part).iterdir():
            shutil.copy(one, folder)
        shutil.rmtree(folder / "model")
        return [(folder / file).read_bytes()]

    return make


WAV2VEC2 = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "conv_dim": (8, 8), "conv_stride": (5, 64),
    "conv_kernel": (10, 64), "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


def _encoder(name: str, file: str) -> Callable[[Path], list[bytes]]:
    def make(folder: Path) -> list[bytes]:
        from transformers import Wav2Vec2Config, WhisperConfig

        made = {
            "compact": lambda: Compact(CompactSettings(width=16, n_transformer_layers=1, n_heads=2, feedforward=16)),
            "whisper": lambda: Whisper(WhisperConfig(d_model=8, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=8, max_source_positions=100)),
            "wav2vec2": lambda: Wav2Vec2(Wav2Vec2Config(**WAV2VEC2)),
        }[name]()  # fmt: skip
        made.save(folder, half=True)
        return [(folder / file).read_bytes()]

    return make


def _read_encoder(name: str) -> Callable[[Path], object]:
    assert name in ENCODERS

    def read(path: Path) -> object:
        encoder = load_encoder(name, path.parent)
        with torch.inference_mode():
            pooled = encoder.pooled([torch.from_numpy(voice(0.6))])
        assert pooled.shape == (1, encoder.n_layers, 2 * encoder.width)
        return encoder

    return read


def _text_encoder(file: str) -> Callable[[Path], list[bytes]]:
    def make(folder: Path) -> list[bytes]:
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

        words = {word: place for place, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "door"))}
        tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        BertModel(BertConfig(
            vocab_size=7, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, max_position_embeddings=16,
        )).save_pretrained(folder)  # fmt: skip
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(
            folder
        )
        return [(folder / file).read_bytes()]

    return make


def _read_text_encoder(path: Path) -> object:
    encoder = load_text_encoder("other", path.parent)
    with torch.inference_mode():
        assert encoder.pooled(["a door"]).shape == (1, encoder.n_layers, encoder.width)
    return encoder


def _export(*names: str) -> Callable[[Path], list[bytes]]:
    """As `models export` writes it, but for graphs of two steps: what reads them is the same."""

    def make(folder: Path) -> list[bytes]:
        from onnx import TensorProto, helper, numpy_helper, save

        weights = numpy_helper.from_array(np.ones((32, 7), np.float32), "weights")
        shapes = (("features", ["B", 32]), ("probabilities", ["B", 7]))
        given, told = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes)
        steps = [
            helper.make_node("MatMul", ["features", "weights"], ["x"]),
            helper.make_node("Softmax", ["x"], ["probabilities"]),
        ]
        graph = helper.make_graph(steps, "made", [given], [told], [weights])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        for part in ("encoder", "baseline"):
            save(model, folder / f"{part}.onnx")
        about = {
            "onnx_format": ONNX_FORMAT,
            "name": "made",
            "emotions": list(APP_EMOTIONS),
            "methods": {"baseline": ["features"]},
        }
        (folder / "model.json").write_text(json.dumps(about))
        return [(folder / name).read_bytes() for name in names]

    return make


def _read_export(path: Path) -> object:
    exported = OnnxRecogniser(path.parent, threads=1)
    assert all(isinstance(word, str) for word in exported.emotions)
    return exported


# runs


def _run(file: str) -> Callable[[Path], list[bytes]]:
    def make(folder: Path) -> list[bytes]:
        order = Order("smoke", ("synthetic=made",), settings=("training.epochs=2",))
        recipe = recipes.read_recipe("smoke")
        contents = {
            "status.json": asdict(Status("running", words="smoke: epoch 1 of 2", share=0.5, eta_s=3.0, device="cpu", host="elsewhere")),
            "order.json": {"order": order.to_json(), "created": "2026-01-02T03:04:05+00:00"},
            "recipe.json": {**recipe.to_json(), "order": order.to_json(), "written": "2026-01-02T03:04:05+00:00", "corpus": "made"},
            "report.json": {
                "models": {"baseline": {"uar": 0.5, "uar_interval": [0.4, 0.6], "speaker_spread": {"min": 0.3}, "excess_gini": 0.1}},
                "train_speakers": ["a"],
            },
        }  # fmt: skip
        for name, content in contents.items():
            (folder / name).write_text(json.dumps(content))
        line = {"method": "baseline", "stage": "finetune", "epoch": 1, "emotion": 1.5, "dev_uar": 0.4, "seconds": 0.1}
        (folder / "metrics.jsonl").write_text("".join(json.dumps({**line, "epoch": n}) + "\n" for n in (1, 2, 3)))
        (folder / "log.txt").write_text("one\ntwo\n")
        (folder / "checkpoint").mkdir(exist_ok=True)
        return [(folder / file).read_bytes()]

    return make


STATES = ("queued", "running", "finished", "failed", "stopped", "lost")


def _read_run(path: Path) -> object:
    folder = path.parent
    status = read_status(folder)
    if status is not None:
        assert isinstance(status.silent_s, float) and isinstance(status.words, str) and status.pid > 0
        assert 0 <= status.share <= 1 and status.state in STATES
    assert state_of(folder) in (*STATES, None)
    job = read_job(folder)
    assert isinstance(job.created, str) and isinstance(job.error, str) and isinstance(job.recipe, dict)
    history = job.history()
    assert history.empty or pd.api.types.is_numeric_dtype(history["epoch"])
    assert isinstance(job.report() or {}, dict) and isinstance(job.can_use, bool)
    for shown in (
        runs_table([job]),
        state_in_words(job),
        progress_in_words(job),
        results_table([job]),
        command_of(job),
    ):
        assert isinstance(shown, str)
    if job.order is not None:
        assert all(isinstance(word, str) for word in job.order.arguments(folder))
        assert all(isinstance(named, str) for named in job.order.corpora)
    return status


def _states(folder: Path) -> list[bytes]:
    States(folder).save({"a": torch.zeros(3, 2), "b": torch.ones(4)}, {"epoch": 3, "rng": [1, 2]})
    return [path.read_bytes() for path in (folder / "step-00000001").iterdir() if path.suffix == ".safetensors"]


def _hashes(folder: Path) -> list[bytes]:
    _states(folder)
    return [(folder / "step-00000001" / "hashes.json").read_bytes()]


def _read_states(path: Path) -> object:
    """The state with right hashes: a reader may not go by them alone."""
    from ser_core.training.states import _hash

    folder = path.parent
    if path.name != "hashes.json":
        (folder / "hashes.json").write_text(json.dumps({one.name: _hash(one) for one in folder.glob("state.*")}))
    state = States(folder.parent).latest()
    assert state is not None and all(isinstance(tensor, torch.Tensor) for tensor in state.tensors.values())
    return state


# live sound


def _pieces(folder: Path) -> list[bytes]:
    _model(folder)
    sound = np.round(voice(1.2) * 2**15).astype("<i2")
    said = [
        _piece(n, 16_000, sound[start : start + 4_000].tobytes()) for n, start in enumerate(range(0, len(sound), 4_000))
    ]
    return [b"".join(said), _piece(0, 48_000, sound.tobytes()), _piece(0, 44_100, sound[:3_000].tobytes())]


def _piece(number: int, rate_hz: int, content: bytes) -> bytes:
    return struct.pack("<iiH", number, rate_hz, len(content)) + content


@cache
def _recogniser(folder: Path) -> Recogniser:
    return Recogniser(open_workspace(folder / "workspace"), str(folder), "cpu")


def _listen(path: Path) -> object:
    content, listeners = path.read_bytes(), Listeners()
    take = LiveTake(_recogniser(path.parent))
    token = listeners.open("", take, "", lambda take: {"n": len(take.moments)})
    while len(content) >= 10:
        number, rate_hz, size = struct.unpack("<iiH", content[:10])
        status, shown = answer(listeners, token, number, rate_hz, content[10 : 10 + size])
        assert status in (200, 400) and isinstance(shown, dict)
        content = content[10 + size :]
    assert np.isfinite(take.waveform()).all()
    return take


READERS: dict[str, Reader] = {
    "audio": Reader("bytes", "case.wav", _sounds, _read_sound_bytes, 40_000, 200),
    "audio_file": Reader("bytes", "case.wav", _sounds, _read_sound, 12_000, 100),
    "manifest": Reader("csv", "manifest.csv", _manifest, _read_manifest, 3_000, 40),
    "manifest_tabs": Reader("bytes", "manifest.tsv", _tabbed, _read_manifest, 1_500, 20),
    "predictions": Reader("csv", "predictions.csv", _predictions, _read_predictions, 3_000, 40),
    "recipe": Reader("toml", "case.toml", _recipe_files, _read_recipe, 6_000, 80),
    "split": Reader("toml", "case.toml", _split_files, _read_split, 8_000, 100),
    "settings": Reader("settings", "settings.txt", _assignments, _read_settings, 12_000, 150),
    "archive": Reader("zip", "profile.zip", _archives, _read_archive, 6_000, 80),
    "archive_import": Reader("zip", "profile.zip", _archives, _bring_in, 600, 10),
    "model_json": Reader("json", "model.json", _of_model("model.json"), _read_model, 6_000, 80),
    "model_report": Reader("json", "report.json", _of_model("report.json"), _read_model, 2_000, 30),
    "model_card": Reader("bytes", "README.md", _of_model("README.md"), _read_model, 1_000, 30),
    "model_whole": Reader("json", "model.json", _of_model("model.json"), _whole_model, 1_000, 15),
    "method_json": Reader("json", "model.json", _folder_of("speaker_reference/model.json"), _read_method, 2_000, 30),
    "method_weights": Reader("safetensors", "weights.safetensors", _folder_of("baseline/weights.safetensors"), _read_method, 1_000, 30),
    "compact_config": Reader("json", "config.json", _encoder("compact", "config.json"), _read_encoder("compact"), 600, 15),
    "compact_weights": Reader("safetensors", "model.safetensors", _encoder("compact", "model.safetensors"), _read_encoder("compact"), 600, 15),
    "whisper_config": Reader("json", "config.json", _encoder("whisper", "config.json"), _read_encoder("whisper"), 600, 15),
    "whisper_weights": Reader("safetensors", "model.safetensors", _encoder("whisper", "model.safetensors"), _read_encoder("whisper"), 500, 15),
    "wav2vec2_config": Reader("json", "config.json", _encoder("wav2vec2", "config.json"), _read_encoder("wav2vec2"), 300, 4),
    "wav2vec2_weights": Reader("safetensors", "model.safetensors", _encoder("wav2vec2", "model.safetensors"), _read_encoder("wav2vec2"), 150, 4),
    "text_config": Reader("json", "config.json", _text_encoder("config.json"), _read_text_encoder, 300, 4),
    "text_tokenizer": Reader("json", "tokenizer.json", _text_encoder("tokenizer.json"), _read_text_encoder, 200, 4),
    "calibration": Reader("safetensors", "calibration.safetensors", _of_model("calibration.safetensors"), _calibrate, 3_000, 80),
    "voices": Reader("safetensors", "voices.safetensors", _of_model("voices.safetensors"), _tell_voices, 3_000, 80),
    "onnx_json": Reader("json", "model.json", _export("model.json"), _read_export, 1_000, 20),
    "onnx_graph": Reader("bytes", "baseline.onnx", _export("baseline.onnx"), _read_export, 1_500, 30),
    "run_status": Reader("json", "status.json", _run("status.json"), _read_run, 2_000, 30),
    "run_order": Reader("json", "order.json", _run("order.json"), _read_run, 1_000, 20),
    "run_recipe": Reader("json", "recipe.json", _run("recipe.json"), _read_run, 1_000, 20),
    "run_metrics": Reader("bytes", "metrics.jsonl", _run("metrics.jsonl"), _read_run, 1_000, 20),
    "run_report": Reader("json", "report.json", _run("report.json"), _read_run, 600, 20),
    "state": Reader("safetensors", "step-00000001/state.safetensors", _states, _read_states, 2_000, 40),
    "state_hashes": Reader("json", "step-00000001/hashes.json", _hashes, _read_states, 1_500, 30),
    "live": Reader("bytes", "pieces.bin", _pieces, _listen, 1_000, 10),
}  # fmt: skip


def outcome(reader: Reader, path: Path) -> str:
    """What became of a case: 'read', or the small named error it was refused with.

    Raises:
        Exception: any other, which is a finding.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            reader.read(path)
        except ValueError as error:
            if not type(error).__module__.startswith("ser_core."):
                raise
            code = getattr(error, "code", "")
            return f"{type(error).__name__}{f' {code}' if code else ''}"
    return "read"
