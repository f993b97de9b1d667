"""Whisper's encoder, without the padding to 30 s.

Source: Radford et al., arXiv 2212.04356. The published encoder is fed 30 s whatever was said; cutting its positions to
the utterance gives embeddings as good for emotion and is more than ten times faster on short utterances.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from torch.nn.utils.rnn import pad_sequence
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ser_core.encoders.base import SpeechEncoder, frame_mask
from ser_core.encoders.mel import LogMel
from ser_core.encoders.weights import (
    check_sizes,
    fingerprint,
    heard_speakers,
    read_config,
    read_tensors,
    write_folder,
)
from ser_core.weights import EncoderUnavailable


class Whisper(SpeechEncoder):
    """Any size of Whisper: layer 0 (after the convolutions) to the last Transformer layer, before the final norm."""

    never_trained = ("encoder.embed_positions",)  # sinusoids
    lora_targets = ("q_proj", "v_proj")

    def __init__(self, config: WhisperConfig, fingerprint: str = "whisper-random"):
        super().__init__()
        self.encoder = WhisperEncoder(config)
        self.mel = LogMel(config.num_mel_bins)
        self.n_layers = config.encoder_layers + 1
        self.width = config.d_model
        self.fingerprint = fingerprint

    @classmethod
    def from_folder(cls, folder: Path) -> "Whisper":
        """From a Hugging Face folder (config.json, *.safetensors); decoders and heads in it are left alone.

        Raises:
            EncoderUnavailable: the folder holds no such model.
        """
        described = read_config(folder)
        if described.get("model_type") != "whisper":
            raise EncoderUnavailable(f"'{folder.name}' is a {described.get('model_type')} model, not Whisper")
        tensors = read_tensors(
            folder, lambda key: key.partition("encoder.")[2] or None if "decoder." not in key else None
        )
        try:
            config = WhisperConfig.from_dict(described)
            check_sizes(lambda: WhisperEncoder(config), config.encoder_layers, tensors)
            encoder = cls(config, f"whisper-{fingerprint(folder)}")
            encoder.heard_speakers = heard_speakers(described)
            missing, _ = encoder.encoder.load_state_dict(tensors, strict=False)
        except Exception:  # the library checks a configuration in many ways, each with a kind of its own
            raise EncoderUnavailable(
                f"config.json of '{folder.name}' does not describe the weights beside it; fetch the model again"
            ) from None
        if missing:
            raise EncoderUnavailable(f"'{folder.name}' lacks weights of the encoder, {missing[0]} among them")
        return encoder.eval()

    def blocks(self) -> Sequence[nn.Module]:
        return self.encoder.layers

    def save(self, folder: Path, half: bool = False) -> None:
        tensors = {f"encoder.{name}": tensor for name, tensor in self.encoder.state_dict().items()}
        write_folder(folder, self.encoder.config.to_dict(), self.heard_speakers, tensors, half)

    def local(self, waveforms: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        mels = [self.mel(waveform.to(self.device)).T for waveform in waveforms]
        fine_mask = frame_mask([len(mel) for mel in mels], self.device)  # 100 frames a second
        mask = frame_mask([(len(mel) + 1) // 2 for mel in mels], self.device)  # 50 frames a second
        x = pad_sequence(mels, batch_first=True).transpose(1, 2)
        x = gelu(self.encoder.conv1(x)) * fine_mask[:, None]  # beyond its end an utterance hears zeros, as if alone
        return gelu(self.encoder.conv2(x)).transpose(1, 2), mask  # (B, T, D)

    def contextual(self, local: Tensor, mask: Tensor) -> Tensor:
        positions = self.encoder.embed_positions.weight
        place = torch.arange(local.shape[1], device=local.device).clamp(
            max=len(positions) - 1
        )  # 30 s, and a frame before
        layers = [local + positions[place]]
        attended = None if bool(mask.all()) else mask[:, None, None, :]
        for layer in self.encoder.layers:
            layers.append(layer(layers[-1], attended))
        return torch.stack(layers, dim=1) * mask[:, None, :, None]
