"""Losses that methods share."""

import torch
from torch import Tensor


def emotion_loss(logits: Tensor, emotion: Tensor, classes: Tensor, weight: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy over the classes that the target's corpus has; weighted by class; mean over the batch.

    Args:
        logits: (B, C).
        emotion: true classes, (B,).
        classes: which classes the target's corpus has, (B, C) bool: a corpus that lacks a class does not teach its absence.
        weight: of each class, (C,).
        smoothing: share of the truth spread evenly over the classes the corpus has.
    """
    log_p = logits.masked_fill(~classes, -torch.inf).log_softmax(dim=-1)
    of_truth = weight[emotion]
    truth = -log_p.gather(1, emotion[:, None])[:, 0]
    spread = -log_p.masked_fill(~classes, 0.0).sum(dim=-1) / classes.sum(dim=-1)
    return (of_truth * ((1 - smoothing) * truth + smoothing * spread)).sum() / of_truth.sum()


def ccc_loss(predicted: Tensor, rated: Tensor) -> Tensor:
    """1 − CCC over a batch, with moments over N: 0 where all agree, 2 where all are opposite.

    Source: Lin 1989, Biometrics 45(1); as the loss of arXiv 2309.02418 and 2506.10930.

    Args:
        predicted: (B,).
        rated: (B,); rows that are nan do not count. With fewer than two that do, the loss is zero.
    """
    known = rated.isfinite()
    if known.sum() < 2:
        return predicted.sum() * 0.0
    x, y = predicted[known].float(), rated[known].float()
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    spread = x.var(correction=0) + y.var(correction=0) + (x.mean() - y.mean()).square()
    return 1 - 2 * covariance / spread.clamp(min=1e-8)


def inverse_frequency(counts: Tensor) -> Tensor:
    """Class weights (C,) that give each class the same total, from counts (C,)."""
    return counts.sum() / (len(counts) * counts)
