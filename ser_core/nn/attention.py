"""Attention to a number of utterances that may be zero."""

from torch import Tensor, nn


def attend(attention: nn.MultiheadAttention, target: Tensor, heard: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """What a target takes from the utterances it hears; exactly zero where there is none.

    Args:
        attention: batch first.
        target: the query, (B, D).
        heard: keys and values, (B, K, D).
        present: which of the K there are, (B, K) bool.

    Returns:
        what is taken (B, D), and the weights (B, K), mean over heads, rows sum to one or to zero.
    """
    anybody = present.any(dim=1, keepdim=True)
    # MultiheadAttention answers nan where every key is masked: unmask those rows, then discard their answer.
    taken, weights = attention(target[:, None], heard, heard, key_padding_mask=~present & anybody)
    return taken[:, 0] * anybody, weights[:, 0] * present * anybody
