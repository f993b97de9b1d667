"""The baseline: one answer for everybody, from the utterance alone.

Source: the baseline of arXiv 2406.06665: the same head without the enrolment branch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ser_core.data.batches import Batch, Utterances
from ser_core.data.sampling import SAMPLERS
from ser_core.methods.base import FeatureShape, Method, Output, Stage, frequencies
from ser_core.nn.front import Front, Trunk
from ser_core.nn.heads import MlpHead
from ser_core.nn.losses import emotion_loss, inverse_frequency
from ser_core.recipe import check_choice, check_range


@dataclass(frozen=True)
class BaselineSettings:
    """The network, and how targets are drawn (a key of SAMPLERS)."""

    embedding: int = 256
    hidden: int = 512
    input_dropout: float = 0.3
    dropout: float = 0.5
    smoothing: float = 0.1
    batches: str = "shuffled"

    def __post_init__(self) -> None:
        check_choice("batches", self.batches, SAMPLERS)
        check_range(
            self, embedding=(1, None), hidden=(1, None), input_dropout=(0, 0.95), dropout=(0, 0.95), smoothing=(0, 0.95)
        )


class Baseline(Method):
    """Front, trunk and head; what every method here adds its own piece to."""

    Settings = BaselineSettings

    def __init__(self, settings: BaselineSettings, shape: FeatureShape, emotions: tuple[str, ...]):
        super().__init__(settings, shape, emotions)
        self.front = Front(shape.n_values, shape.layers, shape.pooling)
        self.trunk = Trunk(self.front.width, settings.embedding, settings.input_dropout)
        self.head = MlpHead(settings.embedding, settings.hidden, len(emotions), settings.dropout)
        self.register_buffer("class_weight_", torch.ones(len(emotions)))

    def fit_statistics(self, utterances: Utterances, rows: np.ndarray) -> "Baseline":
        self.front.fit(utterances, rows)
        self.class_weight_ = inverse_frequency(frequencies(utterances, rows))
        return self

    def stages(self) -> tuple[Stage, ...]:
        counts = {"emotion": lambda utterances, rows: self.class_weight_.cpu().numpy()[utterances.emotion[rows]]}
        return (Stage("finetune", self.loss, self.settings.batches, counts=counts),)

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """The one term, `emotion`, a scalar."""
        return {"emotion": self.emotion_term(self(batch).emotion_logits, batch)}

    def emotion_term(self, logits: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of logits (B, C), weighted by class."""
        return emotion_loss(logits, batch.emotion, batch.classes, self.class_weight_, self.settings.smoothing)

    def forward(self, batch: Batch) -> Output:
        embedding = self.trunk(self.front(batch.features))
        return Output(embedding, self.head(embedding))
