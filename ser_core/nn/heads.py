"""Classifier heads."""

from torch import Tensor, nn

from ser_core.nn.dropout import Dropout


class MlpHead(nn.Module):
    """Linear → ReLU → dropout → Linear.

    Source: arXiv 2406.06665 and its code, which has 512 hidden units and dropout 0.5.
    """

    def __init__(self, width: int, hidden: int, n_classes: int, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), Dropout(dropout), nn.Linear(hidden, n_classes))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width) to logits (B, C)."""
        return self.layers(x)
