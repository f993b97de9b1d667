"""Distillation: the compact encoder learns frame by frame what Whisper's middle layers hear.

Sources: feature distillation as in DistilHuBERT, arXiv 2110.01900 (one head a teacher layer); clean targets for noisy
input as in WavLM, arXiv 2110.13900, section 3.1. No labels are used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ser_core.data.augmentation import SPEEDS, change_speed, random_crop, random_noise
from ser_core.data.batches import Batch, Utterances
from ser_core.encoders import load_encoder
from ser_core.encoders.compact import Compact, CompactSettings
from ser_core.methods.base import FeatureShape, Method, Output, Stage


@dataclass(frozen=True)
class DistillationSettings:
    """Whose layers are learned, and how hard the student's hearing is made.

    Attributes:
        teacher: a folder or hub id of a Whisper model; Whisper tiny.en if empty.
        teacher_layers: the layers to be predicted from the student's last layer.
        noise: share of utterances that only the student hears through noise.
        crop_s: longest stretch heard in training, in seconds.
    """

    teacher: str = ""
    teacher_layers: tuple[int, ...] = (1, 2, 3)
    noise: float = 0.5
    crop_s: float = 3.0


class Distillation(Method):
    """Student, frozen teacher, and one linear head a teacher layer."""

    Settings = DistillationSettings
    hears_waveforms = True
    needs_labels = False

    def __init__(self, settings: DistillationSettings, shape: FeatureShape, emotions: tuple[str, ...]):
        super().__init__(settings, shape, emotions)
        self.student = Compact(CompactSettings())
        self.__dict__["teacher"] = load_encoder(
            "whisper", settings.teacher or None
        )  # not a part: never trained, never saved
        layers, width = len(settings.teacher_layers), self.teacher.width
        self.heads = nn.ModuleList(nn.Linear(self.student.width, width) for _ in range(layers))
        self.register_buffer("mean_", torch.zeros(layers, 1, width))
        self.register_buffer("scale_", torch.ones(layers, 1, width))

    def fit_statistics(self, utterances: Utterances, rows: np.ndarray) -> "Distillation":
        """Mean and scale of the teacher's frames over 300 training utterances."""
        self.student.heard_speakers = tuple(sorted(utterances.corpus.table["speaker"].unique()))
        some = np.random.default_rng(0).permutation(rows)[:300]
        frames = torch.cat([self._teacher_frames((utterances.waveform(int(row)),))[0][0] for row in some], dim=1)
        self.mean_ = frames.mean(dim=1, keepdim=True)
        self.scale_ = frames.std(dim=1, keepdim=True).clamp(min=1e-3)
        return self

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("distil", self.loss, monitor="loss"),)

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """Mean squared error on standardised teacher frames, one term a layer."""
        heard = batch.waveforms
        if self.training:
            heard = tuple(random_crop(waveform, self.settings.crop_s, self.rng) for waveform in heard)
            heard = tuple(change_speed(waveform, float(self.rng.choice(SPEEDS))) for waveform in heard)
        target, mask = self._teacher_frames(heard)
        if self.training:
            heard = tuple(random_noise(w, self.rng) if self.rng.random() < self.settings.noise else w for w in heard)
        layers, _ = self.student(heard)
        terms = {}
        for place, (head, layer) in enumerate(zip(self.heads, self.settings.teacher_layers, strict=True)):
            wanted = (target[:, place] - self.mean_[place]) / self.scale_[place]
            terms[f"layer_{layer}"] = (head(layers[:, -1]) - wanted)[mask].square().mean() / len(self.heads)
        return terms

    def forward(self, batch: Batch) -> Output:
        raise NotImplementedError("distillation trains an encoder; it recognises nothing by itself")

    def export(self, folder: Path) -> None:
        """The student alone, as an encoder folder."""
        self.student.save(folder / "encoder", half=True)

    def _teacher_frames(self, waveforms: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        self.teacher.to(waveforms[0].device)
        with torch.no_grad():
            layers, mask = self.teacher(waveforms)
        return layers[:, list(self.settings.teacher_layers)], mask  # (B, layers, T, D), (B, T)
