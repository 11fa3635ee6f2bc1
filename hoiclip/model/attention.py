"""Multi-head attention over batches of sequences."""

from __future__ import annotations

from torch import Tensor, nn


def attention(width: int, heads: int, dropout: float) -> nn.MultiheadAttention:
    """Multi-head attention over (B, length, D) tensors."""
    return nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)


def attend(
    module: nn.MultiheadAttention,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    padding_mask: Tensor | None = None,
) -> Tensor:
    """Attention output alone, by `F.scaled_dot_product_attention`.

    Args:
        module: of `attention`.
        queries: (B, N, D).
        keys: (B, M, D).
        values: (B, M, D).
        padding_mask: (B, M), true where a key is padding; None where none is.
    """
    return module(queries, keys, values, key_padding_mask=padding_mask, need_weights=False)[0]
