"""From an encoder's pooled layers to one standardised vector an utterance."""

import numpy as np
import torch
from torch import Tensor, nn

from ser_core.data.batches import Utterances
from ser_core.nn.dropout import Dropout

POOLINGS = ("concatenate", "weighted")


class Front(nn.Module):
    """Choose layers, join them, standardise by the training utterances.

    Args:
        n_values: 2 D pooled values a layer.
        layers: which of the encoder's layers are heard.
        pooling: 'concatenate', or 'weighted': one learned softmax weight a layer (arXiv 2105.01051).
    """

    def __init__(self, n_values: int, layers: tuple[int, ...], pooling: str):
        super().__init__()
        self.layers = list(layers)
        self.weights = nn.Parameter(torch.zeros(len(layers))) if pooling == "weighted" else None
        self.width = n_values if pooling == "weighted" else n_values * len(layers)
        self.register_buffer("mean_", torch.zeros(len(layers), n_values))
        self.register_buffer("scale_", torch.ones(len(layers), n_values))

    def fit(self, utterances: Utterances, rows: np.ndarray) -> "Front":
        """Learn mean and scale of each value from training rows."""
        heard = utterances.features[torch.from_numpy(rows)][:, self.layers]
        self.mean_ = heard.mean(dim=0)
        self.scale_ = heard.std(dim=0).clamp(min=1e-4)
        return self

    def standardised(self, features: Tensor) -> Tensor:
        """The layers heard, standardised: (..., L, 2 D) to (..., layers, 2 D)."""
        return (features[..., self.layers, :] - self.mean_) / self.scale_

    def joined(self, standardised: Tensor) -> Tensor:
        """Standardised layers (..., layers, 2 D) to one vector (..., width)."""
        if self.weights is None:
            return standardised.flatten(-2)
        return (standardised * self.weights.softmax(dim=0)[:, None]).sum(dim=-2)

    def forward(self, features: Tensor) -> Tensor:
        """Pooled layers (..., L, 2 D) to vectors (..., width)."""
        return self.joined(self.standardised(features))


class Trunk(nn.Module):
    """The trained stand-in for a fine-tuned encoder's last layers: dropout → Linear → LayerNorm → GELU.

    One trunk serves targets and enrolled utterances alike ("the same weights", arXiv 2406.06665).
    """

    def __init__(self, width: int, embedding: int, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(Dropout(dropout), nn.Linear(width, embedding), nn.LayerNorm(embedding), nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to (..., embedding)."""
        return self.layers(x)
