"""DETR's post-norm encoder and decoder (Carion et al., ECCV 2020).

Shapes: B images, N memory cells, Q queries, L layers, D width. Parameter names inside a layer are
DETR's, so that its checkpoints map by prefix.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hoiclip.model.attention import attend, attention
from hoiclip.model.layers import FeedForwardBlock, xavier_uniform_matrices


@dataclass(frozen=True)
class Memory:
    """The encoder's output V_d.

    Attributes:
        tokens: (B, N, D).
        position: (B, N, D) sine encoding of the cells.
        padding_mask: (B, N) bool, true where padded; None where nothing is.
    """

    tokens: Tensor
    position: Tensor
    padding_mask: Tensor | None


class EncoderLayer(FeedForwardBlock):
    """Self-attention and feed-forward block, each with residual and post-norm."""

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__(width, feed_forward, dropout)
        self.self_attn = attention(width, heads, dropout)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, position: Tensor, padding_mask: Tensor | None) -> Tensor:
        """(B, N, D) → (B, N, D); positions join queries and keys, never values."""
        located = x + position
        x = self.norm1(x + self.dropout(attend(self.self_attn, located, located, x, padding_mask)))
        return self.norm2(x + self.feed_forward(x))


class Encoder(nn.Module):
    """A stack of encoder layers without a final norm.

    Args:
        layers: how many.
        width: D.
        heads: of the attentions.
        feed_forward: hidden width of the feed-forward blocks.
        dropout: probability.
        checkpoint_layers: whether training keeps of each layer its input alone, and computes the
            rest again in the backward pass.
    """

    def __init__(
        self,
        layers: int,
        width: int,
        heads: int,
        feed_forward: int,
        dropout: float,
        *,
        checkpoint_layers: bool = False,
    ) -> None:
        super().__init__()
        self.checkpoint_layers = checkpoint_layers
        self.layers = nn.ModuleList(
            EncoderLayer(width, heads, feed_forward, dropout) for _ in range(layers)
        )
        xavier_uniform_matrices(self)

    def forward(self, tokens: Tensor, position: Tensor, padding_mask: Tensor | None) -> Memory:
        """Encodes feature cells (B, N, D)."""
        again = self.checkpoint_layers and self.training
        for layer in self.layers:
            if again:
                tokens = checkpoint(layer, tokens, position, padding_mask, use_reentrant=False)
            else:
                tokens = layer(tokens, position, padding_mask)
        return Memory(tokens, position, padding_mask)


class DecoderLayer(FeedForwardBlock):
    """Self-attention, cross-attention and feed-forward block, each with residual and post-norm."""

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__(width, feed_forward, dropout)
        self.self_attn = attention(width, heads, dropout)
        self.multihead_attn = attention(width, heads, dropout)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, x: Tensor, memory: Memory, query_embedding: Tensor) -> Tensor:
        """(B, Q, D) → (B, Q, D); `query_embedding` (B, Q, D) joins queries and keys."""
        located = x + query_embedding
        x = self.norm1(x + self.dropout(attend(self.self_attn, located, located, x)))
        attended = attend(
            self.multihead_attn,
            x + query_embedding,
            memory.tokens + memory.position,
            memory.tokens,
            memory.padding_mask,
        )
        x = self.norm2(x + self.dropout(attended))
        return self.norm3(x + self.feed_forward(x))


class Decoder(nn.Module):
    """A stack of decoder layers; one norm serves the output of every layer."""

    def __init__(
        self, layers: int, width: int, heads: int, feed_forward: int, dropout: float
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(width, heads, feed_forward, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        xavier_uniform_matrices(self)

    def forward(self, query_embedding: Tensor, memory: Memory) -> Tensor:
        """Decodes queries from zero targets.

        Args:
            query_embedding: (Q, D), (B, Q, D), or (L, B, Q, D) with one for each layer.
            memory: V_d.

        Returns:
            (L, B, Q, D): every layer's normalised output; the next layer is fed the un-normalised.
        """
        if query_embedding.dim() < 4:
            shared = query_embedding.expand(len(memory.tokens), -1, -1)
            embeddings = [shared] * len(self.layers)
        else:
            embeddings = list(query_embedding)
        x = torch.zeros_like(embeddings[0])
        outputs = []
        for layer, embedding in zip(self.layers, embeddings, strict=True):
            x = layer(x, memory, embedding)
            outputs.append(self.norm(x))
        return torch.stack(outputs)
