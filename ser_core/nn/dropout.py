"""Dropout that does not depend on how a batch is divided among processes, or into parts worked through in turn."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout


@dataclass(frozen=True)
class Share:
    """Which rows of a whole batch are at hand: start to stop of n_rows."""

    start: int
    stop: int
    n_rows: int


_share: Share | None = None


@contextmanager
def share_of_batch(share: Share) -> Iterator[None]:
    """Within it, `Dropout` draws for the whole batch and uses its share; all shares must start from one random state."""
    global _share
    before, _share = _share, share
    try:
        yield
    finally:
        _share = before


class Dropout(nn.Module):
    """As `torch.nn.Dropout`; rows are the first axis."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) to the same shape."""
        if not self.training or _share is None or len(x) == _share.n_rows:
            return dropout(x, self.p, self.training)
        kept = dropout(torch.ones(_share.n_rows, *x.shape[1:], dtype=x.dtype, device=x.device), self.p)
        return x * kept[_share.start : _share.stop]
