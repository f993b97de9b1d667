"""Log-mel spectrograms as Whisper computes them; shared by `whisper` and `compact`.

Source: Radford et al., arXiv 2212.04356, section 2.2: 80 mel bands, 25 ms windows, 10 ms hop.
"""

import torch
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram

from ser_core.data.audio import SAMPLE_RATE

HOP = 160
"""Samples between frames: 100 frames a second."""


class LogMel(nn.Module):
    """Waveform (N,) to log-mel bands (n_mels, N // 160), scaled by the utterance's loudest band like Whisper's."""

    def __init__(self, n_mels: int = 80):
        super().__init__()
        with torch.device("cpu"):  # it looks at its own numbers, which a network made only to be measured has none of
            self.spectrogram = MelSpectrogram(
                SAMPLE_RATE, n_fft=400, hop_length=HOP, n_mels=n_mels, norm="slaney", mel_scale="slaney"
            )
        for name, buffer in list(self.spectrogram.named_buffers()):  # made anew, so not part of any weights file
            module, _, leaf = name.rpartition(".")
            self.spectrogram.get_submodule(module).register_buffer(leaf, buffer, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """(N,) to (n_mels, N // 160)."""
        log = self.spectrogram(waveform)[..., :-1].clamp(min=1e-10).log10()
        return (log.maximum(log.max() - 8.0) + 4.0) / 4.0
