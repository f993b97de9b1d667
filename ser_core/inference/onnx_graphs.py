"""What of a model is turned into ONNX graphs: an encoder that hears one utterance, and a method's answers.

Graphs follow what is computed, so there is no branch on what is heard, and no complex number.
"""

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad

from ser_core.data.audio import SAMPLE_RATE
from ser_core.data.batches import Batch
from ser_core.encoders.base import SpeechEncoder, statistics
from ser_core.encoders.compact import Compact
from ser_core.encoders.mel import LogMel
from ser_core.encoders.wav2vec2 import Wav2Vec2
from ser_core.encoders.whisper import Whisper
from ser_core.methods.base import Method

if TYPE_CHECKING:
    from onnx_ir import Model

_IN_ONE_FILE = 2**31 - 2**24
"""Bytes of weights that still fit in a protobuf with the graph; more of them lie beside it."""

_CHATTY = ("torch.onnx._internal.exporter._registration", "onnxscript")
_DEPRECATED_IN_TORCH = r"`isinstance\(treespec, LeafSpec\)` is deprecated"
"""What torch 2.11's own export warns of when it copies what it made."""


class ConvolvedMel(nn.Module):
    """`LogMel` as one convolution with the windowed Fourier kernel: in ONNX there are no complex numbers.

    Waveform (N,) to log-mel bands (1, n_mels, N // 160).
    """

    def __init__(self, mel: LogMel):
        super().__init__()
        spectrum = mel.spectrogram
        self.n_fft, self.hop = spectrum.n_fft, spectrum.hop_length
        turns = torch.outer(torch.arange(self.n_fft // 2 + 1.0).double(), torch.arange(self.n_fft).double())
        angles = turns * (2 * math.pi / self.n_fft)
        kernel = torch.cat([angles.cos(), angles.sin()]) * spectrum.spectrogram.window
        self.register_buffer("kernel", kernel[:, None].float())
        self.register_buffer("bands", spectrum.mel_scale.fb.T.contiguous())

    def forward(self, waveform: Tensor) -> Tensor:
        padded = pad(waveform[None, None], (self.n_fft // 2, self.n_fft // 2), mode="reflect")
        real, imaginary = torch.conv1d(padded, self.kernel, stride=self.hop)[..., :-1].chunk(2, dim=1)
        log = (self.bands @ (real.square() + imaginary.square())).clamp(min=1e-10).log10()
        return (log.maximum(log.max() - 8.0) + 4.0) / 4.0


class Alone(nn.Module):
    """An encoder that hears one utterance, (N,) to pooled layers (1, L, 2 D): nothing is padded, so nothing is masked."""

    def __init__(self, encoder: SpeechEncoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, waveform: Tensor) -> Tensor:
        layers = self.layers(waveform)
        return statistics(layers, layers.new_ones(1, layers.shape[2]))

    def layers(self, waveform: Tensor) -> Tensor:
        """(N,) to all hidden layers (1, L, T, D)."""
        raise NotImplementedError


class CompactAlone(Alone):
    """`Compact.forward` of one utterance."""

    def __init__(self, encoder: Compact):
        super().__init__(encoder)
        self.mel = ConvolvedMel(encoder.mel)

    def layers(self, waveform: Tensor) -> Tensor:
        x = gelu(self.encoder.conv2(gelu(self.encoder.conv1(self.mel(waveform)))))
        x = x.transpose(1, 2)
        x = x + self.encoder.positions[: x.shape[1]]
        return torch.stack(_climb(x, self.encoder.blocks()), dim=1)


class WhisperAlone(Alone):
    """`Whisper.forward` of one utterance."""

    def __init__(self, encoder: Whisper):
        super().__init__(encoder)
        self.mel = ConvolvedMel(encoder.mel)

    def layers(self, waveform: Tensor) -> Tensor:
        whisper = self.encoder.encoder
        x = gelu(whisper.conv2(gelu(whisper.conv1(self.mel(waveform))))).transpose(1, 2)
        x = x + whisper.embed_positions.weight[: x.shape[1]]
        return torch.stack(_climb(x, self.encoder.blocks(), None), dim=1)


class Wav2Vec2Alone(Alone):
    """`Wav2Vec2.forward` of one utterance."""

    def layers(self, waveform: Tensor) -> Tensor:
        return self.encoder._layers(self.encoder._frames(self.encoder._normalised(waveform)[None]), None)


ALONE: dict[type[SpeechEncoder], type[Alone]] = {
    Compact: CompactAlone,
    Whisper: WhisperAlone,
    Wav2Vec2: Wav2Vec2Alone,
}
"""Every class of ENCODERS; that they hear what their `forward` hears is checked at each export."""


class Answers(nn.Module):
    """A method from pooled layers to probabilities (B, C); without an enrolment for methods that use none."""

    def __init__(self, method: Method):
        super().__init__()
        self.method = method

    def forward(
        self,
        features: Tensor,
        enrolment: Tensor | None = None,
        present: Tensor | None = None,
        enrolment_emotion: Tensor | None = None,
    ) -> Tensor:
        """(B, C) from features (B, L, 2 D), and where it uses one an enrolment (B, K, L, 2 D), as in `Batch`."""
        if enrolment is not None:  # one more, which is absent: onnxruntime divides by zero where there is no key at all
            enrolment, present = pad(enrolment, (0, 0, 0, 0, 0, 1)), pad(present, (0, 1))
            enrolment_emotion = pad(enrolment_emotion, (0, 1), value=-1)
        return probabilities(self.method, features, enrolment, present, enrolment_emotion)


def probabilities(
    method: Method,
    features: Tensor,
    enrolment: Tensor | None = None,
    present: Tensor | None = None,
    enrolment_emotion: Tensor | None = None,
) -> Tensor:
    """A method's answers (B, C); arguments as in `Batch`, without an enrolment for methods that use none."""
    nothing = features.new_zeros(features.shape[0], 1)
    batch = Batch(
        features=features,
        waveforms=(),
        emotion=nothing[:, 0].long(),
        classes=nothing.bool(),
        enrolment=enrolment,
        present=nothing.bool() if present is None else present,
        enrolment_emotion=nothing.long() if enrolment_emotion is None else enrolment_emotion,
    )
    return method.probabilities(method(batch))


def _climb(x: Tensor, blocks: Sequence[nn.Module], *given: None) -> list[Tensor]:
    layers = [x]
    for block in blocks:
        layers.append(block(layers[-1], *given))
    return layers


_SAME = torch.export.Dim.DYNAMIC
AXES = {
    "waveform": {0: "n_samples"},
    "features": {0: "batch"},
    "enrolment": {0: _SAME, 1: "n_enrolled"},
    "present": {0: _SAME, 1: _SAME},
    "enrolment_emotion": {0: _SAME, 1: _SAME},
}
"""The axes of inputs that may have any length; each is named once, and torch finds out which others are equal to it."""


def example_utterance() -> dict[str, Tensor]:
    """The input to follow through an encoder."""
    return {"waveform": torch.linspace(-0.1, 0.1, SAMPLE_RATE + SAMPLE_RATE // 3)}


def example_batch(method: Method) -> dict[str, Tensor]:
    """The inputs to follow through a method: sizes are neither 0 nor 1, which would be taken for fixed."""
    shape = method.shape.n_layers, method.shape.n_values
    features = {"features": torch.zeros(2, *shape)}
    if not method.uses_enrolment:
        return features
    present = torch.tensor([[True, True, False]] * 2)
    emotion = torch.zeros(2, 3, dtype=torch.long)
    return {**features, "enrolment": torch.zeros(2, 3, *shape), "present": present, "enrolment_emotion": emotion}


def save_graph(module: nn.Module, example: dict[str, Tensor], output: str, path: Path) -> None:
    """Follow an example through a module and write what was computed.

    Args:
        module: takes the example's values in their order.
        example: inputs by name; of the axes in `AXES` any length may be given later.
        output: name of what comes out.
        path: of the .onnx file.
    """
    with torch.no_grad(), _plain_attention(), _quiet():
        program = torch.onnx.export(
            module.eval(), tuple(example.values()), dynamo=True, verbose=False,
            input_names=list(example), output_names=[output], dynamic_shapes={name: AXES[name] for name in example},
        )  # fmt: skip
    _forget_where_it_was_made(program.model)
    n_bytes = sum(weight.numel() * weight.element_size() for weight in module.state_dict().values())
    program.save(path, external_data=n_bytes > _IN_ONE_FILE)


def _forget_where_it_was_made(model: "Model") -> None:
    """Without the exporter's notes on each node, which name folders of this machine."""
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        graph.metadata_props.clear()
        for node in graph.all_nodes():
            node.metadata_props.clear()


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Without torch's fused layers for inference, which ONNX has no word for."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks about packages and shortcuts that do not matter here."""
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _DEPRECATED_IN_TORCH, FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
