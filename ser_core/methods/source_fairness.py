"""Remedies that look at the source alone: weights, or a constraint, that make its groups be answered alike.

What arXiv 2501.00995 compares with: PA-ReW (weights that make emotion and gender independent of each other) and PA-FairW
(statistical parity between genders in the loss). And parity between single speakers: Chou et al. 2024, Interspeech.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ser_core.data.batches import Batch, Utterances
from ser_core.methods.base import FeatureShape, Stage
from ser_core.methods.baseline import Baseline, BaselineSettings
from ser_core.nn.losses import emotion_loss, independence_weights, parity_loss
from ser_core.recipe import BadRecipe, check_choice, check_range

BETWEEN = ("groups", "speakers")


@dataclass(frozen=True)
class SourceFairnessSettings(BaselineSettings):
    """The baseline's network, and what makes it fair.

    Attributes:
        reweighted: utterances count so that emotion and group are independent of each other.
        parity: weight of the constraint; 0 leaves it out.
        between: whom the constraint compares: 'groups' of data.protected, or 'speakers', for whom batches 'same_speaker' hold
            enough utterances of each (32).
    """

    reweighted: bool = False
    parity: float = 0.0
    between: str = "groups"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("between", self.between, BETWEEN)
        check_range(self, parity=(0, None))
        if self.parity and self.between == "speakers" and self.batches != "same_speaker":
            raise BadRecipe(
                f"'batches' is {self.batches!r}, and parity between speakers needs enough utterances of each in a batch: set it "
                f"to 'same_speaker'"
            )


class SourceFairness(Baseline):
    """The baseline's network under another loss."""

    Settings = SourceFairnessSettings

    def __init__(self, settings: SourceFairnessSettings, shape: FeatureShape, emotions: tuple[str, ...]):
        super().__init__(settings, shape, emotions)
        self.compares_groups = settings.reweighted or (settings.parity > 0 and settings.between == "groups")
        self._weight: Tensor | None = None  # of each emotion and group

    def fit_statistics(self, utterances: Utterances, rows: np.ndarray) -> "SourceFairness":
        super().fit_statistics(utterances, rows)
        if self.settings.reweighted:
            of_known = rows[utterances.group[rows] >= 0]
            emotion, group = (torch.from_numpy(of[of_known]) for of in (utterances.emotion, utterances.group))
            self._weight = independence_weights(emotion, group, len(self.emotions), len(utterances.groups))
        return self

    def stages(self) -> tuple[Stage, ...]:
        batches, whole = self.settings.batches, self.settings.reweighted or self.settings.parity > 0
        return (Stage("finetune", self.loss, batches, whole=whole),)

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        logits = self(batch).emotion_logits
        terms = {
            "emotion": emotion_loss(
                logits, batch.emotion, batch.classes, self.class_weight_, self.settings.smoothing, self._counts(batch)
            )
        }
        if self.settings.parity:
            of_corpus = logits.masked_fill(~batch.classes, -torch.inf)
            group = batch.group if self.settings.between == "groups" else batch.speaker
            terms["parity"] = self.settings.parity * parity_loss(of_corpus.softmax(dim=-1), group)
        return terms

    def _counts(self, batch: Batch) -> Tensor | None:
        """What each row counts, (B,); 1 where its group is not known."""
        if self._weight is None:
            return None
        known = self._weight.to(batch.emotion.device)[batch.emotion, batch.group.clamp(min=0)]
        return torch.where(batch.group >= 0, known, 1.0)
