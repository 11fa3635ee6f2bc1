"""DETR's building blocks: attention layers, feed-forward heads, sine position encoding.

Shapes: B images, N memory cells, Q queries, D width.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FrozenBatchNorm2d(nn.Module):
    """Batch norm with fixed statistics and affine parameters, all buffers, so never trained.

    Equals `F.batch_norm`, which would keep its input for a backward pass that does not need it.
    What comes in bfloat16, of a convolution under autocast, leaves so; it is rounded once.

    Args:
        num_features: channels.
        eps: added to the variance.
        device: of the buffers.
        dtype: of the buffers.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.eps = eps
        for name, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            values = torch.full((num_features,), float(value), device=device, dtype=dtype)
            self.register_buffer(name, values)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        # With the roundings of PyTorch's CPU kernels.
        shift = torch.addcmul(self.bias, self.running_mean, scale, value=-1)
        return torch.addcmul(shift[:, None, None], x, scale[:, None, None]).to(x.dtype)


class MLP(nn.Module):
    """`num_layers` linear layers with ReLU between them."""

    def __init__(self, input_width: int, hidden: int, output_width: int, num_layers: int) -> None:
        super().__init__()
        widths = [input_width, *[hidden] * (num_layers - 1), output_width]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """(..., input_width) → (..., output_width)."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class FeedForwardBlock(nn.Module):
    """Base of the transformer layers: their two linear layers with ReLU and dropout."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def feed_forward(self, x: Tensor) -> Tensor:
        """(..., D) → (..., D); the residual and its norm belong to the caller."""
        return self.dropout(self.linear2(self.dropout(F.relu(self.linear1(x)))))


def xavier_uniform_matrices(module: nn.Module) -> None:
    """Initialises every parameter of two or more dimensions Xavier-uniform, as DETR does."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)


def sine_position_encoding(
    padding_mask: Tensor, width: int, temperature: float = 10000.0
) -> Tensor:
    """Sine encoding of the cumulative position among unpadded cells, scaled to 2π (DETR).

    Args:
        padding_mask: (B, H, W) bool, true where padded.
        width: features in all: the first half encodes y, the second x, sine and cosine interleaved.
        temperature: base of the geometric progression of wavelengths.

    Returns:
        (B, H·W, width), of PyTorch's default dtype.
    """
    valid = (~padding_mask).to(torch.get_default_dtype())
    half = width // 2
    exponent = torch.arange(half, device=padding_mask.device).div(2, rounding_mode="floor")
    wavelengths = temperature ** (2 * exponent / half)
    axes = []
    for axis in (1, 2):
        position = valid.cumsum(axis)
        last = position.narrow(axis, -1, 1)
        angles = (position / (last + 1e-6) * 2 * math.pi).unsqueeze(-1) / wavelengths
        axes.append(torch.stack([angles[..., 0::2].sin(), angles[..., 1::2].cos()], -1).flatten(-2))
    return torch.cat(axes, -1).flatten(1, 2)
