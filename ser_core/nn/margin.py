"""Telling speakers apart with a margin between them."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, normalize, one_hot


class AamSoftmax(nn.Module):
    """Additive angular margin softmax: the angle to one's own speaker counts as larger by a margin.

    Source: Deng et al., arXiv 1801.07698, equation 3.

    Args:
        width: D.
        n_speakers: S.
        margin: added to the angle, in radians.
        scale: of the cosines.
    """

    def __init__(self, width: int, n_speakers: int, margin: float = 0.2, scale: float = 30.0):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_speakers, width))
        nn.init.xavier_uniform_(self.weight)
        self.margin, self.scale = margin, scale

    def forward(self, embedding: Tensor, speaker: Tensor) -> Tensor:
        """Mean loss of embeddings (B, D) and who spoke (B,)."""
        cosine = linear(normalize(embedding), normalize(self.weight)).clamp(-1 + 1e-6, 1 - 1e-6)
        own = one_hot(speaker, len(self.weight)).bool()
        logits = torch.where(own, (cosine.acos() + self.margin).cos(), cosine)
        return cross_entropy(self.scale * logits, speaker)
