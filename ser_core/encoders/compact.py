"""The small encoder that ships with the app: 5.9 million weights, no download.

It has the shape of the lower layers of Whisper tiny (arXiv 2212.04356, section 2.2): two convolutions over 80 log-mel
bands, sinusoidal positions, three Transformer layers of width 384, at 50 frames a second. It starts from random weights
and learns to hear what those layers hear (methods/distillation.py).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from torch.nn.utils.rnn import pad_sequence
from transformers.models.whisper.modeling_whisper import sinusoids

from ser_core.encoders.base import SpeechEncoder, frame_mask
from ser_core.encoders.mel import LogMel
from ser_core.encoders.weights import (
    TooLarge,
    check_sizes,
    fingerprint,
    heard_speakers,
    read_config,
    read_tensors,
    write_folder,
)
from ser_core.recipe import BadRecipe, check_range, settings_from
from ser_core.weights import EncoderUnavailable

_N_POSITIONS = 1501
"""Of 30 s, and of a frame that may be put before them (methods/papt.py)."""


@dataclass(frozen=True)
class CompactSettings:
    """Size of the encoder."""

    n_mels: int = 80
    width: int = 384
    n_transformer_layers: int = 3
    n_heads: int = 6
    feedforward: int = 1536
    dropout: float = 0.0

    def __post_init__(self) -> None:
        sizes = ("width", "n_transformer_layers", "n_heads", "feedforward")
        check_range(self, n_mels=(1, 1_000), **dict.fromkeys(sizes, (1, None)), dropout=(0, 0.95))
        if self.width % self.n_heads:
            raise BadRecipe(f"'width' is {self.width}, but a multiple of {self.n_heads} heads was expected")


class Compact(SpeechEncoder):
    """Layer 0 (after the convolutions and positions) to the last Transformer layer."""

    def __init__(self, settings: CompactSettings | None = None, fingerprint: str = "compact-random"):
        super().__init__()
        self.settings = settings = settings or CompactSettings()
        self.mel = LogMel(settings.n_mels)
        self.conv1 = nn.Conv1d(settings.n_mels, settings.width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(settings.width, settings.width, kernel_size=3, stride=2, padding=1)
        self.register_buffer("positions", sinusoids(_N_POSITIONS, settings.width), persistent=False)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                settings.width, settings.n_heads, settings.feedforward, settings.dropout,
                activation="gelu", batch_first=True, norm_first=True,
            )
            for _ in range(settings.n_transformer_layers)
        )  # fmt: skip
        self.n_layers = settings.n_transformer_layers + 1
        self.width = settings.width
        self.fingerprint = fingerprint

    @classmethod
    def from_folder(cls, folder: Path) -> "Compact":
        """From a folder made by `save`.

        Raises:
            EncoderUnavailable: the folder holds no such encoder.
        """
        config, tensors = read_config(folder), read_tensors(folder, lambda key: key)
        try:
            settings = settings_from(CompactSettings, config["settings"], "config.json")
            check_sizes(lambda: cls(settings), settings.n_transformer_layers, tensors)
            encoder = cls(settings, f"compact-{fingerprint(folder)}")
            encoder.heard_speakers = heard_speakers(config)
            encoder.load_state_dict(tensors)
        except (BadRecipe, TooLarge, KeyError, RuntimeError):
            raise EncoderUnavailable(
                f"'{folder.name}' does not hold a compact encoder of this version; if it came with the app, install that "
                f"again, and if you trained it, train it again (recipe distil_compact)"
            ) from None
        return encoder.eval()

    def blocks(self) -> Sequence[nn.Module]:
        return self.layers

    def save(self, folder: Path, half: bool = False) -> None:
        config = {"model_type": "compact", "settings": asdict(self.settings)}
        write_folder(folder, config, self.heard_speakers, self.state_dict(), half)

    def local(self, waveforms: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        mels = [self.mel(waveform.to(self.device)).T for waveform in waveforms]
        fine_mask = frame_mask([len(mel) for mel in mels], self.device)  # 100 frames a second
        mask = frame_mask([(len(mel) + 1) // 2 for mel in mels], self.device)  # 50 frames a second
        x = pad_sequence(mels, batch_first=True).transpose(1, 2)
        x = gelu(self.conv1(x)) * fine_mask[:, None]
        x = gelu(self.conv2(x)) * mask[:, None]
        return x.transpose(1, 2), mask  # (B, T, D)

    def contextual(self, local: Tensor, mask: Tensor, below: Tensor | None = None) -> Tensor:
        """As every encoder's; with `below` (B, L, T, D) each layer is given those frames of the one below it."""
        place = torch.arange(local.shape[1], device=local.device).clamp(max=_N_POSITIONS - 1)
        layers = [local + self.positions[place]]
        padded = None if bool(mask.all()) else ~mask
        for n_below, layer in enumerate(self.layers):
            given = layers[-1] if below is None else below[:, n_below]
            layers.append(layer(given, src_key_padding_mask=padded))
        return torch.stack(layers, dim=1) * mask[:, None, :, None]
