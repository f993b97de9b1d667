"""wav2vec 2.0, HuBERT and WavLM: one class, they share an interface.

Sources: arXiv 2006.11477, 2106.07447, 2110.13900.
"""

import threading
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModel, PretrainedConfig

from ser_core.encoders.base import SpeechEncoder, frame_mask
from ser_core.encoders.weights import fingerprint, heard_speakers, read_config, read_published, write_folder
from ser_core.weights import EncoderUnavailable

MODEL_TYPES = ("wav2vec2", "hubert", "wavlm")


_LISTENING = threading.RLock()
"""The library tells its hidden layers to the whole model alone, so hooks listen to them: for one thread at a time."""


class Wav2Vec2(SpeechEncoder):
    """Layer 0 (input of the Transformer) to what the last block gives, before a final norm where there is one."""

    never_trained = ("encoder.feature_extractor",)  # as in arXiv 2406.06665 and its code
    lora_targets = ("q_proj", "v_proj")

    def __init__(self, config: PretrainedConfig, model=None, fingerprint: str = "wav2vec2-random"):
        super().__init__()
        self.encoder = model if model is not None else AutoModel.from_config(config)
        self.n_layers = config.num_hidden_layers + 1
        self.width = config.hidden_size
        self.fingerprint = fingerprint
        # With group normalisation over time, padding would change the frames: such models hear one utterance at a time.
        self.alone = config.feat_extract_norm == "group"

    @classmethod
    def from_folder(cls, folder: Path) -> "Wav2Vec2":
        """From a Hugging Face folder with safetensors.

        Raises:
            EncoderUnavailable: the folder holds no such model.
        """
        described = read_config(folder)
        model_type = described.get("model_type")
        if model_type not in MODEL_TYPES:
            raise EncoderUnavailable(f"'{folder.name}' is a {model_type} model, not one of {', '.join(MODEL_TYPES)}")
        model, absent = read_published(folder)
        if lost := [name for name in absent if "masked_spec_embed" not in name]:  # which only training uses
            raise EncoderUnavailable(f"'{folder.name}' lacks weights, {lost[0]} among them; fetch the model again")
        encoder = cls(model.config, model, f"{model_type}-{fingerprint(folder)}")
        encoder.heard_speakers = heard_speakers(described)
        return encoder.eval()

    def blocks(self) -> Sequence[nn.Module]:
        return self.encoder.encoder.layers

    def save(self, folder: Path, half: bool = False) -> None:
        tensors = self.encoder.state_dict()
        write_folder(folder, self.encoder.config.to_dict(), self.heard_speakers, tensors, half)

    def local(self, waveforms: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        heard = [self._normalised(waveform.to(self.device)) for waveform in waveforms]
        if self.alone:
            frames = pad_sequence([self._frames(waveform[None])[0] for waveform in heard], batch_first=True)
        else:
            frames = self._frames(pad_sequence(heard, batch_first=True))
        n_frames = [int(self.encoder._get_feat_extract_output_lengths(len(waveform))) for waveform in heard]
        return frames, frame_mask(n_frames, self.device)

    def contextual(self, local: Tensor, mask: Tensor) -> Tensor:
        if self.alone:
            alone = [
                self._layers(x[None, there], None)[0].transpose(0, 1) for x, there in zip(local, mask, strict=True)
            ]
            layers = pad_sequence(alone, batch_first=True).transpose(1, 2)
        else:
            layers = self._layers(local, mask)
        return layers * mask[:, None, :, None]

    def _frames(self, waveforms: Tensor) -> Tensor:
        """(B, N) to what the model's own forward hands to its Transformer, (B, T, D)."""
        return _frames_of(self.encoder.feature_projection(self.encoder.feature_extractor(waveforms).transpose(1, 2)))

    def _layers(self, local: Tensor, mask: Tensor | None) -> Tensor:
        layers: list[Tensor] = []
        blocks = self.blocks()
        with _LISTENING:
            hooks = [blocks[0].register_forward_pre_hook(lambda block, given: layers.append(given[0]))]
            hooks += [
                block.register_forward_hook(lambda block, given, said: layers.append(_frames_of(said)))
                for block in blocks
            ]
            try:
                self.encoder.encoder(local.clone(), attention_mask=mask)  # a copy: what is masked is zeroed in place
            finally:
                for hook in hooks:
                    hook.remove()
        return torch.stack(layers, dim=1)  # (B, L, T, D)

    @staticmethod
    def _normalised(waveform: Tensor) -> Tensor:
        return (waveform - waveform.mean()) / (waveform.var(correction=0) + 1e-7).sqrt()


def _frames_of(said: Tensor | tuple) -> Tensor:
    """Some parts of these models answer with frames, others with a tuple that begins with them."""
    return said[0] if isinstance(said, tuple) else said
