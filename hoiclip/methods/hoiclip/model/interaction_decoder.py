"""Interaction decoder: knowledge integration of CLIP's tokens V_s and the detector's V_d."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hoiclip.methods.hoiclip.model.config import InteractionConfig
from hoiclip.model.attention import attend, attention
from hoiclip.model.layers import FeedForwardBlock, xavier_uniform_matrices


class InteractionDecoderLayer(FeedForwardBlock):
    """Self-attention, cross-attention to V_d and V_s, feed-forward block.

    Each cross-attention has its own residual from the same input; their sum goes on. With
    `clip_attention` "shared" one attention and one norm serve both (knowledge integration); with
    "separate" V_s has its own; with "none" only V_d is attended to.
    """

    def __init__(self, width: int, config: InteractionConfig) -> None:
        super().__init__(width, config.feed_forward, config.dropout)
        self.self_attn = attention(width, config.heads, config.dropout)
        self.multihead_attn = attention(width, config.heads, config.dropout)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)
        self.clip_attention = config.clip_attention
        if config.clip_attention == "separate":
            self.clip_attn = attention(width, config.heads, config.dropout)
            self.clip_norm = nn.LayerNorm(width)

    def forward(
        self, x: Tensor, detector_tokens: Tensor, padding_mask: Tensor | None, clip_tokens: Tensor
    ) -> Tensor:
        """(B, Q, W) → (B, Q, W)."""
        x = self.norm1(x + self.dropout(attend(self.self_attn, x, x, x)))
        detector = attend(self.multihead_attn, x, detector_tokens, detector_tokens, padding_mask)
        integrated = self.norm2(x + self.dropout(detector))
        if self.clip_attention != "none":
            shared = self.clip_attention == "shared"
            cross_attention = self.multihead_attn if shared else self.clip_attn
            norm = self.norm2 if shared else self.clip_norm
            spatial = attend(cross_attention, x, clip_tokens, clip_tokens)
            integrated = integrated + norm(x + self.dropout(spatial))
        return self.norm3(integrated + self.feed_forward(integrated))


class InteractionDecoder(nn.Module):
    """Interaction queries from pairs, decoded over V_d and V_s (HOICLIP section 3.3).

    Args:
        config: sizes and switches.
        detector_width: D, width of pair features and V_d.
        width: W, width of CLIP's tokens, in which the decoder works.
        layers: number of decoder layers.
    """

    def __init__(
        self, config: InteractionConfig, detector_width: int, width: int, layers: int
    ) -> None:
        super().__init__()
        self.query_projection = nn.Sequential(nn.Linear(detector_width, width), nn.LayerNorm(width))
        self.memory_projection = nn.Sequential(
            nn.Linear(detector_width, width), nn.LayerNorm(width)
        )
        self.layers = nn.ModuleList(InteractionDecoderLayer(width, config) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        xavier_uniform_matrices(self)

    def forward(
        self,
        pairs: Tensor,
        detector_tokens: Tensor,
        padding_mask: Tensor | None,
        clip_tokens: Tensor,
    ) -> Tensor:
        """Decodes pairs into interaction features.

        Args:
            pairs: (B, Q, D), the mean of human and object feature of each pair.
            detector_tokens: V_d, (B, N, D).
            padding_mask: (B, N) bool, true where V_d is padding; None attends to all.
            clip_tokens: V_s, (B, 1 + P, W).

        Returns:
            (L, B, Q, W): every layer's normalised output.
        """
        x = self.query_projection(pairs)
        memory = self.memory_projection(detector_tokens)
        outputs = []
        for layer in self.layers:
            x = layer(x, memory, padding_mask, clip_tokens)
            outputs.append(self.norm(x))
        return torch.stack(outputs)
