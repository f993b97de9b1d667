"""Take from embeddings all that a linear probe could tell of a group, and change them no more than that needs.

Source: LEACE, least-squares concept erasure in closed form, Belrose et al. 2023, arXiv 2306.03819, theorem 4.3.
"""

import torch
from torch import Tensor

_LEAST = 1e-6
"""Of the largest variance: directions with less are taken for empty."""


def erasure(
    embedding: Tensor, group: Tensor, side: Tensor | None = None, cell: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """What is subtracted so that no group's mean differs from another's: `x − (x − mean) @ gone`.

    Args:
        embedding: (N, D).
        group: (N,) long; rows of -1 do not count.
        side: (N,) long; groups are made alike on each side by itself, whatever the sides differ in (ours). One if None.
        cell: (N,) long; a part of a side within which groups are compared, so that what groups show differently often (an
            emotion) is not taken for what they are (ours). The side itself if None.

    Returns:
        gone (D, D) and mean (D,), in the embedding's precision; nothing is gone where no two groups are known.
    """
    known = group >= 0
    x, y = embedding[known].double().clone(), group[known]
    sides = torch.zeros_like(y) if side is None else side[known]
    cells = sides if cell is None else cell[known]
    mean = x.mean(dim=0) if len(x) else embedding.new_zeros(embedding.shape[1]).double()
    _, within = torch.stack([sides, cells], dim=1).unique(dim=0, return_inverse=True)
    for one in within.unique():
        x[within == one] -= x[within == one].mean(dim=0)
    told = [  # covariance with each group on each side, (D,)
        x[(sides == one) & (y == name)].sum(dim=0) / len(x)
        for one in sides.unique()
        for name in y[sides == one].unique()[1:]
    ]
    if not told:
        return embedding.new_zeros(embedding.shape[1], embedding.shape[1]), mean.to(embedding.dtype)
    variance, axes = torch.linalg.eigh(x.T @ x / len(x))
    kept = variance > _LEAST * variance.max()
    axes, deviation = axes[:, kept], variance[kept].sqrt()
    directions, strength, _ = torch.linalg.svd(
        (axes.T @ torch.stack(told, dim=1)) / deviation[:, None], full_matrices=False
    )
    directions = directions[:, strength > 1e-9]
    gone = (axes / deviation) @ directions @ directions.T @ (axes * deviation).T
    return gone.to(embedding.dtype), mean.to(embedding.dtype)
