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


def pair_loss(embedding: Tensor, group: Tensor, source: Tensor, margin: float = 1.0) -> Tensor:
    """Pairs of two corpora: one group shall be near, two groups apart; mean over the pairs of d² or max(0, margin − d)².

    Source: L_GSim of arXiv 2501.00995, section 3. The embeddings are brought to length one first (our reading), so that d
    is at most 2; without it the second part vanishes as soon as embeddings are long.

    Args:
        embedding: (B, D).
        group: of the speaker, (B,) long; rows of -1 make no pairs.
        source: number of the corpus, (B,) long.
        margin: distance from which two groups are far enough apart; 0 leaves that part out.

    Returns:
        A scalar; zero where there are no such pairs.
    """
    z = torch.nn.functional.normalize(embedding.float(), dim=-1)
    known = group >= 0
    pairs = (source[:, None] < source[None, :]) & known[:, None] & known[None, :]
    squared = (z[:, None] - z[None, :]).square().sum(dim=-1)[pairs]
    same = (group[:, None] == group[None, :])[pairs]
    apart = (margin - squared.clamp(min=1e-12).sqrt()).clamp(min=0).square()
    return torch.where(same, squared, apart).sum() / max(1, len(squared))


def parity_loss(probability: Tensor, group: Tensor) -> Tensor:
    """2 · mean over groups of |E[p | group] − E[p]|, mean over classes: 0 where all groups are answered alike.

    Of two groups alike in size it is |E[p | one] − E[p | other]|, the statistical parity difference.

    Source: the fairness constraint of Chou et al. 2024, "An Inter-Speaker Fairness-Aware Speech Emotion Regression
    Framework", Interspeech, there of a regression and speakers; here of each class' probability.

    Args:
        probability: (B, C).
        group: of each row, (B,) long; rows of -1 do not count.
    """
    known = group >= 0
    if not known.any():
        return probability.sum() * 0.0
    p, names = probability[known], group[known].unique()
    of_groups = torch.stack([p[group[known] == name].mean(dim=0) for name in names])
    return 2 * (of_groups - p.mean(dim=0)).abs().mean()


def independence_weights(labels: Tensor, groups: Tensor, n_labels: int, n_groups: int) -> Tensor:
    """Weight of each label and group that makes them independent of each other: P(label)·P(group) / P(label, group).

    Source: Kamiran & Calders 2012, "Data preprocessing techniques for classification without discrimination", Knowledge
    and Information Systems 33, section 5.3.

    Args:
        labels, groups: of N rows, (N,) long, from 0.
        n_labels, n_groups: how many there are.

    Returns:
        (n_labels, n_groups); 1 for pairs that do not occur.
    """
    n = torch.zeros(n_labels, n_groups).index_put((labels, groups), torch.ones(len(labels)), accumulate=True)
    expected = n.sum(dim=1, keepdim=True) * n.sum(dim=0, keepdim=True) / n.sum().clamp(min=1)
    return torch.where(n > 0, expected / n.clamp(min=1), 1.0)
