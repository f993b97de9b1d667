"""Forwards nothing happens; backwards the gradient changes its sign, so that what is before it learns to mislead what is after.

Source: Ganin & Lempitsky 2015, "Unsupervised Domain Adaptation by Backpropagation", arXiv 1409.7495, section 3.
"""

import math

import torch
from torch import Tensor


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(context, x: Tensor, strength: float) -> Tensor:
        context.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None]:
        return -context.strength * gradient, None


def reverse(x: Tensor, strength: float = 1.0) -> Tensor:
    """The same values; gradients come back times −strength.

    A loss behind it is *added* to the others: its sign is changed here already (arXiv 2501.00995 writes − 0.5·L_GC).
    """
    return _Reversal.apply(x, strength)


def ramp(progress: float) -> float:
    """Strength of the reversal that grows from 0 to 1 with the share of the training that is done (section 4 there).

    >>> ramp(0.0), round(ramp(0.5), 3), round(ramp(1.0), 3)
    (0.0, 0.987, 1.0)
    """
    return 2 / (1 + math.exp(-10 * progress)) - 1
