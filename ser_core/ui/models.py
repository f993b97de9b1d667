"""The models that answer: loaded in the background when first wanted, kept, shared by all pages that are open."""

import threading
from concurrent.futures import Future
from contextlib import suppress
from itertools import takewhile
from typing import TYPE_CHECKING, Literal

from ser_core.imports import uncollected
from ser_core.inference.models import ModelInfo, choose_model, known_models, shipped_models
from ser_core.ui.errors import foreseen, sentence, unforeseen
from ser_core.workspace import Workspace

if TYPE_CHECKING:  # it takes seconds to import: the page is served first
    from ser_core.inference.recogniser import Recogniser

State = Literal["loading", "ready", "failed"]


class ModelFailed(ValueError):
    """The model could not be loaded for a reason that nobody foresaw."""


class Models:
    """One default model, and whichever others are asked for by name."""

    def __init__(self, workspace: Workspace, asked: str | None = None, device: str = "auto"):
        """Nothing is loaded before `start_loading`.

        Args:
            workspace: where fetched encoders lie.
            asked: the default's name or folder; the best that is available if None.
            device: 'auto', or as torch names it.
        """
        self._workspace, self._asked, self._device = workspace, asked, device
        self._loaded: dict[str | None, Future[Recogniser]] = {}  # None is the default
        self._starting = threading.Lock()

    def check(self) -> None:
        """Look whether what was asked for by name can be had; what is left open is not looked at.

        Raises:
            UnknownModel, EncoderUnavailable, DeviceUnavailable: it cannot.
        """
        if self._asked is not None:
            choose_model(self._asked, self._workspace)
        if self._device not in ("auto", "cpu"):
            from ser_core.encoders.base import choose_device

            choose_device(self._device)

    def start_loading(self, name: str | None = None) -> "Future[Recogniser]":
        """Load a model in the background; a second call changes nothing, unless the first one failed.

        Args:
            name: of `offered`; the default if None.
        """
        with self._starting:
            known = self._loaded.get(name)
            if known is None or (name is not None and known.done() and known.exception()):
                known = self._loaded[name] = Future()
                threading.Thread(target=self._load, args=[name, known], name="model-loader", daemon=True).start()
            return known

    def forget(self, name: str) -> None:
        """A model of this name is gone; another one may get the name."""
        with self._starting:
            self._loaded.pop(name, None)

    def state(self, name: str | None = None) -> State:
        """How far a model is; the default's is 'loading' even before anybody asked for it."""
        loaded = self._loaded.get(self._key(name))
        if loaded is None or not loaded.done():
            return "loading"
        return "failed" if loaded.exception() else "ready"

    def recogniser(self, name: str | None = None) -> "Recogniser":
        """A model; waits until it is loaded.

        Raises:
            UnknownModel, EncoderUnavailable, BadCheckpoint, ModelFailed: it cannot be; the message says what to do.
        """
        with suppress(ValueError):  # a default that cannot be had does not keep another one away
            self.start_loading().result()
        return self.start_loading(self._key(name)).result()

    def offered(self) -> list[ModelInfo]:
        """The default, and all that ship or were trained here and can be used."""
        default = self.recogniser().info
        others = [model for model in known_models(self._workspace) if model.name != default.name]
        return [default, *(model for model in others if not model.why_unavailable(self._workspace))]

    def in_words(self) -> str:
        """Which model answers, and why that one; or that it is not there yet, or what to do."""
        if self.state() == "loading":
            return "The model is being loaded. This takes a few seconds."
        if problem := self._loaded[None].exception():
            return f"No model could be loaded: {sentence(problem)}"
        return f"Model: {self.recogniser().info.name}. {self._why(self.recogniser().info.name)}"

    def _key(self, name: str | None) -> str | None:
        """None for the default, also where it is called by its name."""
        default = self._loaded.get(None)
        there = default is not None and default.done() and not default.exception()
        return None if there and default.result().info.name == name else name or None

    def _why(self, chosen: str) -> str:
        if self._asked is not None:
            return "It was asked for at the start."
        better = takewhile(lambda model: model.name != chosen, shipped_models())
        missing = " and ".join(model.name for model in better if model.why_unavailable(self._workspace))
        wanting = (
            f"{missing} did better on our test speakers, but its weights are not on this computer: see the tab About."
        )
        return wanting if missing else "It is the best one that ships with Attune."

    def _load(self, name: str | None, loaded: "Future[Recogniser]") -> None:
        try:
            with uncollected():
                import torch

                from ser_core.inference.recogniser import Recogniser

            # one utterance is too small to share: 11 ms instead of 16 on two idle cores, 15 instead of 200 on busy ones
            torch.set_num_threads(1)
            loaded.set_result(Recogniser(self._workspace, name or self._asked, self._device))
        except Exception as error:
            loaded.set_exception(foreseen(error) or ModelFailed(unforeseen(error)))
