"""Enrolment attention: the target listens to the speaker's enrolled utterances.

Source: "Enrolment-based personalisation for improving individual-level fairness in speech emotion recognition",
arXiv 2406.06665, and its published code: one multi-head attention (4 heads), query = target, keys = values = enrolment,
added to the target without a layer norm. Here the encoder is frozen; the trunk is trained in its place. What the paper
leaves open can be tried: to concatenate instead of attending, and a network of its own for the enrolled utterances.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ser_core.data.batches import Batch
from ser_core.methods.base import FeatureShape, Output
from ser_core.methods.baseline import Baseline, BaselineSettings
from ser_core.nn.attention import attend
from ser_core.nn.front import Trunk
from ser_core.recipe import BadRecipe, check_choice

USES = ("all", "neutral", "emotional", "none")
MISSING = ("mask", "silence")
FUSIONS = ("attention", "concatenation")


@dataclass(frozen=True)
class EnrolmentAttentionSettings(BaselineSettings):
    """The baseline's network, and which enrolment it hears.

    Attributes:
        n_heads: attention heads.
        use: 'neutral' is the paper's PERS N, 'emotional' PERS E, 'all' PERS A; 'none' is the baseline.
        missing: 'mask' leaves a missing class out; 'silence' attends to a vector of zeros in its place, close to what the
            paper's code does, which encodes 3 s of zeros.
        fusion: 'attention'; or 'concatenation' of the target and the mean utterance of each emotion, zero where missing.
        separate: enrolled utterances go through a trunk of their own.
    """

    n_heads: int = 4
    use: str = "all"
    missing: str = "mask"
    fusion: str = "attention"
    separate: bool = False


class EnrolmentAttention(Baseline):
    """Baseline whose embedding is target + attention(target → enrolment)."""

    Settings = EnrolmentAttentionSettings
    uses_enrolment = True

    def __init__(self, settings: EnrolmentAttentionSettings, shape: FeatureShape, emotions: tuple[str, ...]):
        for key, known in (("use", USES), ("missing", MISSING), ("fusion", FUSIONS)):
            check_choice(key, getattr(settings, key), known)
        if settings.fusion == "concatenation" and settings.missing == "silence":
            raise BadRecipe(
                "fusion 'concatenation' has a place for each emotion, zero where missing: leave missing at 'mask'"
            )
        if settings.n_heads < 1 or settings.embedding % settings.n_heads:
            raise BadRecipe(f"embedding {settings.embedding} cannot be divided among n_heads {settings.n_heads}")
        super().__init__(settings, shape, emotions)
        if settings.fusion == "attention":
            self.attention = nn.MultiheadAttention(settings.embedding, settings.n_heads, batch_first=True)
        else:
            self.joined = nn.Linear(settings.embedding * (1 + len(emotions)), settings.embedding)
        if settings.separate:
            self.enrolment_trunk = Trunk(self.front.width, settings.embedding, settings.input_dropout)

    def forward(self, batch: Batch) -> Output:
        target = self.trunk(self.front(batch.features))
        heard, attended = self._heard(batch)
        if self.settings.fusion == "attention":
            added, weights = attend(self.attention, target, heard, attended)
            weights = weights[:, : batch.present.shape[1]]
        else:
            added, weights = self._concatenated(target, heard, attended, batch.enrolment_emotion), None
        embedding = target + added
        shift = added.norm(dim=-1) / target.norm(dim=-1).clamp(min=1e-6)
        return Output(embedding, self.head(embedding), weights, shift)

    def _concatenated(self, target: Tensor, heard: Tensor, there: Tensor, emotion: Tensor) -> Tensor:
        """What the target and the mean utterance of each emotion come to together, (B, D); zero with nobody enrolled."""
        of_emotion = one_hot(emotion.clamp(min=0), len(self.emotions)) * there[..., None]
        means = of_emotion.to(heard).transpose(1, 2) @ heard / of_emotion.sum(dim=1).clamp(min=1)[..., None]
        return self.joined(torch.cat([target, means.flatten(1)], dim=1)) * there.any(dim=1, keepdim=True)

    def _heard(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The enrolment as vectors (B, K, D), and which of it is attended to (B, K) bool; silence, if any, comes last."""
        used = self._used_classes(batch.enrolment.device)
        attended = batch.present & used[batch.enrolment_emotion.clamp(min=0)]
        trunk = self.enrolment_trunk if self.settings.separate else self.trunk
        heard = trunk(self.front(batch.enrolment)) * attended[..., None]
        if self.settings.missing == "mask":
            return heard, attended
        there = one_hot(batch.enrolment_emotion.clamp(min=0), len(self.emotions)).bool() & attended[..., None]
        n_missing = used.sum() - there.any(dim=1).sum(dim=1, keepdim=True)
        silent = torch.arange(len(self.emotions), device=heard.device)[None] < n_missing
        silence = heard.new_zeros(len(heard), len(self.emotions), heard.shape[-1])
        return torch.cat([heard, silence], dim=1), torch.cat([attended, silent], dim=1)

    def _used_classes(self, device: torch.device) -> Tensor:
        """Which classes are heard, (C,) bool."""
        neutral = torch.tensor([emotion == "neutral" for emotion in self.emotions], device=device)
        return {"all": neutral | ~neutral, "neutral": neutral, "emotional": ~neutral, "none": neutral & ~neutral}[
            self.settings.use
        ]
