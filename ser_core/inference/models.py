"""The models that can be used here: a frozen encoder with a baseline and personalisers on it.

A model's folder holds model.json, a card (README.md) and one folder a method; the encoder's weights lie in it (compact)
or are looked for on this machine (whisper-tiny.en).
"""

import json
import re
import shutil
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import OfflineModeIsEnabled

from ser_core.data.tables import BadJson, read_json
from ser_core.data.whole import delete_abandoned, disk_trouble, removed, replaced, written
from ser_core.inference.calibration import PriorCorrection
from ser_core.inference.voices import VoiceLine
from ser_core.labels import APP_EMOTIONS
from ser_core.recipe import BadRecipe, settings_from
from ser_core.weights import WEIGHTS, EncoderUnavailable, find_folder
from ser_core.workspace import ASSETS, Workspace

if TYPE_CHECKING:  # torch takes seconds to import: what is here, and what not, is told without it
    from ser_core.encoders.base import SpeechEncoder
    from ser_core.encoders.text import TextEncoder

PREFERENCE = ("whisper-tiny.en", "compact")
"""Models that ship, best first; the first one that is available here is the default."""

MODEL_FORMAT = 1

CALIBRATION = "calibration.safetensors"
"""What the training speakers' speech looks like, in a model's folder (inference/calibration.py)."""

VOICES = "voices.safetensors"
"""What tells a low from a high voice there (inference/voices.py)."""

_HUB_S = 3.0
"""How long the hub is waited for; its own client waits for ever for one that is there and does not answer."""

_ONE_COPY = (
    "config.json",
    "preprocessor_config.json",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
)
"""Of Whisper: the largest lies on the hub a second time, as model.fp32-*.safetensors."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


class UnknownModel(ValueError):
    """No model, or no personaliser, of that name."""


class BadModelName(ValueError):
    """A name that a model cannot have."""


@dataclass(frozen=True)
class Reader:
    """The part of a model that reads words.

    Attributes:
        method: folder of the method that hears and reads.
        encoder: key of TEXT_ENCODERS.
        source: folder of the encoder of text below the model's own, or hub id; the encoder's default if empty.
        attribute_range: the scale of the attributes that it predicts, lowest and highest; empty where it predicts none.
        attributes_from: 'listeners', or 'circumplex' where they are pseudo-attributes made from the emotions.
    """

    method: str
    encoder: str
    source: str = ""
    attribute_range: tuple[float, ...] = ()
    attributes_from: str = ""


@dataclass(frozen=True)
class ModelInfo:
    """What a model's folder says of itself.

    Attributes:
        folder: where it lies.
        encoder: key of ENCODERS.
        source: folder of the encoder below the model's own, or hub id.
        emotions: classes, in the order they are shown.
        baseline: folder of the baseline.
        personalisers: folders of the personalisers, the default first.
        reader: what reads words; None where nothing does.
    """

    name: str
    folder: Path
    encoder: str
    source: str
    emotions: tuple[str, ...]
    baseline: str
    personalisers: tuple[str, ...]
    reader: Reader | None = None

    def personaliser(self, name: str | None) -> str:
        """A personaliser's name, checked; the default if None; empty where the model has none.

        Raises:
            UnknownModel: the model has none of that name.
        """
        if name is not None and name not in self.personalisers:
            raise UnknownModel(
                f"model '{self.name}' has no personaliser '{name}'; choose one of {', '.join(self.personalisers)}"
            )
        return name or (self.personalisers[0] if self.personalisers else "")

    def encoder_folder(self, workspace: Workspace) -> Path:
        """Where the encoder's weights are.

        Raises:
            EncoderUnavailable: not on this machine.
        """
        own = self.folder / self.source
        with suppress(OSError):  # a name that no file can have
            if (own / "config.json").is_file():
                return own
        try:
            return find_folder(self.source, (workspace.models,))
        except EncoderUnavailable as error:
            raise EncoderUnavailable(f"{error}; `python -m ser_core models fetch {self.name}` downloads it") from None

    def why_unavailable(self, workspace: Workspace) -> str:
        """Why the model cannot be used here, in words; empty if it can."""
        try:
            self.encoder_folder(workspace)
        except EncoderUnavailable as error:
            return str(error)
        return ""

    def load_encoder(self, workspace: Workspace) -> "SpeechEncoder":
        """What hears for it.

        Raises:
            EncoderUnavailable: it is not on this machine.
        """
        from ser_core.encoders import load_encoder

        return load_encoder(self.encoder, self.encoder_folder(workspace))

    def load_text_encoder(self, workspace: Workspace) -> "TextEncoder":
        """What reads words.

        Raises:
            UnknownModel: nothing does.
            EncoderUnavailable: it is not on this machine.
        """
        from ser_core.encoders.text import load_text_encoder

        reader = self.reads()
        own = self.folder / reader.source
        source = own if reader.source and own.is_dir() else reader.source
        return load_text_encoder(reader.encoder, source or None, (workspace.models,))

    def load_calibration(self) -> PriorCorrection | None:
        """What puts the baseline right by free speech of a person; None where the model has none.

        Raises:
            CalibrationError: it is there and cannot be read.
        """
        path = self.folder / CALIBRATION
        return PriorCorrection.load(path) if path.is_file() else None

    def load_voices(self) -> VoiceLine | None:
        """What tells whether two people take turns in free speech; None where the model has none.

        Raises:
            VoicesUnreadable: it is there and cannot be read.
        """
        path = self.folder / VOICES
        return VoiceLine.load(path) if path.is_file() else None

    def reads(self) -> Reader:
        """The part that reads words.

        Raises:
            UnknownModel: nothing does.
        """
        if self.reader is None:
            raise UnknownModel(f"model '{self.name}' reads no words; it hears only")
        return self.reader

    @property
    def heard_speakers(self) -> frozenset[str] | None:
        """Whom its heads heard in training, with or without emotions, or chose their epoch on; None where that is not written down."""
        try:
            report = read_json(self.folder / "report.json")
            without_labels = (report.get(f"{role}_speakers", ()) for role in ("target", "unlabelled"))
            heard = frozenset(report["train_speakers"]).union(report["dev_speakers"], *without_labels)
        except (BadJson, KeyError, TypeError):
            return None
        return heard if all(isinstance(name, str) for name in heard) else None

    @property
    def card(self) -> str:
        """The model card, Markdown."""
        path = self.folder / "README.md"
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else "This model has no card."


def read_model(folder: Path) -> ModelInfo:
    """Read a model's folder.

    Raises:
        UnknownModel: it is none.
    """
    try:
        content = read_json(folder / "model.json")
        if content.pop("format") != MODEL_FORMAT:
            raise UnknownModel(
                f"the model '{folder.name}' was made for another version of the program; install it again"
            )
        if said := content.get("reader"):
            content["reader"] = settings_from(Reader, said, "model.json [reader]")
        return settings_from(ModelInfo, {**content, "folder": folder}, "model.json")
    except (BadJson, BadRecipe, KeyError):
        raise UnknownModel(f"'{folder.name}' is not a model: a folder with model.json was expected") from None


def write_model(info: ModelInfo) -> None:
    """Write model.json into the model's folder."""
    content = {
        "format": MODEL_FORMAT, "name": info.name, "encoder": info.encoder, "source": info.source,
        "emotions": list(info.emotions), "baseline": info.baseline, "personalisers": list(info.personalisers),
        "reader": asdict(info.reader) if info.reader else None,
    }  # fmt: skip
    with written(info.folder / "model.json") as hidden:
        hidden.write_text(json.dumps(content, indent=2))


def shipped_models() -> list[ModelInfo]:
    """Models in assets/, in order of preference."""
    folders = [ASSETS / "models" / name for name in PREFERENCE]
    return [read_model(folder) for folder in folders if (folder / "model.json").is_file()]


def trained_models(workspace: Workspace) -> list[ModelInfo]:
    """Models that were trained here and put to use, by name."""
    found = []
    for folder in sorted(workspace.trained.glob("[!.]*")):
        with suppress(UnknownModel):  # of another version, or not whole
            found.append(read_model(folder))
    return found


def known_models(workspace: Workspace) -> list[ModelInfo]:
    """Those that ship, then those that were trained here."""
    return [*shipped_models(), *trained_models(workspace)]


def use_model(run_folder: Path, workspace: Workspace, name: str) -> ModelInfo:
    """Put the model of a finished run into the list that the app and the command line offer.

    Args:
        run_folder: its checkpoint/ is copied; the run may then be deleted.
        workspace: where the list is kept.
        name: to give it.

    Raises:
        UnknownModel: the run has no model with two answers.
        BadModelName: the name cannot be had.
    """
    _check_name(name, workspace)
    info = read_model(run_folder / "checkpoint")
    if not (info.baseline and info.personalisers):
        raise UnknownModel(
            f"'{run_folder.name}' has no model with two answers; train a recipe that personalises, with a baseline beside it"
        )
    if others := [word for word in info.emotions if word not in APP_EMOTIONS]:
        raise UnknownModel(
            f"the model of '{run_folder.name}' also tells {', '.join(others)} apart, which the app neither enrols nor shows; "
            f"train again with --set data.emotions=app to use it (evaluate --model FOLDER/checkpoint works as it is)"
        )
    with replaced(workspace.trained / name) as draft:
        shutil.copytree(info.folder, draft, dirs_exist_ok=True)
        write_model(replace(info, name=name, folder=draft))
    return read_model(workspace.trained / name)


def forget_model(name: str, workspace: Workspace) -> None:
    """Take a model that was trained here off the list, and delete it.

    Raises:
        UnknownModel: none of that name was trained here.
    """
    if name not in {info.name for info in trained_models(workspace)}:
        raise UnknownModel(f"no model '{name}' was trained here; those that ship cannot be taken off the list")
    removed(workspace.trained / name)


def _check_name(name: str, workspace: Workspace) -> None:
    if not _NAME.fullmatch(name):
        raise BadModelName(f"a model's name has 1 to 60 letters, digits, '-', '_' or '.', but '{name}' was given")
    if (workspace.trained / name).exists() or any(info.name == name for info in known_models(workspace)):
        raise BadModelName(f"there is a model '{name}' already; give this one another name")


def choose_model(name: str | None, workspace: Workspace) -> ModelInfo:
    """A model by name or folder; else the best one that is available here.

    Raises:
        UnknownModel: no such model, or none at all.
        EncoderUnavailable: the model named needs weights that are not here.
    """
    models = known_models(workspace)
    if name is None:
        available = [model for model in models if not model.why_unavailable(workspace)]
        if not available:
            raise UnknownModel(
                "no model can be used here; install the app again from its own folder, with pip install -e ."
            )
        return available[0]
    named = next((model for model in models if model.name == name), None)
    if named is None and Path(name).is_dir():
        named = read_model(Path(name))
    if named is None:
        here = ", ".join(model.name for model in models if not model.why_unavailable(workspace)) or "none"
        raise UnknownModel(f"there is no model '{name}'; choose one that can be used here ({here}) or name its folder")
    named.encoder_folder(workspace)
    return named


def fetch(name: str, workspace: Workspace) -> Path:
    """Download a shipped model's encoder, or a Whisper, from the hub into the workspace; the only place that downloads.

    Files that have arrived when a download breaks off stay, and the next one goes on with the others.

    Args:
        name: of a shipped model whose encoder does not ship, or a key of transcription.SIZES.
        workspace: it will lie in its models/.

    Raises:
        UnknownModel: nothing to fetch under that name.
        EncoderUnavailable: the hub cannot be reached, or has no safetensors of it.
    """
    from ser_core.inference.transcription import SIZES

    shipped = {model.name: model.source for model in shipped_models() if not (model.folder / model.source).is_dir()}
    sources = {**shipped, **SIZES}
    if name not in sources:
        raise UnknownModel(f"there is nothing to fetch for '{name}'; choose one of {', '.join(sources) or 'none'}")
    target = workspace.models / name
    patterns = _ONE_COPY if name in SIZES else WEIGHTS
    delete_abandoned(target.rglob("*.incomplete"))  # by downloads that were killed; nothing of them is used again
    try:
        _ask_hub(sources[name])
        snapshot_download(sources[name], local_dir=target, allow_patterns=list(patterns))
    except Exception as error:  # the hub's client raises many kinds, from many libraries
        _leave_no_empty_folder(target)
        what_to_do = (
            disk_trouble(error) or "check the connection, or copy the folder by hand and let SER_WEIGHTS name it"
        )
        raise EncoderUnavailable(
            f"'{sources[name]}' could not be fetched ({type(error).__name__}); {what_to_do}"
        ) from None
    if not ((target / "config.json").is_file() and any(target.glob("*.safetensors"))):
        _leave_no_empty_folder(target)
        raise EncoderUnavailable(f"the hub has no whole '{sources[name]}' just now; try again later")
    return target


def _ask_hub(source: str) -> None:
    """Raise unless the hub answers soon; looking up its address alone can take longer, so a thread is left behind."""
    answer: Future = Future()

    def ask() -> None:
        try:
            answer.set_result(HfApi().model_info(source, timeout=_HUB_S))
        except Exception as error:
            answer.set_exception(error)

    Thread(target=ask, daemon=True, name="ask-hub").start()
    with suppress(OfflineModeIsEnabled):  # the download knows what to do then
        answer.result(timeout=_HUB_S)


def _leave_no_empty_folder(folder: Path) -> None:
    """Delete what a download has left, unless weights are among it."""
    if not any(folder.rglob("*.safetensors")):
        shutil.rmtree(folder, ignore_errors=True)


def describe(models: Sequence[ModelInfo], workspace: Workspace) -> list[dict]:
    """One line a model: name, encoder, personalisers, and why not, if so."""
    return [
        {
            "name": model.name,
            "encoder": model.encoder,
            "emotions": list(model.emotions),
            "personalisers": list(model.personalisers),
            "available": not (reason := model.why_unavailable(workspace)),
            "reason": reason,
        }
        for model in models
    ]
