"""Distillation: the compact encoder learns frame by frame what the lower layers of Whisper hear.

Sources: feature distillation as in DistilHuBERT, arXiv 2110.01900, but layer by layer, since the student has the shape of
the layers it learns from; the teacher hears the same stretch at the same speed, as in arXiv 2106.05237, section 2, but for
the noise (as in WavLM, arXiv 2110.13900, section 3.1). No labels are used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ser_core.data.audio import SAMPLE_RATE
from ser_core.data.augmentation import SPEEDS, change_speed, random_crop, random_noise
from ser_core.data.batches import Batch, Utterances
from ser_core.encoders import load_encoder
from ser_core.encoders.compact import Compact, CompactSettings
from ser_core.methods.base import FeatureShape, Method, Output, Stage
from ser_core.recipe import BadRecipe, check_range

LONGEST = 30 * SAMPLE_RATE
"""Samples that a Whisper model can hear at once."""


@dataclass(frozen=True)
class DistillationSettings:
    """Whose layers are learned, and how.

    Attributes:
        teacher: a folder or hub id of a Whisper model as wide as the student; Whisper tiny.en if empty.
        noise: share of utterances that the student hears through noise, and the teacher without.
        crop_s: longest stretch heard in training, in seconds.
        forced: share of the training in which each layer is given the teacher's frames of the one below it, so that all
            layers learn from the start; after it each is given the student's own.
        bf16: compute in bfloat16 on a CPU as well.
        start: a folder of the compact encoder to go on from; random weights if empty.
        joined: up to so many utterances are heard as one, end to end and at most 30 s: 1, 2, 4, … of them, each as often.
    """

    teacher: str = ""
    start: str = ""
    joined: int = 1
    noise: float = 0.5
    crop_s: float = 3.0
    forced: float = 0.5
    bf16: bool = False

    def __post_init__(self) -> None:
        check_range(self, noise=(0, 1), crop_s=(0.1, 30), forced=(0, 1), joined=(1, None))


class Distillation(Method):
    """Student and frozen teacher."""

    Settings = DistillationSettings
    hears_waveforms = True
    needs_labels = False

    def __init__(self, settings: DistillationSettings, shape: FeatureShape, emotions: tuple[str, ...]):
        super().__init__(settings, shape, emotions)
        start = settings.start and load_encoder("compact", settings.start)
        self.student = start.train().requires_grad_() if start else Compact(CompactSettings())
        teacher = load_encoder("whisper", settings.teacher or None)
        if teacher.width != self.student.width or teacher.n_layers < self.student.n_layers:
            raise BadRecipe(
                f"the teacher has {teacher.n_layers - 1} layers of width {teacher.width}; the compact encoder learns from "
                f"{self.student.n_layers - 1} or more of width {self.student.width}: set another [settings] teacher"
            )
        del teacher.encoder.layers[self.student.n_layers - 1 :]  # nobody learns from what is above
        self.__dict__["teacher"] = teacher  # not a part: never trained, never saved
        self.register_buffer("scale_", torch.ones(self.student.n_layers, 1, self.student.width))

    def fit_statistics(self, utterances: Utterances, rows: np.ndarray) -> "Distillation":
        """Scale of the teacher's frames over 300 training utterances."""
        heard = {*self.student.heard_speakers, *utterances.corpus.table["speaker"]}
        self.student.heard_speakers = tuple(sorted(heard))
        some = np.random.default_rng(0).permutation(rows)[:300]
        frames = torch.cat([self._teacher_frames((utterances.waveform(int(row)),))[0][:, 0] for row in some], dim=1)
        self.scale_ = frames.std(dim=1, keepdim=True).clamp(min=1e-3)
        return self

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("distil", self.loss, monitor="loss"),)

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """Mean squared error of the student's frames, in standard deviations of the teacher's, one term a layer."""
        heard = batch.waveforms
        if self.training:
            heard = tuple(random_crop(waveform, self.settings.crop_s, self.rng) for waveform in heard)
            heard = tuple(change_speed(waveform, float(self.rng.choice(SPEEDS))) for waveform in heard)
            heard = self._joined(heard)
        clean = heard
        if self.training:
            heard = tuple(random_noise(w, self.rng) if self.rng.random() < self.settings.noise else w for w in heard)
        device = batch.waveforms[0].device
        bf16 = device.type == "cuda" or self.settings.bf16 and device.type == "cpu"
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            wanted, mask = self._teacher_frames(clean)
            forced = self.training and self.progress < self.settings.forced
            local, _ = self.student.local(heard)
            layers = self.student.contextual(local, mask, wanted.transpose(0, 1) if forced else None)
        errors = ((layers.transpose(0, 1).float() - wanted) / self.scale_[:, None])[:, mask].square().mean(dim=(1, 2))
        return {f"layer_{place}": error / len(errors) for place, error in enumerate(errors)}

    def _joined(self, waveforms: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """End to end, a random number at a time, so that later positions than those of one utterance are learned."""
        n = 2 ** int(self.rng.integers(self.settings.joined.bit_length()))
        return tuple(torch.cat(waveforms[at : at + n])[:LONGEST] for at in range(0, len(waveforms), n))

    def forward(self, batch: Batch) -> Output:
        raise NotImplementedError("distillation trains an encoder; it recognises nothing by itself")

    def export(self, folder: Path) -> None:
        """The student alone, as an encoder folder."""
        self.student.save(folder / "encoder", half=True)

    def _teacher_frames(self, waveforms: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """What the layers that are left of it hear, (L, B, T, D) float32, and which frames there are, (B, T) bool."""
        self.teacher.to(waveforms[0].device)
        with torch.no_grad():
            layers, mask = self.teacher(waveforms)
        return layers.transpose(0, 1).float(), mask
