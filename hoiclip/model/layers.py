"""DETR's building blocks: attention layers, feed-forward heads, sine position encoding.

Shapes: B images, N memory cells, Q queries, D width.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F


class FrozenBatchNorm2d(nn.Module):
    """Batch norm with fixed statistics and affine parameters, all buffers, so never trained.

    Args:
        num_features: channels.
        eps: added to the variance.
        inplace: whether the input is overwritten, which saves time and memory; for the output of
            a convolution, which nothing else reads.
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
        inplace: bool = False,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.eps = eps
        self.inplace = inplace
        for name, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            values = torch.full((num_features,), float(value), device=device, dtype=dtype)
            self.register_buffer(name, values)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        statistics = (self.running_mean, self.running_var, self.weight, self.bias)
        if self.inplace:
            return _InPlaceBatchNorm.apply(x, *statistics, self.eps)
        return F.batch_norm(x, *statistics, eps=self.eps)


class _InPlaceBatchNorm(torch.autograd.Function):
    """`F.batch_norm` of fixed statistics, written over its input, of which nothing is kept.

    Autograd's own keeps the input, which its backward pass does not need. Operations and their
    order are the ones of PyTorch's CPU kernels, so that results are equal to the bit.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        mean: Tensor,
        variance: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
    ) -> Tensor:
        ctx.mark_dirty(x)
        ctx.save_for_backward(variance, weight)
        ctx.eps = eps
        scale = weight * (variance + eps).rsqrt()
        shift = torch.addcmul(bias, mean, scale, value=-1)
        return torch.addcmul(_per_channel(shift), x, _per_channel(scale), out=x)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        variance, weight = ctx.saved_tensors
        inverse = (variance.double() + ctx.eps).rsqrt().to(gradient.dtype)
        scaled = (gradient * _per_channel(inverse)).mul_(_per_channel(weight))
        return scaled, None, None, None, None, None


def _per_channel(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)


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


class Dropout(nn.Dropout):
    """Dropout that keeps one byte per number for the backward pass, on a CPU too."""

    def forward(self, x: Tensor) -> Tensor:
        """(...) → (...)."""
        return torch.native_dropout(x, self.p, True)[0] if self.training and self.p > 0 else x


class FeedForwardBlock(nn.Module):
    """Base of the transformer layers: their two linear layers with ReLU and dropout."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.dropout = Dropout(dropout)

    def feed_forward(self, x: Tensor) -> Tensor:
        """(..., D) → (..., D); the residual and its norm belong to the caller."""
        hidden = _relu_dropout(self.linear1(x), self.dropout.p if self.training else 0.0)
        return self.dropout(self.linear2(hidden))


def _relu_dropout(x: Tensor, probability: float) -> Tensor:
    return _ReluDropout.apply(x, probability) if probability > 0 else F.relu(x)


class _ReluDropout(torch.autograd.Function):
    """ReLU, then dropout: of both, the result alone is kept; where it is positive is a gradient."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, probability: float) -> Tensor:
        kept = torch.empty_like(x, dtype=torch.bool).bernoulli_(1 - probability)
        ctx.scale = 1 / (1 - probability)
        output = x.relu().mul_(kept).mul_(ctx.scale)
        ctx.save_for_backward(output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        (output,) = ctx.saved_tensors
        return (gradient * (output > 0)).mul_(ctx.scale), None


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
        (B, H·W, width) float32.
    """
    valid = (~padding_mask).float()
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
