"""What every method promises: a network plus an ordered list of stages; one trainer runs them all."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ser_core.data.batches import Batch, Utterances
from ser_core.encoders.base import SpeechEncoder
from ser_core.evaluation.certainty import Certainty
from ser_core.labels import ATTRIBUTES
from ser_core.recipe import BadRecipe, check_choice, check_range, settings_from


@dataclass(frozen=True)
class Output:
    """What a method says of a batch.

    Attributes:
        embedding: what its last layer hears, (B, D).
        emotion_logits: (B, C); nan where a method tells no emotions apart.
        attributes: arousal, valence and dominance on the scale learned, (B, 3), nan for one that is not learned; None where
            a method learns none.
        attention: how far the answer attends to each enrolled utterance, (B, K), rows sum to at most one, and to zero with
            nobody enrolled; None where a method does not weigh them. A method may use all of them alike beside.
        shift: how far the enrolment moved the embedding, (B,), relative to the embedding's own length.
    """

    embedding: Tensor
    emotion_logits: Tensor
    attention: Tensor | None = None
    shift: Tensor | None = None
    attributes: Tensor | None = None


@dataclass(frozen=True)
class Stage:
    """One step of a method's training.

    Attributes:
        name: as in the paper; stands in the log.
        loss: the named terms of a batch; the trainer adds them up and logs each.
        batches: a key of SAMPLERS.
        sampling: what that sampler is told beside, such as how many utterances of a speaker.
        rows: which rows of the plan are drawn: 'train'; 'mixed', those of the target corpus as well; or 'unlabelled' for all
            speech that may be heard.
        encoder: what an encoder that learns does in it: 'pools' gives the features of each batch; 'inside', the loss is
            given it as well (`loss(batch, encoder)`, of waveforms); 'rests'.
        training: settings of the training that differ from the recipe's.
        prepare: what is made of the corpus before the stage, again after a resume; may change the method's statistics.
        monitor: what is watched on dev: 'uar' or 'ccc' (higher is better), 'loss' (lower is better); or 'nothing', and the
            last epoch is kept.
        counts: how much each row counts in the mean that a term is, from the utterances and rows (B,) to (B,); one where a
            term is not named. So a batch can be divided without changing its loss.
        whole: a term is no mean over rows, so that a batch must not be worked through in parts.
    """

    name: str
    loss: Callable[..., Mapping[str, Tensor]]
    batches: str = "shuffled"
    monitor: str = "uar"
    rows: str = "train"
    encoder: str = "pools"
    training: Mapping[str, Any] = field(default_factory=dict)
    prepare: "Callable[[Preparation], Utterances] | None" = None
    counts: Mapping[str, Callable[[Utterances, np.ndarray], np.ndarray]] = field(default_factory=dict)
    whole: bool = False
    sampling: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Preparation:
    """What a stage may be prepared from.

    Attributes:
        utterances: as they were heard until now.
        train, test: rows that are learned from with labels, and those of the speakers kept apart.
        unlabelled: rows that may be heard without labels.
        target: rows of the corpus that is adapted to.
        encoder: as it is now; None where none is at hand.
        hear: all utterances as the method's `pooled` hears them with that encoder now.
        between: to be called now and then; raises where somebody asked to stop.
    """

    utterances: Utterances
    train: np.ndarray
    test: np.ndarray
    unlabelled: np.ndarray
    target: np.ndarray
    encoder: SpeechEncoder | None
    hear: Callable[[], Utterances]
    between: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class FeatureShape:
    """What an encoder hands over: L layers of 2 D pooled values, and which of the layers a method hears."""

    n_layers: int
    n_values: int
    layers: tuple[int, ...]
    pooling: str = "concatenate"

    def __post_init__(self) -> None:
        _check_layers(self)


@dataclass(frozen=True)
class TextShape:
    """What an encoder of text hands over: L layers of D values, and which of the layers a method reads."""

    n_layers: int
    n_values: int
    layers: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_layers(self)


def _check_layers(shape: FeatureShape | TextShape) -> None:
    if (shape.n_layers, shape.n_values, shape.layers) == (0, 0, ()):  # of a method that hears waveforms itself
        return
    check_range(shape, n_layers=(1, None), n_values=(1, None))
    if not shape.layers or not all(0 <= layer < shape.n_layers for layer in shape.layers):
        raise BadRecipe(f"'layers' are {list(shape.layers)}, but some of 0 to {shape.n_layers - 1} were expected")


@dataclass(frozen=True)
class NoSettings:
    """For a method that has none."""


class Method(nn.Module, ABC):
    """A network and its stages.

    Attributes:
        Settings: a frozen dataclass of what a recipe may set.
        hears_waveforms: True where batches must carry waveforms instead of pooled features.
        needs_labels: False where utterances without an emotion may be learned from.
        uses_enrolment: False for methods that give everybody the same answer.
        hears_speech: False for one that only reads.
        tells_emotions: False for one that predicts attributes only.
        reads: True for methods that may be given words.
        learns_others: True where utterances of no class may be learned from (recipe: data.others).
        training_only: beginnings of names of weights that are not needed once it is trained.
        note: what a model that was saved lacks, in words, for its card; empty where it lacks nothing.
        rng: for augmentation; the trainer hands in a seeded one.
        text_shape: what it reads; None for a method that reads nothing.
        hears_target: True where it adapts to a corpus without its emotions (recipe: data.target).
        compares_groups: True where training needs to know the group of speakers (recipe: data.protected).
        learns_unlabelled: True where a stage learns from speech without labels (recipe: data.unlabelled).
        hears_speaker_encoder: True where it is given an embedding of the voice as well (recipe: speaker_encoder).
        progress: share of the stage that is done; the trainer says it.
        is_transductive: True where it cannot be trained without hearing the test speakers, though not their labels.
        certainty_: how sure it may be, learned on dev speakers once it is trained (evaluation/certainty.py).
    """

    Settings: ClassVar[type] = NoSettings
    hears_waveforms: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = True
    uses_enrolment: bool = False
    hears_speech: bool = True
    tells_emotions: bool = True
    learns_others: ClassVar[bool] = False
    reads: ClassVar[bool] = False
    training_only: ClassVar[tuple[str, ...]] = ()
    note: str = ""
    text_shape: TextShape | None = None
    is_transductive: bool = False
    hears_target: bool = False
    compares_groups: bool = False
    learns_unlabelled: ClassVar[bool] = False
    hears_speaker_encoder: ClassVar[bool] = False
    progress: float = 0.0
    certainty_: Certainty = Certainty()

    def __init__(self, settings: Any, shape: FeatureShape, emotions: tuple[str, ...]):
        super().__init__()
        self.settings = settings
        self.shape = shape
        self.emotions = emotions
        self.rng = np.random.default_rng(0)

    @classmethod
    def build(
        cls,
        settings: Mapping[str, Any],
        shape: FeatureShape,
        emotions: tuple[str, ...],
        where: str,
        text: TextShape | None = None,
    ) -> "Method":
        """From a recipe's table of settings; `text` is what it may read.

        Raises:
            BadRecipe: an unknown key; `where` names the file.
        """
        checked = settings_from(cls.Settings, settings, f"{where} [settings]")
        return cls(checked, shape, emotions, text) if cls.reads else cls(checked, shape, emotions)

    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """What is trained, in order."""

    @abstractmethod
    def forward(self, batch: Batch) -> Output:
        """What it makes of a batch: embedding (B, D), emotion_logits (B, C), and what else it tells."""

    def probabilities(self, output: Output, classes: Tensor | None = None) -> Tensor:
        """What its logits come to at its temperature, (B, C); here and nowhere else.

        Args:
            output: what it said of a batch.
            classes: among which it chooses, (B, C) bool; all of them if None.
        """
        logits = output.emotion_logits.float()
        if classes is not None:
            logits = logits.masked_fill(~classes, -torch.inf)
        return (logits / self.certainty_.temperature).softmax(dim=-1)

    def fit_statistics(self, utterances: Utterances, rows: np.ndarray) -> "Method":
        """Learn what is counted rather than trained (means, class frequencies) from the training rows."""
        return self

    def pooled(self, encoder: SpeechEncoder, waveforms: Sequence[Tensor], speaker: Tensor) -> Tensor:
        """What the method's features are: B waveforms (N_b,) and the numbers of who speaks them, (B,), to (B, L, 2 D)."""
        return encoder.pooled(waveforms)

    def variants(self) -> "Mapping[str, Method]":
        """Itself with something left out, by what that is: controls that need no other training."""
        return {}

    def export(self, folder: Path) -> None:
        """Write what others may use by itself, such as a trained encoder, beside the weights."""


HEADS = ("emotion", *ATTRIBUTES)
"""What a method with a head for each may predict."""


def check_heads(heads: Sequence[str]) -> None:
    """Raises BadRecipe unless they are some of HEADS, each once."""
    for head in heads:
        check_choice("heads", head, HEADS)
    if not heads or len(set(heads)) < len(heads):
        raise BadRecipe(f"'heads' are {list(heads)}, but some of {', '.join(HEADS)} were expected, each once")


def rated(utterances: Utterances, rows: np.ndarray, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each attribute among the rows, (3,) and (3,); 0 and 1 where nobody rated it.

    Raises:
        BadRecipe: one of those named has fewer than two ratings.
    """
    mean, scale = torch.zeros(3), torch.ones(3)
    for place, name in enumerate(ATTRIBUTES):
        values = utterances.attributes[rows, place]
        known = values[np.isfinite(values)]
        if name in names and len(known) < 2:
            raise BadRecipe(
                f"'{name}' is to be learned, but the training utterances have {len(known)} ratings of it; take a corpus with "
                f"attributes, or set data.attributes=circumplex for pseudo-attributes made from the emotions"
            )
        if len(known) > 1:
            mean[place], scale[place] = float(known.mean()), max(float(known.std()), 1e-4)
    return mean, scale


def frequencies(utterances: Utterances, rows: np.ndarray) -> Tensor:
    """How often each class occurs among the rows, (C,), at least 1."""
    counts = np.bincount(utterances.emotion[rows][utterances.emotion[rows] >= 0], minlength=len(utterances.emotions))
    return torch.from_numpy(np.maximum(counts, 1)).float()
