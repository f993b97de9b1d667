"""Speaker reference: subtract what is this voice, keep what is this emotion. Our own method.

Model: a standardised vector of an utterance is mean speaker + speaker + emotion + rest, x = m + s + c + r. From training
speakers we know m, the mean c of every emotion, and how much speakers (between) and utterances (within) vary. Each
enrolled utterance of a known emotion then says e − m − c about the speaker, and the guess of s from n of them is their mean,
shrunk by n / (n + λ missing within / between), where missing is the share of the method's emotions of which none is enrolled. With
λ = 1 and without that share it is the best linear unbiased predictor of a random effect (Robinson 1991, Statistical Science 6(1)).
The share is by analogy with a finite population (Cochran 1977, Sampling Techniques, section 2.6): a speaker has only so many
emotions, and whoever enrolled all of them is believed, as if single utterances had no noise of their own. Labels matter: a
missing class does not tilt the reference, and with nobody enrolled it is zero, so that the answer is the method's own answer
without enrolment, exactly.

Once the reference is subtracted, the target is compared with each enrolled utterance, which votes for its emotion as far as they
are alike (after the matching networks of arXiv 1606.04080, section 2.1); a missing class gets no votes.

It is trained in episodes (data/sampling.py): random utterances, missing classes, other sentences. What each part is worth:
benchmarks/ablations.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from ser_core.data.batches import Batch, Utterances
from ser_core.methods.base import FeatureShape, Output
from ser_core.methods.baseline import Baseline, BaselineSettings
from ser_core.recipe import BadRecipe, check_range


@dataclass(frozen=True)
class SpeakerReferenceSettings(BaselineSettings):
    """The baseline's network, trained in episodes.

    Attributes:
        labels: an enrolled utterance is compared with the mean of its emotion; else with the mean of all of them.
        shrinkage: λ, how much less enrolled utterances of a few emotions are believed than of all: 0 not at all.
        prototypes: the target also attends to the enrolled utterances, which vote for their emotions; a key that stands for
            nobody takes the votes where none of them sounds alike, or none is there. How sharply, how alike nobody is and
            what a vote weighs are learned, but hardly leave where they start (5, 0.5, 1) at the learning rate of the recipes.
    """

    batches: str = "episodes"
    labels: bool = True
    shrinkage: float = 0.5
    prototypes: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, shrinkage=(0, None))
        if self.prototypes and not self.labels:
            raise BadRecipe(
                "without 'labels' no enrolled utterance can vote for its emotion; set 'prototypes' to false"
            )


class SpeakerReference(Baseline):
    """Baseline that hears an utterance relative to the speaker's reference."""

    Settings = SpeakerReferenceSettings
    uses_enrolment = True

    def __init__(self, settings: SpeakerReferenceSettings, shape: FeatureShape, emotions: tuple[str, ...]):
        super().__init__(settings, shape, emotions)
        heard = (len(shape.layers), shape.n_values)
        self.register_buffer("emotion_mean_", torch.zeros(len(emotions), *heard))
        self.register_buffer("within_over_between_", torch.ones(heard))
        if settings.prototypes:
            self.sharpness = nn.Parameter(torch.tensor(5.0))
            self.nobody = nn.Parameter(torch.tensor(0.5))
            self.vote_weight = nn.Parameter(torch.tensor(1.0))

    def fit_statistics(self, utterances: Utterances, rows: np.ndarray) -> "SpeakerReference":
        """Emotion means of the mean speaker, and variances, from the training speakers."""
        super().fit_statistics(utterances, rows)
        heard = self.front.standardised(utterances.features[torch.from_numpy(rows)])
        speakers = utterances.corpus.table["speaker"].to_numpy()[rows]
        effects = fit_effects(heard.flatten(1).double().numpy(), speakers, utterances.emotion[rows], len(self.emotions))
        emotion, within = effects.emotion, effects.within
        if not self.settings.labels:
            emotion, within = np.zeros_like(emotion), within + emotion.var(axis=0)
        self.emotion_mean_ = torch.from_numpy(emotion + effects.mean_speaker).float().unflatten(1, heard.shape[1:])
        self.within_over_between_ = torch.from_numpy(within / effects.between).float().view(heard.shape[1:])
        return self

    def reference(self, enrolment: Tensor, present: Tensor, emotion: Tensor) -> Tensor:
        """What is this voice's own: its difference from the mean speaker.

        Args:
            enrolment: standardised layers of the enrolled utterances, (B, K, layers, 2 D).
            present: which of the K there are, (B, K) bool.
            emotion: their classes, (B, K).

        Returns:
            (B, layers, 2 D), zero where nobody is enrolled.
        """
        says = (enrolment - self.emotion_mean_[emotion.clamp(min=0)]) * present[..., None, None]
        n = present.sum(dim=1)[:, None, None].to(says.dtype)
        n_told = n
        if self.settings.labels:
            n_told = self._told(present, emotion).sum(dim=1).clamp(max=1).sum(dim=-1)[:, None, None]
        missing = (1 - n_told / len(self.emotions)).clamp(min=0)
        return says.sum(dim=1) / (n + self.settings.shrinkage * missing * self.within_over_between_).clamp(min=1)

    def _told(self, present: Tensor, emotion: Tensor) -> Tensor:
        """Which emotion each enrolled utterance is of, (B, K, C); zero where there is none."""
        return one_hot(emotion.clamp(min=0), len(self.emotions)) * (present & (emotion >= 0))[..., None]

    def forward(self, batch: Batch) -> Output:
        target, enrolment = self.front.standardised(batch.features), self.front.standardised(batch.enrolment)
        reference = self.reference(enrolment, batch.present, batch.enrolment_emotion)
        before, embedding = (self.trunk(self.front.joined(heard)) for heard in (target, target - reference))
        shift = (embedding - before).norm(dim=-1) / before.norm(dim=-1).clamp(min=1e-6)
        logits, weights = self.head(embedding), None
        if self.settings.prototypes:
            heard = self.trunk(self.front.joined(enrolment - reference[:, None]))
            told = self._told(batch.present, batch.enrolment_emotion).to(heard.dtype)
            weights = self._alike(embedding, heard, told)
            logits = logits + self.vote_weight * (weights[..., None] * told).sum(dim=1)
        return Output(embedding, logits, weights, shift)

    def _alike(self, target: Tensor, heard: Tensor, told: Tensor) -> Tensor:
        """How much a target (B, D) is like each enrolled utterance (B, K, D): (B, K), what is left to 1 is like nobody.

        Several utterances of an emotion share its weight.
        """
        likeness = (normalize(heard, dim=-1) * normalize(target, dim=-1)[:, None]).sum(dim=-1)
        n_of_its_emotion = (told @ told.sum(dim=1)[..., None])[..., 0]  # zero where there is no utterance
        shared = likeness * self.sharpness - n_of_its_emotion.clamp(min=1).log()
        keys = torch.cat([shared, (self.nobody * self.sharpness).expand(len(likeness), 1)], dim=1)
        there = torch.cat([n_of_its_emotion > 0, told.new_ones(len(told), 1).bool()], dim=1)
        return keys.masked_fill(~there, -torch.inf).softmax(dim=1)[:, :-1]


@dataclass(frozen=True)
class Effects:
    """Emotion means around the mean speaker (C, W), the mean speaker (W,), variances within and between speakers (W,)."""

    emotion: np.ndarray
    mean_speaker: np.ndarray
    within: np.ndarray
    between: np.ndarray


def fit_effects(x: np.ndarray, speakers: np.ndarray, emotion: np.ndarray, n_classes: int) -> Effects:
    """Two-way additive effects by alternating means, each (speaker, emotion) cell counted once.

    Args:
        x: (N, W).
        speakers: who spoke, (N,).
        emotion: class, (N,) int.
        n_classes: C; a class nobody spoke has mean zero.
    """
    names, who = np.unique(speakers, return_inverse=True)
    cells = np.full((len(names), n_classes, x.shape[1]), np.nan)
    residual, n_cells = np.zeros(x.shape[1]), 0
    for s, c in {*zip(who.tolist(), emotion.tolist(), strict=True)}:
        cell = x[(who == s) & (emotion == c)]
        cells[s, c] = cell.mean(axis=0)
        residual += ((cell - cells[s, c]) ** 2).sum(axis=0)
        n_cells += 1
    within = residual / max(1, len(x) - n_cells)
    speaker, mean = np.zeros((len(names), x.shape[1])), np.zeros((n_classes, x.shape[1]))
    spoken = [c for c in range(n_classes) if not np.isnan(cells[:, c, 0]).all()]
    for _ in range(10):
        mean[spoken] = np.nanmean(cells[:, spoken] - speaker[:, None], axis=0)
        mean[spoken] -= mean[spoken].mean(axis=0)
        speaker = np.nanmean(cells - mean, axis=1)
    left = cells - mean - speaker[:, None]
    of_cells = np.nanmean(left**2, axis=(0, 1))  # what an utterance of one cell adds beyond the additive model
    between = speaker.var(axis=0) - of_cells / max(1, len(spoken))
    return Effects(
        mean, speaker.mean(axis=0), within + of_cells, np.maximum(between, 0.05 * speaker.var(axis=0) + 1e-6)
    )
