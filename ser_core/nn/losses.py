"""Losses that methods share."""

import torch
from torch import Tensor


def emotion_loss(
    logits: Tensor,
    emotion: Tensor,
    classes: Tensor,
    weight: Tensor,
    smoothing: float = 0.0,
    counts: Tensor | None = None,
) -> Tensor:
    """Cross-entropy over the classes that the target's corpus has; weighted by class; mean over the batch.

    Args:
        logits: (B, C).
        emotion: true classes, (B,).
        classes: which classes the target's corpus has, (B, C) bool: a corpus that lacks a class does not teach its absence.
        weight: of each class, (C,).
        smoothing: share of the truth spread evenly over the classes the corpus has.
        counts: how much each target counts beside its class, (B,); all alike if None.
    """
    log_p = logits.masked_fill(~classes, -torch.inf).log_softmax(dim=-1)
    of_truth = weight[emotion] if counts is None else weight[emotion] * counts
    truth = -log_p.gather(1, emotion[:, None])[:, 0]
    spread = -log_p.masked_fill(~classes, 0.0).sum(dim=-1) / classes.sum(dim=-1)
    return (of_truth * ((1 - smoothing) * truth + smoothing * spread)).sum() / of_truth.sum()


def ccc_loss(predicted: Tensor, rated: Tensor, counts: Tensor | None = None) -> Tensor:
    """1 − CCC over a batch, with moments over N: 0 where all agree, 2 where all are opposite.

    Source: Lin 1989, Biometrics 45(1); as the loss of arXiv 2309.02418 and 2506.10930.

    Args:
        predicted: (B,).
        rated: (B,); rows that are nan do not count. With fewer than two that do, the loss is zero.
        counts: how much each row counts in the moments, (B,); all alike if None.
    """
    known = rated.isfinite()
    if known.sum() < 2:
        return predicted.sum() * 0.0
    x, y = predicted[known].float(), rated[known].float()
    share = torch.ones_like(x) if counts is None else counts[known].float()
    share = share / share.sum()
    mean_x, mean_y = (share * x).sum(), (share * y).sum()
    covariance = (share * (x - mean_x) * (y - mean_y)).sum()
    spread = (share * ((x - mean_x).square() + (y - mean_y).square())).sum() + (mean_x - mean_y).square()
    return 1 - 2 * covariance / spread.clamp(min=1e-8)


def inverse_frequency(counts: Tensor) -> Tensor:
    """Class weights (C,) that give each class the same total, from counts (C,)."""
    return counts.sum() / (len(counts) * counts)
