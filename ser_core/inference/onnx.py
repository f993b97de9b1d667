"""A trained model as ONNX graphs: the same answers on a CPU by onnxruntime, without torch.

`encoder.onnx` takes one waveform to pooled layers, the log-mel bands included; one `<method>.onnx` takes those to
probabilities. What is exported is compared with torch before it is kept.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from ser_core.data import audio
from ser_core.data.audio import PREPARED, SAMPLE_RATE, UTTERANCE, level_and_trim
from ser_core.data.corpora.synthetic import buzz
from ser_core.data.tables import BadJson, read_json
from ser_core.data.whole import replaced
from ser_core.encoders.base import SpeechEncoder
from ser_core.inference.onnx_graphs import ALONE, Answers, example_batch, example_utterance, probabilities, save_graph
from ser_core.inference.recogniser import Enrolment, Recogniser
from ser_core.methods.base import Method
from ser_core.workspace import Workspace

ONNX_FORMAT = 1

LARGEST_DIFFERENCE = 1e-4
"""Of a probability, between onnxruntime and torch."""

CHECKED_S = (0.6, 1.3, 3.0, 7.0)
"""Lengths of the utterances that an export is checked on."""

CHECKED_ENROLLED = (0, 1, 3, 7)
"""Numbers of enrolled utterances that an export is checked on."""

_NEEDED = ("onnx", "onnxscript", "onnxruntime")


class OnnxMissing(ValueError):
    """The packages that write and run ONNX are not installed."""


class CannotExport(ValueError):
    """A kind of encoder that no graph is written for."""


class ExportDiffers(ValueError):
    """The export would not answer as the model does; it was not kept."""


class ExportExists(ValueError):
    """There is something at the place where the export should go."""


class NotAnExport(ValueError):
    """A folder that `export_onnx` did not write."""


@dataclass(frozen=True)
class OnnxExport:
    """What was written.

    Attributes:
        folder: where it lies.
        largest_difference: of a probability from torch's, over all methods, lengths and enrolments that were compared.
        file_bytes: size of each file.
    """

    folder: Path
    largest_difference: float
    file_bytes: dict[str, int]


class OnnxRecogniser:
    """An exported model in memory: it answers by onnxruntime alone."""

    def __init__(self, folder: Path, threads: int = 0):
        """Load an export.

        Args:
            folder: as `export_onnx` wrote it.
            threads: CPU threads; as many as there are cores if 0.

        Raises:
            OnnxMissing: onnxruntime is not installed.
            NotAnExport: the folder holds none.
        """
        runtime = _needed("onnxruntime")
        about = _read_about(folder)
        self.emotions: tuple[str, ...] = tuple(about["emotions"])
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        # threads that wait busily stand in the way of the next session's: two answers took twice as long
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._sessions = {
                part: runtime.InferenceSession(folder / f"{part}.onnx", options, providers=["CPUExecutionProvider"])
                for part in ("encoder", *about["methods"])
            }
        except Exception:  # it raises kinds of its own, that share no base, and what reading text raises
            raise NotAnExport(
                f"'{folder.name}' holds graphs that cannot be read; make it with `models export`"
            ) from None

    def embed(self, waveform: np.ndarray) -> np.ndarray:
        """Pooled layers (1, L, 2 D) of a waveform (N,) float32 at 16 kHz as read (levelled and trimmed here)."""
        return self._sessions["encoder"].run(None, {"waveform": level_and_trim(waveform)})[0]

    def probabilities(self, features: np.ndarray, method: str, enrolment: Enrolment | None = None) -> np.ndarray:
        """What a method says of utterances of one speaker, (B, C).

        Args:
            features: as `embed` gives them, (B, L, 2 D).
            method: the baseline or a personaliser.
            enrolment: of the speaker; emotions that the model does not know are left out.
        """
        session = self._sessions[method]
        given = {"features": features, **_enrolled(features, enrolment, self.emotions)}
        return session.run(None, {value.name: given[value.name] for value in session.get_inputs()})[0]


def onnx_installed() -> bool:
    """Whether models can be exported here."""
    try:
        for name in _NEEDED:
            _needed(name)
    except OnnxMissing:
        return False
    return True


def export_onnx(model: str | Path | None, workspace: Workspace, folder: Path) -> OnnxExport:
    """Write a model as ONNX graphs with a description and a README; whole, or not at all.

    Args:
        model: name or folder; the best that is available if None.
        workspace: where fetched encoders lie.
        folder: to be made.

    Raises:
        OnnxMissing: the packages for it are not installed.
        ExportExists: the folder is there already.
        ExportDiffers: onnxruntime does not answer as torch does.
        UnknownModel, EncoderUnavailable, BadCheckpoint: the model cannot be loaded.
    """
    for name in _NEEDED:
        _needed(name)
    if folder.exists():
        raise ExportExists(f"'{folder.name}' exists already; name a new folder for the export, or delete that one")
    recogniser = Recogniser(workspace, None if model is None else str(model), "cpu")
    with replaced(folder) as draft:
        _write(recogniser, draft)
        difference = largest_difference(recogniser, draft)
        if difference > LARGEST_DIFFERENCE:
            raise ExportDiffers(
                f"the export of '{recogniser.info.name}' answers differently: a probability is off by {difference:.2g}, "
                f"at most {LARGEST_DIFFERENCE:g} is accepted; please report it"
            )
        sizes = {file.name: file.stat().st_size for file in sorted(draft.iterdir())}
    return OnnxExport(folder, difference, sizes)


def largest_difference(recogniser: Recogniser, folder: Path) -> float:
    """How far any probability of an export is from torch's, from waveform to answer; over lengths, enrolments, methods.

    Raises:
        ExportDiffers: onnxruntime cannot run it.
    """
    try:
        return max(_differences(recogniser, OnnxRecogniser(folder)))
    except Exception as error:  # onnxruntime raises kinds of its own, that share no base
        if not (isinstance(error, NotAnExport) or type(error).__module__.startswith("onnxruntime")):
            raise
        raise ExportDiffers(
            f"onnxruntime cannot run the export of '{recogniser.info.name}' ({' '.join(str(error).split())[:200]}); "
            "please report it"
        ) from None


def _differences(recogniser: Recogniser, exported: OnnxRecogniser) -> Iterator[float]:
    """The largest of each method and number of enrolled utterances; inf where one is not a number."""
    emotions, n_targets = recogniser.info.emotions, len(CHECKED_S)
    said = tuple(emotions[k % len(emotions)] for k in range(max(CHECKED_ENROLLED)))
    spoken = [_voice(place, seconds) for place, seconds in enumerate(CHECKED_S)]
    spoken += [_voice(7, 0.6 + 0.2 * k) for k in range(len(said))]
    by_torch = np.concatenate([recogniser.embed([waveform]) for waveform in spoken])
    by_onnx = np.concatenate([exported.embed(waveform) for waveform in spoken])
    for n in CHECKED_ENROLLED:
        enrolments = [Enrolment(said[:n], said[:n], rows[n_targets:][:n]) for rows in (by_torch, by_onnx)]
        for name, method in _methods(recogniser).items():
            ours = _torch_probabilities(method, by_torch[:n_targets], enrolments[0])
            theirs = exported.probabilities(by_onnx[:n_targets], name, enrolments[1])
            yield float(np.nan_to_num(np.abs(ours - theirs), nan=np.inf).max())


def _torch_probabilities(method: Method, features: np.ndarray, enrolment: Enrolment) -> np.ndarray:
    """(B, C), as the Recogniser asks: with nobody enrolled there is one who is absent."""
    given = _enrolled(features, enrolment, method.emotions)
    if not enrolment.utterances:
        shape = (len(features), 1)
        given = {
            "enrolment": np.zeros((*shape, *features.shape[1:]), dtype=np.float32),
            "present": np.zeros(shape, dtype=bool),
            "enrolment_emotion": np.full(shape, -1, dtype=np.int64),
        }
    with torch.inference_mode():
        tensors = {name: torch.from_numpy(value) for name, value in given.items()}
        return probabilities(method, torch.from_numpy(features), **tensors).numpy()


def _enrolled(features: np.ndarray, enrolment: Enrolment | None, emotions: tuple[str, ...]) -> dict[str, np.ndarray]:
    """One enrolment for all B utterances: what a personaliser's graph is given."""
    known = [k for k, word in enumerate(enrolment.emotions) if word in emotions] if enrolment else []
    heard = enrolment.features[known] if known else np.zeros((0, *features.shape[1:]), dtype=np.float32)
    emotion = np.array([emotions.index(enrolment.emotions[k]) for k in known], dtype=np.int64)
    n = len(features)
    return {
        "enrolment": np.repeat(heard[None], n, axis=0),
        "present": np.ones((n, len(known)), dtype=bool),
        "enrolment_emotion": np.repeat(emotion[None], n, axis=0),
    }


def _methods(recogniser: Recogniser) -> dict[str, Method]:
    """Baseline and personalisers, by name."""
    info = recogniser.info
    return {info.baseline: recogniser.baseline} | {name: recogniser.method(name) for name in info.personalisers}


def _write(recogniser: Recogniser, folder: Path) -> None:
    methods = _methods(recogniser)
    if type(recogniser.encoder) not in ALONE:
        raise CannotExport(f"an encoder of the kind '{recogniser.info.encoder}' cannot be written as a graph yet")
    alone = ALONE[type(recogniser.encoder)](recogniser.encoder)
    save_graph(alone, example_utterance(), "features", folder / "encoder.onnx")
    for name, method in methods.items():
        save_graph(Answers(method), example_batch(method), "probabilities", folder / f"{name}.onnx")
    (folder / "model.json").write_text(json.dumps(_about(recogniser, methods), indent=2), encoding="utf-8")
    (folder / "README.md").write_text(_readme(recogniser), encoding="utf-8")
    (folder / "CARD.md").write_text(recogniser.info.card, encoding="utf-8")
    shutil.copyfile(audio.__file__, folder / "audio.py")


def _needed(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError:
        raise OnnxMissing(f"'{name}' is not installed; ONNX needs it: pip install -e \".[onnx]\"") from None


def _read_about(folder: Path) -> dict:
    try:
        about = read_json(folder / "model.json")
        words = about["emotions"]
        if (
            about["onnx_format"] == ONNX_FORMAT
            and isinstance(words, list)
            and all(isinstance(one, str) for one in words)
        ):
            return about
    except (BadJson, KeyError):
        pass
    raise NotAnExport(f"'{folder.name}' holds no model exported by this version; make it with `models export`")


def _voice(speaker: int, seconds: float) -> np.ndarray:
    """Something that sounds like speech, (N,) float32."""
    one = buzz(speaker, ("neutral", "anger", "sadness")[speaker % 3], speaker % 2, np.random.default_rng(speaker))
    return np.resize(one, int(seconds * SAMPLE_RATE))


def _about(recogniser: Recogniser, methods: dict[str, Method]) -> dict:
    """model.json: all that one needs to know to run the graphs."""
    encoder, n_classes = recogniser.encoder, len(recogniser.info.emotions)
    n_layers, n_values = encoder.n_layers, 2 * encoder.width
    inputs = {
        "waveform": f"float32 (N,), one utterance, mono, {SAMPLE_RATE} Hz, at most {UTTERANCE.max_s:g} s, levelled and "
        "trimmed by audio.level_and_trim",
        "features": f"float32 (B, {n_layers}, {n_values}), mean and standard deviation over frames of each layer, as "
        "encoder.onnx gives them",
        "enrolment": f"float32 (B, K, {n_layers}, {n_values}), features of the speaker's enrolled utterances; K "
        "may be 0, and the answer is then the method's own for nobody, where the app shows the baseline's alone",
        "present": "bool (B, K), which of the K there are",
        "enrolment_emotion": f"int64 (B, K), their classes, 0 to {n_classes - 1} in the order of emotions; -1 where absent",
    }
    return {
        "onnx_format": ONNX_FORMAT,
        "name": recogniser.info.name,
        "encoder": recogniser.info.encoder,
        "encoder_fingerprint": encoder.fingerprint,
        "emotions": list(recogniser.info.emotions),
        "sample_rate_hz": SAMPLE_RATE,
        "prepared": PREPARED,
        "mel_inside_encoder": _mel_settings(encoder),
        "baseline": recogniser.info.baseline,
        "methods": {name: [*example_batch(method)] for name, method in methods.items()},
        "sure_from": {name: method.certainty_.sure_from for name, method in methods.items()},
        "inputs": inputs,
        "outputs": {
            "features": f"of encoder.onnx: float32 (1, {n_layers}, {n_values})",
            "probabilities": f"of every method: float32 (B, {n_classes}), in the order of emotions; an answer is not sure where "
            "the largest is below sure_from of the method",
        },
    }


def _mel_settings(encoder: SpeechEncoder) -> dict | None:
    """None for encoders that hear the waveform itself."""
    if not hasattr(encoder, "mel"):
        return None
    spectrum = encoder.mel.spectrogram
    return {"n_mels": spectrum.n_mels, "n_fft": spectrum.n_fft, "hop": spectrum.hop_length, "norm": "slaney"}


def _readme(recogniser: Recogniser) -> str:
    info = recogniser.info
    personalisers = "".join(
        f"- `{name}.onnx`: probabilities for a person who is enrolled\n" for name in info.personalisers
    )
    personalised = _README_ENROLLED.format(personaliser=info.personalisers[0]) if info.personalisers else ""
    return _README.format(
        name=info.name, emotions=", ".join(info.emotions), longest_s=UTTERANCE.max_s, shortest_s=UTTERANCE.min_s,
        baseline=info.baseline, personalisers=personalisers, personalised=personalised,
    )  # fmt: skip


_README = """# {name}, exported to ONNX

Hears {emotions} in an utterance of {shortest_s:g} to {longest_s:g} s, on a CPU.

- `encoder.onnx`: what one utterance sounds like, from its waveform; log-mel bands, where it uses them, are inside
- `{baseline}.onnx`: probabilities for everybody
{personalisers}- `model.json`: what goes in and what comes out
- `audio.py`: reads a file, levels and trims it; files that are not at 16 kHz need torch and torchaudio for that
- `CARD.md`: the model's card; its licence and its limits hold here too

After `pip install onnxruntime numpy soundfile`, in this folder:

```python
import json, numpy as np, onnxruntime
from audio import level_and_trim, read_recording
emotions = json.loads(open("model.json", "rb").read())["emotions"]
run = lambda part, **given: onnxruntime.InferenceSession(f"{{part}}.onnx").run(None, given)[0]
hear = lambda path: run("encoder", waveform=level_and_trim(read_recording(path).waveform))
features = hear("utterance.wav")
print(dict(zip(emotions, run("{baseline}", features=features)[0].tolist())))
{personalised}```

An answer whose largest probability is below `sure_from` of its method in `model.json` is *not sure* (see `CARD.md`).
Whoever asks more than once keeps the sessions, with `session.intra_op.allow_spinning` set to 0: the waiting threads of one
are in the way of the next.
"""

_README_ENROLLED = """enrolled = {{"neutral": "my_neutral.wav", "anger": "my_anger.wav"}}
enrolment = np.stack([hear(path) for path in enrolled.values()], axis=1)
classes = np.array([[emotions.index(word) for word in enrolled]])
given = {{"features": features, "enrolment": enrolment, "present": classes >= 0, "enrolment_emotion": classes}}
print(dict(zip(emotions, run("{personaliser}", **given)[0].tolist())))
"""
