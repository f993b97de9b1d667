"""Models as ONNX graphs: onnxruntime says what torch says, and nothing else is kept."""

import contextlib
import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import HubertConfig, Wav2Vec2Config, WavLMConfig, WhisperConfig

from ser_core.__main__ import main
from ser_core.data.audio import Recording
from ser_core.data.batches import Batch
from ser_core.data.corpora.synthetic import buzz
from ser_core.encoders import ENCODERS
from ser_core.encoders.wav2vec2 import Wav2Vec2
from ser_core.encoders.whisper import Whisper
from ser_core.evaluation.certainty import Certainty
from ser_core.inference import onnx as exporting
from ser_core.inference.onnx import (
    LARGEST_DIFFERENCE,
    ExportDiffers,
    ExportExists,
    NotAnExport,
    OnnxMissing,
    OnnxRecogniser,
    export_onnx,
    onnx_installed,
)
from ser_core.inference.onnx_graphs import ALONE, Answers, example_batch, example_utterance, save_graph
from ser_core.inference.recogniser import Enrolment, Recogniser
from ser_core.labels import APP_EMOTIONS
from ser_core.methods.checkpoint import load_method
from ser_core.workspace import open_workspace

pytest.importorskip("onnxscript", reason="the extra 'onnx' is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")

WAV2VEC2 = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "conv_dim": (8, 8), "conv_stride": (5, 64), "conv_kernel": (10, 64), "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
ENCODERS_TO_TRY = {  # the tiny model's is compact
    "whisper": lambda: Whisper(
        WhisperConfig(d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32, num_mel_bins=80)
    ),
    "wav2vec2 (layer norm)": lambda: Wav2Vec2(
        Wav2Vec2Config(**WAV2VEC2, feat_extract_norm="layer", do_stable_layer_norm=True)
    ),
    "hubert (group norm)": lambda: Wav2Vec2(HubertConfig(**WAV2VEC2)),
    "wavlm": lambda: Wav2Vec2(WavLMConfig(**WAV2VEC2, num_buckets=16, max_bucket_distance=32)),
}


def _voice(speaker: int, seconds: float = 0.9) -> np.ndarray:
    return np.resize(buzz(speaker, "happiness", 1, np.random.default_rng(speaker)), int(seconds * 16_000))


def _run(path: Path, **given: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {name: value.numpy() for name, value in given.items()})[0]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return open_workspace(tmp_path_factory.mktemp("onnx") / "workspace")


@pytest.fixture(scope="module")
def exported(tiny_model, workspace) -> Path:
    """The tiny model as a person exports it."""
    folder = workspace.root / "exported"
    said = ["models", "export", tiny_model, "--output", folder, "--json", "--workspace", workspace.root]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main([str(word) for word in said]) == 0
    answer = json.loads(printed.getvalue())
    assert answer["largest_difference"] <= LARGEST_DIFFERENCE
    assert answer["file_bytes"] == {file.name: file.stat().st_size for file in folder.iterdir()}
    return folder


@pytest.fixture(scope="module")
def recogniser(tiny_model, workspace):
    return Recogniser(workspace, str(tiny_model), "cpu")


def _enrolment(recogniser: Recogniser, n: int) -> Enrolment | None:
    clips = [(f"clip {k}", APP_EMOTIONS[(3 * k) % 7], _voice(k)) for k in range(n)]
    return recogniser.enrol(clips) if clips else None


def _close(ours: np.ndarray, theirs: dict[str, float]) -> None:
    np.testing.assert_allclose(ours[0], list(theirs.values()), atol=LARGEST_DIFFERENCE)


@pytest.mark.parametrize("seconds", [0.5, 0.87, 2.2, 9.0])
def test_what_everybody_is_told_is_what_torch_says_at_any_length(exported, recogniser, seconds):
    waveform = _voice(3, seconds)
    said = recogniser.recognise(Recording(waveform)).baseline.probabilities
    by_onnx = OnnxRecogniser(exported)
    _close(by_onnx.probabilities(by_onnx.embed(waveform), "baseline"), said)


@pytest.mark.parametrize("personaliser", ["speaker_reference", "enrolment_attention"])
@pytest.mark.parametrize("n", [1, 2, 7, 12])
def test_what_a_person_is_told_is_what_torch_says_at_any_size_of_enrolment(exported, recogniser, personaliser, n):
    waveform, by_onnx = _voice(5, 1.7), OnnxRecogniser(exported)
    said = recogniser.recognise(Recording(waveform), _enrolment(recogniser, n), personaliser)
    heard = [by_onnx.embed(_voice(k)) for k in range(n)]
    enrolment = replace(_enrolment(recogniser, n), features=np.concatenate(heard))
    _close(by_onnx.probabilities(by_onnx.embed(waveform), personaliser, enrolment), said.personalised.probabilities)
    assert said.personalised.probabilities != pytest.approx(said.baseline.probabilities, abs=1e-3)


def test_an_emotion_that_the_model_does_not_know_is_left_out(exported, recogniser):
    by_onnx, known = OnnxRecogniser(exported), _enrolment(recogniser, 2)
    more = Enrolment((*known.utterances, "x"), (*known.emotions, "boredom"), np.repeat(known.features, 2, axis=0)[:3])
    more.features[:2] = known.features
    features = by_onnx.embed(_voice(5))
    said = [by_onnx.probabilities(features, "speaker_reference", enrolment) for enrolment in (known, more)]
    np.testing.assert_array_equal(*said)


@pytest.mark.parametrize("personaliser", ["speaker_reference", "enrolment_attention"])
def test_with_nobody_enrolled_a_personaliser_says_what_it_says_by_itself(exported, tiny_model, personaliser):
    """No key, or only absent ones that hold rubbish; the truth is the method without its special piece."""
    method = load_method(tiny_model / personaliser)
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.normal(size=(3, 3, 128)).astype(np.float32))
    with torch.inference_mode():
        alone = method.head(method.trunk(method.front(features))).softmax(dim=-1)
    for n in (0, 1, 4):
        given = {
            "enrolment": torch.from_numpy(rng.normal(size=(3, n, 3, 128)).astype(np.float32)) * 100,
            "present": torch.zeros(3, n, dtype=torch.bool),
            "enrolment_emotion": torch.full((3, n), -1),
        }
        said = _run(exported / f"{personaliser}.onnx", features=features, **given)
        np.testing.assert_allclose(said, alone, atol=1e-6)


def test_a_variant_that_hears_silence_for_missing_emotions_is_exported_as_it_is(tiny_model, tmp_path):
    method = load_method(tiny_model / "enrolment_attention")
    method.settings = replace(method.settings, use="emotional", missing="silence")
    save_graph(Answers(method), example_batch(method), "probabilities", tmp_path / "graph.onnx")
    torch.manual_seed(0)
    emotion = torch.tensor([[0, 3, -1, 3], [1, 0, 2, 6], [-1, -1, -1, -1]])
    given = {"features": torch.randn(3, 3, 128), "enrolment": torch.randn(3, 4, 3, 128)}
    given |= {"present": emotion >= 0, "enrolment_emotion": emotion}
    with torch.inference_mode():
        expected = exporting.probabilities(method, **given)
    np.testing.assert_allclose(_run(tmp_path / "graph.onnx", **given), expected, atol=1e-6)


def test_a_temperature_is_exported_and_the_threshold_stands_beside(tiny_model, exported, tmp_path):
    method = load_method(tiny_model / "baseline")
    features = torch.randn(3, 3, 128, generator=torch.Generator().manual_seed(0))
    none = torch.zeros(3, 1)
    method.certainty_ = Certainty(2.5, 0.6)
    save_graph(Answers(method), example_batch(method), "probabilities", tmp_path / "graph.onnx")
    with torch.inference_mode():
        expected = (
            method(Batch(features, (), none, none, features[:, None], none.bool(), none.long())).emotion_logits / 2.5
        ).softmax(dim=-1)
    np.testing.assert_allclose(_run(tmp_path / "graph.onnx", features=features), expected, atol=1e-6)
    about = json.loads((exported / "model.json").read_text())
    assert about["sure_from"] == dict.fromkeys(about["methods"], 0.4)  # the tiny model has learned none


@pytest.mark.parametrize("name", ENCODERS_TO_TRY)
def test_an_encoder_hears_one_utterance_as_in_a_batch_of_torchs(name, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = ENCODERS_TO_TRY[name]().eval().requires_grad_(False)
    save_graph(ALONE[type(encoder)](encoder), example_utterance(), "features", tmp_path / "encoder.onnx")
    rng = np.random.default_rng(0)
    waveforms = [torch.from_numpy(rng.normal(0, 0.05, n).astype(np.float32)) for n in (6_401, 20_000, 70_123)]
    with torch.inference_mode():
        expected = encoder.pooled(waveforms)
    heard = np.concatenate([_run(tmp_path / "encoder.onnx", waveform=waveform) for waveform in waveforms])
    np.testing.assert_allclose(heard, expected, atol=5e-4, rtol=1e-3)


def test_every_encoder_in_the_table_can_be_exported():
    assert {from_folder.__self__ for from_folder, _ in ENCODERS.values()} == set(ALONE)


def _put_instead(monkeypatch, exported: Path, change) -> None:
    """Graphs are not made anew but taken from a good export and changed."""

    def save(module, example, output, path):
        shutil.copyfile(exported / path.name, path)
        change(path)

    monkeypatch.setattr(exporting, "save_graph", save)


def _tamper(path: Path) -> None:
    import onnx

    graph = onnx.load(path)
    for weight in graph.graph.initializer:
        if path.name == "enrolment_attention.onnx" and weight.data_type == onnx.TensorProto.FLOAT:
            weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * 1.02, weight.name))
    onnx.save(graph, path)


def test_an_export_that_answers_differently_is_refused_and_leaves_nothing(
    exported, tiny_model, workspace, tmp_path, monkeypatch
):
    _put_instead(monkeypatch, exported, _tamper)
    with pytest.raises(ExportDiffers, match=r"'tiny' answers differently: a probability is off by .* at most 0\.0001"):
        export_onnx(tiny_model, workspace, tmp_path / "new" / "export")
    assert list((tmp_path / "new").iterdir()) == []


def test_an_export_that_onnxruntime_cannot_read_is_refused_and_leaves_nothing(
    exported, tiny_model, workspace, tmp_path, monkeypatch
):
    _put_instead(monkeypatch, exported, lambda path: path.write_bytes(path.read_bytes()[:1000]))
    with pytest.raises(ExportDiffers, match="onnxruntime cannot run the export of 'tiny'"):
        export_onnx(tiny_model, workspace, tmp_path / "new" / "export")
    assert list((tmp_path / "new").iterdir()) == []


def test_an_interrupted_export_leaves_nothing(exported, tiny_model, workspace, tmp_path, monkeypatch):
    def interrupt(path):
        raise KeyboardInterrupt

    _put_instead(monkeypatch, exported, interrupt)
    with pytest.raises(KeyboardInterrupt):
        export_onnx(tiny_model, workspace, tmp_path / "new" / "export")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_that_exists_is_not_written_over(tiny_model, workspace, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ExportExists, match=f"'{tmp_path.name}' exists already; name a new folder"):
        export_onnx(tiny_model, workspace, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
    command = ["models", "export", str(tiny_model), "--workspace", str(workspace.root)]
    assert main([*command, "--output", str(tmp_path)]) == 2 and "exists already" in capsys.readouterr().err
    assert main(command) == 2 and "--output DIR" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_where_the_extra_is_missing_the_remedy_is_named(missing, tiny_model, workspace, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    assert not onnx_installed()
    with pytest.raises(OnnxMissing, match=rf"'{missing}' is not installed.*pip install -e \"\.\[onnx\]\""):
        export_onnx(tiny_model, workspace, tmp_path / "export")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_export_is_refused(tiny_model, tmp_path):
    for folder in (tmp_path, tiny_model):
        with pytest.raises(NotAnExport, match=f"'{folder.name}' holds no model exported"):
            OnnxRecogniser(folder)


def test_nothing_exported_names_a_folder_of_this_machine(exported, tiny_model):
    names = [str(Path(place)).encode() for place in (Path(exporting.__file__).parents[1], sys.prefix, tiny_model)]
    for file in exported.iterdir():
        content = file.read_bytes()
        assert not [name for name in names if name in content], file.name


def test_the_lines_in_the_exports_readme_run_without_torch_and_say_what_the_app_says(exported, recogniser, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "export")
    spoken = {"utterance": _voice(2, 1.4), "my_neutral": _voice(4), "my_anger": _voice(6)}
    for name, waveform in spoken.items():
        soundfile.write(folder / f"{name}.wav", waveform, 16_000, subtype="FLOAT")
    lines = (folder / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    program = "import sys\nfor name in ('torch', 'ser_core'):\n    sys.modules[name] = None\n" + lines
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    everybody, person = (json.loads(line.replace("'", '"')) for line in done.stdout.splitlines())
    clips = [("a", "neutral", spoken["my_neutral"]), ("b", "anger", spoken["my_anger"])]
    said = recogniser.recognise(Recording(spoken["utterance"]), recogniser.enrol(clips))
    assert everybody == pytest.approx(said.baseline.probabilities, abs=LARGEST_DIFFERENCE)
    assert person == pytest.approx(said.personalised.probabilities, abs=LARGEST_DIFFERENCE)
