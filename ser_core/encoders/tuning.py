"""How much of an encoder learns: nothing, its last layers, adapters, or all of it; or convolutions on it, as it is.

LoRA (arXiv 2106.09685) is peft's. The encoder's own dropout, layer drop and masking stay off while it learns: a batch then
gives the same gradients however it is divided among processes.
"""

import copy

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraModel
from torch import Tensor, nn

from ser_core.encoders.base import SpeechEncoder
from ser_core.encoders.convolved import Convolved
from ser_core.recipe import BadRecipe, EncoderChoice


class LearningEncoder(nn.Module):
    """An encoder, some of whose weights learn.

    Args:
        encoder: frozen; a copy is made.
        choice: how much of it learns, and how fast.
        layers: which of the hidden layers that this one gives are heard; what lies above them is left alone.

    Raises:
        BadRecipe: adapters on an encoder that has no place for them, or nothing left to learn.
    """

    def __init__(self, encoder: SpeechEncoder, choice: EncoderChoice, layers: tuple[int, ...]):
        super().__init__()
        self.encoder = copy.deepcopy(encoder).requires_grad_(False).eval()
        self.rate = choice.learning_rate
        self._lora: list[LoraModel] = []  # in a list: no part of this module's weights
        heard = list(self.encoder.blocks())[: max(layers)]
        _PREPARE[choice.tune](self, heard, choice)
        if not self.learned():
            raise BadRecipe(f"tune = '{choice.tune}' on layer {max(layers)} of '{choice.name}' leaves nothing to learn")

    def forward(self, waveforms: tuple[Tensor, ...]) -> Tensor:
        """B waveforms (N_b,) to pooled layers (B, L, 2 D), with gradients."""
        return self.encoder.pooled(waveforms)

    def learned(self) -> dict[str, nn.Parameter]:
        """The weights that learn, by name."""
        return {name: weight for name, weight in self.encoder.named_parameters() if weight.requires_grad}

    def state(self) -> dict[str, Tensor]:
        """Copies of the weights that learn."""
        return {name: weight.detach().cpu().clone() for name, weight in self.learned().items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        with torch.no_grad():
            for name, weight in self.learned().items():
                weight.copy_(state[name])

    def merged(self, fingerprint: str, heard_speakers: tuple[str, ...]) -> SpeechEncoder:
        """A frozen encoder by itself, adapters added to its weights."""
        finished = copy.deepcopy(self)
        for lora in finished._lora:
            lora.merge_and_unload()
        encoder = finished.encoder.requires_grad_(False).eval()
        encoder.fingerprint = fingerprint
        encoder.heard_speakers = tuple(sorted({*encoder.heard_speakers, *heard_speakers}))
        return encoder


def _last(learning: LearningEncoder, heard: list[nn.Module], choice: EncoderChoice) -> None:
    for block in heard[-choice.last_layers :]:
        block.requires_grad_(True)


def _all(learning: LearningEncoder, heard: list[nn.Module], choice: EncoderChoice) -> None:
    """All but the layers above those heard, and what is never trained."""
    learning.encoder.requires_grad_(True)
    for block in list(learning.encoder.blocks())[len(heard) :]:
        block.requires_grad_(False)
    for name in learning.encoder.never_trained:
        learning.encoder.get_submodule(name).requires_grad_(False)


def _lora(learning: LearningEncoder, heard: list[nn.Module], choice: EncoderChoice) -> None:
    if not learning.encoder.lora_targets:
        raise BadRecipe(f"the encoder '{choice.name}' takes no LoRA adapters; choose tune = 'last' or 'all'")
    names = {module: name for name, module in learning.encoder.named_modules()}
    targets = [
        f"{names[block]}.{name}"
        for block in heard
        for name, module in block.named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in learning.encoder.lora_targets
    ]
    if not targets:
        raise BadRecipe("tune = 'lora' has no layer to adapt: hear a layer above 0 (encoder.layers), or tune otherwise")
    config = LoraConfig(r=choice.lora_rank, lora_alpha=2 * choice.lora_rank, lora_dropout=0.0, target_modules=targets)
    learning._lora.append(LoraModel(learning.encoder, config, "default"))


def _convolutions(learning: LearningEncoder, heard: list[nn.Module], choice: EncoderChoice) -> None:
    """The copy becomes the lower part of an encoder of which only what is new learns."""
    inner = learning.encoder
    learning.encoder = Convolved(inner, choice.layers or range(inner.n_layers), choice.name).eval()


_PREPARE = {"last": _last, "lora": _lora, "all": _all, "convolutions": _convolutions}
