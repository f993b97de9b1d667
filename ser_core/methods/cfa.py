"""Combined Fairness Adaptation: one gender sounds alike in both corpora, and gender cannot be heard in the embedding.

Source: "Is It Still Fair? Investigating Gender Fairness in Cross-Corpus Speech Emotion Recognition", arXiv 2501.00995,
section 3: L = L_EC + 0.5·L_GSim − 0.5·L_GC. Emotions are learned from the source alone; then batches mix source and target,
whose speakers' gender is known and whose emotions are not. An answer needs neither.

Ours: the layer that reverses gradients changes the sign of L_GC, so it is added here (two minus signs would cancel);
pairs are of embeddings of length one; any protected attribute with two or more groups (data.protected); speakers of unknown
group count in neither of the two terms. Emotions are told apart all at once, or one from the rest as in the paper (data.against_rest). The
paper's Transformer on wav2vec 2.0 features is any encoder here, whose last layers may learn (encoder.tune = "last").

Ours as well, and off in the paper's form: the target is standardised by itself (a recording's room and codec are not its
emotion), and what a linear probe can still tell of the group is erased at the end (nn/erasure.py). For L_GSim pushes genders
apart (by the margin) that L_GC wants to be indistinguishable, and an adversary that is fooled does not mean that gender is gone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ser_core.data.batches import Batch, Utterances
from ser_core.methods.base import FeatureShape, Output, Preparation, Stage
from ser_core.methods.baseline import Baseline, BaselineSettings
from ser_core.nn.erasure import erasure
from ser_core.nn.front import Front
from ser_core.nn.gradient_reversal import ramp, reverse
from ser_core.nn.heads import MlpHead
from ser_core.nn.losses import emotion_loss, pair_loss
from ser_core.recipe import check_choice, check_range

STANDARDISED = ("source", "each")


@dataclass(frozen=True)
class CfaSettings(BaselineSettings):
    """The baseline's network, and what is added in the joint stage.

    Attributes:
        alpha: weight of the gender similarity, L_GSim; 0 leaves it out.
        beta: weight of the gender adversary, L_GC; 0 leaves it out.
        margin: how far apart two genders shall be, of embeddings of length one; 0 leaves that part of L_GSim out.
        source_epochs: of the first stage; training.epochs are those of the joint one.
        ramp: the adversary's strength grows with the joint stage, instead of being whole from its start.
        adversary: hidden units of the adversary.
        standardised: what is heard, by the mean and spread of the 'source', or of 'each': the sources, and the target by its own.
        erased: the group is erased from the embedding at the end, in closed form, and the head learns once more,
            for `erased_epochs`.
    """

    alpha: float = 0.5
    beta: float = 0.5
    margin: float = 1.0
    source_epochs: int = 25
    ramp: bool = False
    adversary: int = 128
    standardised: str = "source"
    erased: bool = False
    erased_epochs: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("standardised", self.standardised, STANDARDISED)
        check_range(self, alpha=(0, None), beta=(0, None), margin=(0, 2), source_epochs=(1, None), adversary=(1, None))


class Cfa(Baseline):
    """The baseline's network with an adversary that is thrown away after training."""

    Settings = CfaSettings
    training_only = ("adversary.",)
    hears_target = True
    compares_groups = True

    def __init__(self, settings: CfaSettings, shape: FeatureShape, emotions: tuple[str, ...]):
        super().__init__(settings, shape, emotions)
        width = settings.embedding
        heard = (len(shape.layers), shape.n_values)
        self.register_buffer("target_mean_", torch.zeros(heard))
        self.register_buffer("target_scale_", torch.ones(heard))
        self.register_buffer("gone_", torch.zeros(width, width))
        self.register_buffer("mean_", torch.zeros(width))
        self.adversary: MlpHead | None = None
        self._sources: Tensor | None = None  # numbers of the corpora that train; None where all is the target, as later

    def fit_statistics(self, utterances: Utterances, rows: np.ndarray) -> "Cfa":
        super().fit_statistics(utterances, rows)
        self._sources = torch.from_numpy(np.unique(utterances.source[rows]))
        if self.settings.beta:
            width, n_groups = self.settings.embedding, max(1, len(utterances.groups))
            self.adversary = MlpHead(width, self.settings.adversary, n_groups, 0.0).to(self.class_weight_.device)
        return self

    @property
    def note(self) -> str:
        """Whose statistics it answers by."""
        if self.settings.standardised == "source":
            return ""
        return "What is saved takes everybody for a speaker of the corpus that was adapted to, also one of the sources."

    def stages(self) -> tuple[Stage, ...]:
        (plain,) = super().stages()
        source = Stage(
            "source", plain.loss, plain.batches, counts=plain.counts, prepare=self.hear_target,
            training={"epochs": self.settings.source_epochs},
        )  # fmt: skip
        # dev, which is the source's, would choose an epoch before it adapts: the last one is kept
        joint = Stage("joint", self.joint_loss, "mixed", "nothing", rows="mixed", whole=True)
        erased = Stage(
            "erased", self.head_loss, plain.batches, encoder="rests", counts=plain.counts, prepare=self.erase,
            training={"epochs": self.settings.erased_epochs},
        )  # fmt: skip
        return (source, joint, erased) if self.settings.erased else (source, joint)

    def hear_target(self, given: Preparation) -> Utterances:
        """Mean and spread of what is heard of the target, as far as it may be heard."""
        of_target = Front(self.shape.n_values, self.shape.layers, self.shape.pooling).fit(
            given.utterances, given.target
        )
        self.target_mean_ = of_target.mean_.to(self.gone_.device)
        self.target_scale_ = of_target.scale_.to(self.gone_.device)
        return given.utterances

    def erase(self, given: Preparation) -> Utterances:
        """Fit the erasure to what the trunk makes of both corpora now; the source's groups are compared emotion by emotion."""
        utterances, rows = given.hear(), np.concatenate([given.train, given.target])
        device, parts, sides = self.gone_.device, [], np.isin(rows, given.target)
        self.eval()
        with torch.inference_mode():
            for some in np.array_split(rows, max(1, len(rows) // 256)):
                batch = utterances.batch(some, [np.empty(0, dtype=np.int64)] * len(some)).to(device)
                parts.append(self.trunk(self._heard(batch)))
            group, side, emotion = (
                torch.from_numpy(of).to(device)
                for of in (utterances.group[rows], sides.astype(np.int64), utterances.emotion[rows])
            )
            gone, mean = erasure(torch.cat(parts), group, side, emotion)  # the target's emotions are all -1
        self.gone_, self.mean_ = gone.clone(), mean.clone()
        return utterances

    def head_loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """Emotion of the source, of which the head alone learns: what is erased stays erased."""
        logits = self.head(self.embedding(batch).detach())
        return {
            "emotion": emotion_loss(logits, batch.emotion, batch.classes, self.class_weight_, self.settings.smoothing)
        }

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
            sides = self._is_source(batch).long()
            similarity = pair_loss(output.embedding, batch.group, sides, settings.margin)
            terms["gender_similarity"] = settings.alpha * similarity
        if self.adversary is not None:
            terms["gender_adversary"] = settings.beta * self._misled(output.embedding, batch.group)
        return terms

    def forward(self, batch: Batch) -> Output:
        embedding = self.embedding(batch)
        return Output(embedding, self.head(embedding))

    def embedding(self, batch: Batch) -> Tensor:
        """(B, D), without what was erased."""
        embedding = self.trunk(self._heard(batch))
        return embedding - (embedding - self.mean_) @ self.gone_

    def _heard(self, batch: Batch) -> Tensor:
        """Standardised by the source, or each side by its own; where the corpus is not told it is the target."""
        of_source = self.front.standardised(batch.features)
        if self.settings.standardised == "source":
            return self.front.joined(of_source)
        of_target = (batch.features[:, self.front.layers] - self.target_mean_) / self.target_scale_
        return self.front.joined(torch.where(self._is_source(batch)[:, None, None], of_source, of_target))

    def _is_source(self, batch: Batch) -> Tensor:
        """Which rows are of a corpus that trains, (B,) bool; none where the corpora are not told."""
        if self._sources is None or batch.source is None:
            return torch.zeros(len(batch), dtype=torch.bool, device=batch.features.device)
        return torch.isin(batch.source, self._sources.to(batch.source.device))

    def _misled(self, embedding: Tensor, group: Tensor) -> Tensor:
        """Cross-entropy of the adversary, whose gradient comes back reversed."""
        known, strength = group >= 0, ramp(self.progress) if self.settings.ramp else 1.0
        logits = self.adversary(reverse(embedding, strength))
        if not known.any():
            return logits.sum() * 0.0
        return nn.functional.cross_entropy(logits[known], group[known])
