"""Combined Fairness Adaptation: one gender sounds alike in both corpora, and gender cannot be heard in the embedding.

Source: "Is It Still Fair? Investigating Gender Fairness in Cross-Corpus Speech Emotion Recognition", arXiv 2501.00995,
section 3: L = L_EC + 0.5·L_GSim − 0.5·L_GC. Emotions are learned from the source alone; then batches mix source and target,
whose speakers' gender is known and whose emotions are not. An answer needs neither.

Ours: the layer that reverses gradients changes the sign of L_GC, so it is added here (two minus signs would cancel);
pairs are of embeddings of length one; any protected attribute with two or more groups (data.protected); speakers of unknown
group count in neither term. Emotions are told apart all at once, or one from the rest as in the paper (data.against_rest). The
paper's Transformer on wav2vec 2.0 features is any encoder here, whose last layers may learn (encoder.tune = "last").

L_GSim pushes genders apart (by the margin) that L_GC wants to be indistinguishable; margin 0 leaves that out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from ser_core.data.batches import Batch, Utterances
from ser_core.methods.base import FeatureShape, Stage
from ser_core.methods.baseline import Baseline, BaselineSettings
from ser_core.nn.gradient_reversal import ramp, reverse
from ser_core.nn.heads import MlpHead
from ser_core.nn.losses import emotion_loss, pair_loss
from ser_core.recipe import check_range


@dataclass(frozen=True)
class CfaSettings(BaselineSettings):
    """The baseline's network, and what is added in the joint stage.

    Attributes:
        alpha: weight of the gender similarity, L_GSim; 0 leaves it out.
        beta: weight of the gender adversary, L_GC; 0 leaves it out.
        margin: how far apart two genders shall be, of embeddings of length one.
        source_epochs: of the first stage; training.epochs are those of the joint one.
        ramp: the adversary's strength grows with the joint stage, instead of being whole from its start.
        adversary: hidden units of the adversary.
    """

    alpha: float = 0.5
    beta: float = 0.5
    margin: float = 1.0
    source_epochs: int = 25
    ramp: bool = False
    adversary: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, alpha=(0, None), beta=(0, None), margin=(0, 2), source_epochs=(1, None), adversary=(1, None))


class Cfa(Baseline):
    """The baseline's network with an adversary that is thrown away after training."""

    Settings = CfaSettings
    training_only = ("adversary.",)
    hears_target = True
    compares_groups = True

    def __init__(self, settings: CfaSettings, shape: FeatureShape, emotions: tuple[str, ...]):
        super().__init__(settings, shape, emotions)
        self.adversary: MlpHead | None = None

    def fit_statistics(self, utterances: Utterances, rows: np.ndarray) -> "Cfa":
        super().fit_statistics(utterances, rows)
        if self.settings.beta:
            width, n_groups = self.settings.embedding, max(1, len(utterances.groups))
            self.adversary = MlpHead(width, self.settings.adversary, n_groups, 0.0).to(self.class_weight_.device)
        return self

    def stages(self) -> tuple[Stage, ...]:
        (source,) = super().stages()
        watched = ("gaps_on_dev", "gaps_on_target")
        first = Stage(
            "source", source.loss, source.batches, counts=source.counts, watched=watched,
            training={"epochs": self.settings.source_epochs},
        )  # fmt: skip
        # dev, which is the source's, would choose an epoch before it adapts: the last one is kept
        joint = Stage("joint", self.joint_loss, "mixed", "nothing", rows="mixed", whole=True, watched=watched)
        return first, joint

    def joint_loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """Emotion of the source; similarity and adversary of both."""
        output, settings = self(batch), self.settings
        of_source = batch.emotion >= 0
        terms = {"emotion": output.embedding.sum() * 0.0}
        if of_source.any():
            terms["emotion"] = emotion_loss(
                output.emotion_logits[of_source], batch.emotion[of_source], batch.classes[of_source], self.class_weight_,
                settings.smoothing,
            )  # fmt: skip
        if settings.alpha:
            similarity = pair_loss(output.embedding, batch.group, batch.source, settings.margin)
            terms["gender_similarity"] = settings.alpha * similarity
        if self.adversary is not None:
            terms["gender_adversary"] = settings.beta * self._misled(output.embedding, batch.group)
        return terms

    def _misled(self, embedding: Tensor, group: Tensor) -> Tensor:
        """Cross-entropy of the adversary, whose gradient comes back reversed."""
        known, strength = group >= 0, ramp(self.progress) if self.settings.ramp else 1.0
        logits = self.adversary(reverse(embedding, strength))
        if not known.any():
            return logits.sum() * 0.0
        return nn.functional.cross_entropy(logits[known], group[known])
