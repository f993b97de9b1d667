"""All that the tabs call, without a page: profiles, the model, answers; and the one place where errors become words."""

import inspect
import json
import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial, wraps
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gradio as gr
import soundfile

from ser_core.data.audio import SAMPLE_RATE, read_recording
from ser_core.inference.profiles import EnrolledUtterance, Erased, Profile, ProfileStore, RemovedUtterance
from ser_core.workspace import Workspace

if TYPE_CHECKING:  # these take seconds to import: the page is served first
    from ser_core.inference.recogniser import Prediction, Recogniser

logger = logging.getLogger("attune")

State = Literal["loading", "ready", "failed"]


class ConsentMissing(ValueError):
    """Something was to be stored before the person agreed."""


class NoProfileChosen(ValueError):
    """Something needs a profile, and none is chosen."""


class ModelFailed(ValueError):
    """The model could not be loaded for a reason that nobody foresaw."""


@dataclass(frozen=True)
class Comparison:
    """Two answers about one recording, with what a person needs to understand them.

    Attributes:
        profile: whose enrolment was used; None for nobody, or for somebody with no recording yet.
        clips: the profile's recordings, in order.
        warnings: what was odd about the recording.
        download: a JSON file of the answer.
    """

    prediction: "Prediction"
    profile: str | None
    clips: tuple[EnrolledUtterance, ...]
    warnings: tuple[str, ...]
    download: str


class Services:
    """One workspace and one model; shared by all pages that are open."""

    def __init__(self, workspace: Workspace, model: str | None = None, device: str = "auto"):
        """Nothing is loaded before `start_loading`.

        Args:
            workspace: where everything is kept.
            model: name or folder; the best that is available if None.
            device: 'auto', or as torch names it.
        """
        self.store = ProfileStore(workspace.profiles)
        self._workspace, self._asked, self._device = workspace, model, device
        self._loaded: Future[Recogniser] = Future()
        self._starting = threading.Lock()
        self._why = ""

    # the model ------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Look whether what was asked for by name can be had; what is left open is not looked at.

        Raises:
            UnknownModel, EncoderUnavailable, DeviceUnavailable: it cannot.
        """
        if self._asked is not None:
            from ser_core.inference.models import choose_model

            choose_model(self._asked, self._workspace)
        if self._device not in ("auto", "cpu"):
            from ser_core.encoders.base import choose_device

            choose_device(self._device)

    def start_loading(self) -> None:
        """Load the model in the background; a second call changes nothing."""
        with self._starting:
            if not self._loaded.running() and not self._loaded.done():
                self._loaded.set_running_or_notify_cancel()
                threading.Thread(target=self._load, name="model-loader", daemon=True).start()

    @property
    def state(self) -> State:
        """How far the model is."""
        if not self._loaded.done():
            return "loading"
        return "failed" if self._loaded.exception() else "ready"

    def recogniser(self) -> "Recogniser":
        """The model; waits until it is loaded.

        Raises:
            UnknownModel, EncoderUnavailable, BadCheckpoint, ModelFailed: it cannot be; the message says what to do.
        """
        self.start_loading()
        return self._loaded.result()

    def personalisers(self) -> tuple[str, ...]:
        """Names of the model's personalisers, the default first."""
        return self.recogniser().info.personalisers

    def model_in_words(self) -> str:
        """Which model answers, and why that one; or that it is not there yet, or what to do."""
        if self.state == "loading":
            return "The model is being loaded. This takes a few seconds."
        if problem := self._loaded.exception():
            return f"No model could be loaded: {sentence(problem)}"
        return f"Model: {self.recogniser().info.name}. {self._why}"

    def _load(self) -> None:
        try:
            import torch

            from ser_core.inference.recogniser import Recogniser

            # one utterance is too small to share: 11 ms instead of 16 on two idle cores, 15 instead of 200 on busy ones
            torch.set_num_threads(1)
            recogniser = Recogniser(self._workspace, self._asked, self._device)
            self._why = _why(recogniser.info.name, self._asked, self._workspace)
            self._loaded.set_result(recogniser)
        except Exception as error:
            self._loaded.set_exception(foreseen(error) or ModelFailed(_unforeseen(error)))

    # profiles -------------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Everybody who has a profile."""
        return [profile.name for profile in self.store.list()]

    def profile(self, name: str | None) -> Profile | None:
        """A profile; None for nobody.

        Raises:
            UnknownProfile: it was erased meanwhile.
        """
        return self.store.get(name) if name else None

    def create(self, name: str, agreed: bool) -> Profile:
        """Make an empty profile.

        Raises:
            ConsentMissing: the person has not agreed.
            BadProfileName, ProfileExists: another name is needed.
        """
        _check_consent(agreed)
        return self.store.create(name)

    def enrol(self, name: str | None, emotion: str, upload: str, agreed: bool) -> EnrolledUtterance:
        """Store a recording in place of the profile's earlier one of this emotion; the uploaded copy is deleted.

        Raises:
            ConsentMissing, NoProfileChosen, UnknownProfile: there is nowhere to store it.
            AudioRejected: it cannot be used; nothing is stored and the earlier one stays.
        """
        try:
            _check_consent(agreed)
            replaced = [clip for clip in self._chosen(name).utterances if clip.emotion == emotion]
            recording = read_recording(upload)
            from ser_core.data.quality import assess

            quality = assess(recording).to_dict()
            stored = self.store.add(name, emotion, recording.waveform, quality)
        finally:
            self._forget_upload(upload)
        self._forget_playback(replaced)
        self._embed_soon(name)
        return stored

    def remove(self, name: str | None, emotion: str) -> list[RemovedUtterance]:
        """Delete the profile's recording of an emotion; what comes back can be given to `restore`."""
        clips = [clip for clip in self._chosen(name).utterances if clip.emotion == emotion]
        self._forget_playback(clips)
        return [self.store.remove(name, clip.utterance_id) for clip in clips]

    def restore(self, name: str | None, removed: Sequence[RemovedUtterance]) -> None:
        """Undo `remove`."""
        for utterance in removed:
            self.store.restore(self._chosen(name).name, utterance)

    def erase(self, name: str | None) -> Erased:
        """Delete a profile with every trace."""
        profile = self._chosen(name)
        self._forget_playback(profile.utterances)
        shutil.rmtree(self._answers, ignore_errors=True)
        return self.store.delete(profile.name)

    def playback(self, name: str, utterance_id: str) -> str:
        """A file of a stored recording, in the private folder, for the page to play."""
        path = self._playback_path(utterance_id)
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            soundfile.write(path, self.store.audio(name, utterance_id), SAMPLE_RATE, subtype="PCM_16")
        return str(path)

    # answers --------------------------------------------------------------------------------------------------------

    def compare(self, upload: str, name: str | None = None, personaliser: str | None = None) -> Comparison:
        """Answer twice about a recording.

        Args:
            upload: the file.
            name: whose enrolment is used; nobody's if empty.
            personaliser: how it is used; the model's first if empty.

        Raises:
            AudioRejected: the recording cannot be used.
            UnknownProfile, UnknownModel: no such profile or personaliser.
        """
        start = time.perf_counter()
        recording = read_recording(upload)
        decode_ms = 1000 * (time.perf_counter() - start)
        recogniser, profile = self.recogniser(), self.profile(name)
        from ser_core.inference.enrolment import enrolment_of

        enrolment = enrolment_of(self.store, profile.name, recogniser) if profile else None
        prediction = recogniser.recognise(recording, enrolment, personaliser or None, decode_ms)
        whose = profile.name if profile and prediction.personalised else None
        document = prediction.to_json(Path(upload).name, whose, recording.warnings)
        clips = profile.utterances if profile else ()
        return Comparison(prediction, whose, clips, recording.warnings, self._written(document))

    # files in the private folder --------------------------------------------------------------------------------------

    @property
    def _answers(self) -> Path:
        return self._workspace.temporary / "answers"

    def _playback_path(self, utterance_id: str) -> Path:
        return self._workspace.temporary / "playback" / f"{utterance_id}.wav"

    def _written(self, document: dict) -> str:
        path = self._answers / secrets.token_hex(8) / "attune-answer.json"
        path.parent.mkdir(mode=0o700, parents=True)
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False), encoding="utf-8")
        return str(path)

    def _forget_playback(self, clips: Iterable[EnrolledUtterance]) -> None:
        for clip in clips:
            self._playback_path(clip.utterance_id).unlink(missing_ok=True)

    def _forget_upload(self, upload: str) -> None:
        if self._workspace.temporary in Path(upload).parents:  # never a file of the person's own
            Path(upload).unlink(missing_ok=True)

    def _chosen(self, name: str | None) -> Profile:
        if not name:
            raise NoProfileChosen("choose a profile, or create one, first")
        return self.store.get(name)

    def _embed_soon(self, name: str) -> None:
        """So that the next answer need not wait for it; not before the model is there."""
        if self.state == "ready":
            threading.Thread(target=self._embed, args=[name], name="embedder", daemon=True).start()

    def _embed(self, name: str) -> None:
        from ser_core.inference.enrolment import enrolment_of

        with suppress(ValueError):  # erased meanwhile; whoever needs it next is told
            enrolment_of(self.store, name, self.recogniser())


def for_people(handler: Callable, services: Services, *bound: Any) -> Callable:
    """A handler of the page, given the services; what goes wrong in it is shown in words and never with a path.

    Our own small errors speak for themselves; anything else is a bug: it is logged, and the person gets its reference.
    """

    @wraps(handler)
    def told(*arguments, **options):
        try:
            return handler(services, *bound, *arguments, **options)
        except gr.Error:
            raise
        except Exception as error:
            words = sentence(error) if foreseen(error) else _unforeseen(error)
            raise gr.Error(words, print_exception=False) from None

    told.__signature__ = inspect.signature(partial(handler, services, *bound))  # gradio counts the arguments
    return told


def sentence(error: BaseException) -> str:
    """An error's message with a capital at the start and a full stop at the end."""
    words = " ".join(str(error).split())
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", "!", "?")) else ".")


def foreseen(error: Exception) -> Exception | None:
    """The error, if it is one of the small named ones that are written for people."""
    return error if isinstance(error, ValueError) and type(error).__module__.startswith("ser_core.") else None


def _unforeseen(error: Exception) -> str:
    reference = f"E-{secrets.token_hex(2)}"
    logger.error("%s", reference, exc_info=error)
    return f"Something went wrong. Reference {reference}"


def _check_consent(agreed: bool) -> None:
    if agreed is not True:
        raise ConsentMissing("nothing is stored yet: read the notice and tick the box below it first")


def _why(chosen: str, asked: str | None, workspace: Workspace) -> str:
    if asked is not None:
        return "It was asked for at the start."
    from ser_core.inference.models import shipped_models

    better = takewhile(lambda model: model.name != chosen, shipped_models())
    reasons = [sentence(f"{model.name} would be better, but {model.why_unavailable(workspace)}") for model in better]
    return " ".join(reasons) or "It is the best one that ships with Attune."
