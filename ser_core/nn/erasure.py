"""Take from embeddings all that a linear probe could tell of a group, and change them no more than that needs.

Source: LEACE, least-squares concept erasure in closed form, Belrose et al. 2023, arXiv 2306.03819, theorem 4.3.
"""

import torch
from torch import Tensor

_LEAST = 1e-6
"""Of the largest variance: directions with less are taken for empty."""


def erasure(embedding: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """What is subtracted so that no group's mean differs from another's: `x − (x − mean) @ gone`.

    Args:
        embedding: (N, D).
        group: (N,) long; rows of -1 do not count.

    Returns:
        gone (D, D) and mean (D,), in the embedding's precision; nothing is gone with fewer than two groups.
    """
    x, y = embedding[group >= 0].double(), group[group >= 0]
    if len(y.unique()) < 2:
        return embedding.new_zeros(embedding.shape[1], embedding.shape[1]), embedding.new_zeros(embedding.shape[1])
    mean, names = x.mean(dim=0), y.unique()
    x = x - mean
    variance, axes = torch.linalg.eigh(x.T @ x / len(x))
    kept = variance > _LEAST * variance.max()
    axes, deviation = axes[:, kept], variance[kept].sqrt()
    told = torch.stack(
        [x[y == name].sum(dim=0) / len(x) for name in names], dim=1
    )  # covariance with each group, (D, G)
    directions, strength, _ = torch.linalg.svd((axes.T @ told) / deviation[:, None], full_matrices=False)
    directions = directions[:, : len(names) - 1][:, strength[: len(names) - 1] > 1e-9]
    away, back = axes / deviation, axes * deviation
    gone = away @ directions @ directions.T @ back.T
    return gone.to(embedding.dtype), mean.to(embedding.dtype)
