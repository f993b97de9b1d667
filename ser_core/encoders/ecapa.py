"""ECAPA-TDNN: one vector a recording that says whose voice it is. SpeechBrain's own network, which is an optional extra.

Sources: arXiv 2005.07143; SpeechBrain, arXiv 2106.04624. Sizes and features are those of the published model
speechbrain/spkrec-ecapa-voxceleb (hyperparams.yaml): 80 mel bands, each less its mean over the recording.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ser_core.data.audio import SAMPLE_RATE
from ser_core.encoders.weights import fingerprint, heard_speakers, read_config, read_tensors, write_folder
from ser_core.weights import EncoderUnavailable


@dataclass(frozen=True)
class EcapaSettings:
    """Size of the encoder, by SpeechBrain's names; config.json need only tell what is not as in the published model."""

    n_mels: int = 80
    channels: tuple[int, ...] = (1024, 1024, 1024, 1024, 3072)
    kernel_sizes: tuple[int, ...] = (5, 3, 3, 3, 1)
    dilations: tuple[int, ...] = (1, 2, 3, 4, 1)
    attention_channels: int = 128
    lin_neurons: int = 192


class Ecapa(nn.Module):
    """The embedding of a voice, as a single layer; never trained here.

    Attributes:
        fingerprint: names the weights and sizes; a key of caches.
        n_layers: 1.
        heard_speakers: of the corpora here, whose speech the weights learned from.
    """

    n_layers = 1
    heard_speakers: tuple[str, ...] = ()

    def __init__(self, settings: EcapaSettings | None = None, fingerprint: str = "ecapa-random"):
        super().__init__()
        self.settings = settings = settings or EcapaSettings()
        fbank, ecapa_tdnn = _speechbrain()
        sizes = asdict(settings)
        self.bands = fbank(sample_rate=SAMPLE_RATE, n_mels=sizes.pop("n_mels"))
        self.network = ecapa_tdnn(settings.n_mels, **sizes)
        self.fingerprint = fingerprint
        self.requires_grad_(False).eval()

    @classmethod
    def from_folder(cls, folder: Path) -> "Ecapa":
        """From config.json and *.safetensors with SpeechBrain's names of parameters.

        Raises:
            EncoderUnavailable: the folder holds no such encoder, or SpeechBrain is not installed.
        """
        _refuse_checkpoints(folder)
        config, tensors = read_config(folder), read_tensors(folder, lambda key: key)
        try:
            encoder = cls(_settings(config), f"ecapa-{fingerprint(folder)}")
            encoder.network.load_state_dict(tensors)
            encoder.heard_speakers = heard_speakers(config)
        except (TypeError, AttributeError, AssertionError, LookupError, RuntimeError):
            raise EncoderUnavailable(
                f"'{folder.name}' does not hold SpeechBrain's ECAPA-TDNN of the sizes that its config.json tells; take the "
                f"weights of embedding_model.ckpt (ser_core/recipes/README.md, ECAPA)"
            ) from None
        return encoder

    @property
    def device(self) -> torch.device:
        """Where its weights lie."""
        return next(self.parameters()).device

    def train(self, mode: bool = True) -> "Ecapa":
        """Stays in evaluation mode: what is measured on a batch must not move the embedding."""
        return super().train(False)

    def save(self, folder: Path, half: bool = False) -> None:
        """Write what `from_folder` reads."""
        config = {"model_type": "ecapa", **asdict(self.settings)}
        write_folder(folder, config, self.heard_speakers, self.network.state_dict(), half)

    def pooled(self, waveforms: Sequence[Tensor]) -> Tensor:
        """B waveforms (N_b,) float32, 16 kHz, 0.1 s or longer, to their embeddings, (B, 1, 192) float32.

        One at a time: the convolutions mirror the end of a recording, and would mirror padding instead. In full
        precision on every device, as published.
        """
        with torch.autocast(self.device.type, enabled=False):
            return torch.cat([self.network(self._features(waveform.to(self.device))) for waveform in waveforms])

    def _features(self, waveform: Tensor) -> Tensor:
        """(N,) to mel bands in dB less their mean, (1, T, n_mels), at 100 frames a second."""
        bands = self.bands(waveform[None].float())
        return bands - bands.mean(dim=1, keepdim=True)


def _settings(config: Mapping[str, Any]) -> EcapaSettings:
    told = {field.name: config[field.name] for field in fields(EcapaSettings) if field.name in config}
    return EcapaSettings(**{name: tuple(size) if isinstance(size, list) else size for name, size in told.items()})


def _refuse_checkpoints(folder: Path) -> None:
    checkpoints = sorted(path.name for path in folder.glob("*.ckpt"))
    if checkpoints and not any(folder.glob("*.safetensors")):
        raise EncoderUnavailable(
            f"'{folder.name}' has {', '.join(checkpoints)} but no *.safetensors, and .ckpt files are not read here; convert "
            f"embedding_model.ckpt once with the command in ser_core/recipes/README.md, ECAPA"
        )


def _speechbrain() -> tuple[type[nn.Module], type[nn.Module]]:
    """Its filter bank and its ECAPA-TDNN.

    Raises:
        EncoderUnavailable: it is not installed.
    """
    # Left alone it would lower the precision of matrix products and change the compiler, for everyone in the process.
    os.environ.setdefault("SB_DISABLE_QUIRKS", "allow_tf32,disable_jit_profiling")
    try:
        from speechbrain.lobes.features import Fbank
        from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
        from speechbrain.utils.importutils import LazyModule
    except ImportError:
        raise EncoderUnavailable(
            'ECAPA needs SpeechBrain, which is not installed: pip install "attune-ser[ecapa]"'
        ) from None
    # Its former names import what may not be here as soon as anyone, such as a test tool, looks through all modules.
    for name in [name for name, module in sys.modules.items() if isinstance(module, LazyModule)]:
        del sys.modules[name]
    return Fbank, ECAPA_TDNN
