"""DETR's layers the way DETR-family repositories write them; see `plain_network.py`.

Shapes: B images, N memory cells, Q queries, D width; sequences come first.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FrozenBatchNorm2d(nn.Module):
    """Batch norm with fixed statistics and affine parameters."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        weight, bias = self.weight.view(1, -1, 1, 1), self.bias.view(1, -1, 1, 1)
        mean, variance = self.running_mean.view(1, -1, 1, 1), self.running_var.view(1, -1, 1, 1)
        scale = weight * (variance + 1e-5).rsqrt()
        return x * scale + (bias - mean * scale)


class MLP(nn.Module):
    """Three linear layers with ReLU between them."""

    def __init__(self, width: int, hidden: int, output: int) -> None:
        super().__init__()
        sizes = [(width, hidden), (hidden, hidden), (hidden, output)]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in sizes)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) → (..., output)."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class EncoderLayer(nn.Module):
    """DETR's post-norm encoder layer."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads, dropout=dropout)
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout, self.dropout1, self.dropout2 = (nn.Dropout(dropout) for _ in range(3))

    def forward(self, src: Tensor, mask: Tensor, pos: Tensor) -> Tensor:
        """(N, B, D) → (N, B, D)."""
        q = k = src + pos
        src2 = self.self_attn(q, k, value=src, key_padding_mask=mask)[0]
        src = self.norm1(src + self.dropout1(src2))
        src2 = self.linear2(self.dropout(F.relu(self.linear1(src))))
        return self.norm2(src + self.dropout2(src2))


class _DecoderParts(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads, dropout=dropout)
        self.multihead_attn = nn.MultiheadAttention(width, heads, dropout=dropout)
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.dropout, self.dropout1, self.dropout2, self.dropout3 = (
            nn.Dropout(dropout) for _ in range(4)
        )


class DecoderLayer(_DecoderParts):
    """DETR's post-norm decoder layer."""

    def forward(
        self, tgt: Tensor, memory: Tensor, mask: Tensor, pos: Tensor, query_pos: Tensor
    ) -> Tensor:
        """(Q, B, D) → (Q, B, D)."""
        q = k = tgt + query_pos
        tgt2 = self.self_attn(q, k, value=tgt)[0]
        tgt = self.norm1(tgt + self.dropout1(tgt2))
        tgt2 = self.multihead_attn(
            query=tgt + query_pos, key=memory + pos, value=memory, key_padding_mask=mask
        )[0]
        tgt = self.norm2(tgt + self.dropout2(tgt2))
        tgt2 = self.linear2(self.dropout(F.relu(self.linear1(tgt))))
        return self.norm3(tgt + self.dropout3(tgt2))


class InteractionLayer(_DecoderParts):
    """The same attention to CLIP's tokens and to the detector's, summed (equations 3 to 5)."""

    def forward(
        self, tgt: Tensor, clip_tokens: Tensor, memory: Tensor, mask: Tensor | None
    ) -> Tensor:
        """(Q, B, W) → (Q, B, W)."""
        tgt2 = self.self_attn(tgt, tgt, value=tgt)[0]
        tgt = self.norm1(tgt + self.dropout1(tgt2))
        tgt2 = self.multihead_attn(query=tgt, key=clip_tokens, value=clip_tokens)[0]
        clip_tgt = self.norm2(tgt + self.dropout2(tgt2))
        tgt2 = self.multihead_attn(query=tgt, key=memory, value=memory, key_padding_mask=mask)[0]
        tgt = clip_tgt + self.norm2(tgt + self.dropout2(tgt2))
        tgt2 = self.linear2(self.dropout(F.relu(self.linear1(tgt))))
        return self.norm3(tgt + self.dropout3(tgt2))


def sine_positions(mask: Tensor, width: int) -> Tensor:
    """(B, H, W) bool, true where padded → (B, D, H, W)."""
    not_mask = (~mask).to(torch.get_default_dtype())
    y, x = not_mask.cumsum(1), not_mask.cumsum(2)
    y = y / (y[:, -1:] + 1e-6) * 2 * math.pi
    x = x / (x[:, :, -1:] + 1e-6) * 2 * math.pi
    index = torch.arange(width // 2, dtype=not_mask.dtype, device=mask.device)
    wavelength = 10000 ** (2 * (index // 2) / (width // 2))
    x, y = x[..., None] / wavelength, y[..., None] / wavelength
    x = torch.stack((x[..., 0::2].sin(), x[..., 1::2].cos()), 4).flatten(3)
    y = torch.stack((y[..., 0::2].sin(), y[..., 1::2].cos()), 4).flatten(3)
    return torch.cat((y, x), 3).permute(0, 3, 1, 2)
