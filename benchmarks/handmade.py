"""Attention, dropout and batch norm with backward passes of their own: what `pieces.py` measures.

They keep less for the backward pass than the plain forms, on a CPU, and equal those to the bit. No
compiler sees through them: `torch.compile` ends a graph at each.

Shapes: B images, H heads, D width, lengths N (queries) and M (keys).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F


def attend(
    module: nn.MultiheadAttention,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    padding_mask: Tensor | None = None,
) -> Tensor:
    """As `hoiclip.model.attention.attend`, for training with dropout."""
    q, k, v = (
        x.unflatten(-1, (module.num_heads, -1)).permute(1, 2, 0, 3)
        for x in _project(module, queries, keys, values)
    )
    # Split between both factors, as PyTorch does.
    scale = module.head_dim**-0.25
    hidden = None if padding_mask is None else padding_mask[:, None, None]
    attended = _Attend.apply(q * scale, k.transpose(-2, -1) * scale, v, hidden, module.dropout)
    return module.out_proj(attended.permute(2, 0, 1, 3).flatten(2)).transpose(0, 1)


def _project(
    module: nn.MultiheadAttention, queries: Tensor, keys: Tensor, values: Tensor
) -> tuple[Tensor, ...]:
    """Queries, keys and values of all heads, (length, B, D); equal inputs are projected at once."""
    weight, bias = module.in_proj_weight, module.in_proj_bias
    q, k, v = (x.transpose(0, 1) for x in (queries, keys, values))
    if keys is not values:
        inputs = zip((q, k, v), weight.chunk(3), bias.chunk(3), strict=True)
        return tuple(F.linear(*each) for each in inputs)
    if queries is keys:
        return F.linear(q, weight, bias).chunk(3, -1)
    sizes = [module.embed_dim, 2 * module.embed_dim]
    (for_q, for_kv), (bias_q, bias_kv) = weight.split(sizes), bias.split(sizes)
    return F.linear(q, for_q, bias_q), *F.linear(k, for_kv, bias_kv).chunk(2, -1)


class _Attend(torch.autograd.Function):
    """softmax(q · k) with dropout, times v; the backward pass computes the softmax once more.

    q (B, H, N, D/H), k (B, H, D/H, M), v (B, H, M, D/H), `hidden` (B, 1, 1, M) bool or None. Of
    (N, M) maps only the bytes that say which weights dropout kept stay in memory.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None, dropout: float
    ) -> Tensor:
        weights = _softmax(q, k, hidden)
        kept = torch.empty_like(weights, dtype=torch.bool).bernoulli_(1 - dropout)
        ctx.save_for_backward(q, k, v, hidden, kept)
        ctx.scale = 1 / (1 - dropout)
        return weights.mul_(kept).mul_(ctx.scale) @ v

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, hidden, kept = ctx.saved_tensors
        weights = _softmax(q, k, hidden)
        of_v = (weights * kept).mul_(ctx.scale).transpose(-2, -1) @ gradient
        of_weights = (gradient @ v.transpose(-2, -1)).mul_(kept).mul_(ctx.scale)
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
        return of_scores @ k.transpose(-2, -1), q.transpose(-2, -1) @ of_scores, of_v, None, None


def _softmax(q: Tensor, k: Tensor, hidden: Tensor | None) -> Tensor:
    scores = q @ k
    if hidden is not None:
        scores.masked_fill_(hidden, -math.inf)
    return torch.softmax(scores, -1, out=scores)


def dropout(x: Tensor, probability: float) -> Tensor:
    """Dropout in training that keeps one byte per number."""
    return torch.native_dropout(x, probability, True)[0]


def relu_dropout(x: Tensor, probability: float) -> Tensor:
    """ReLU, then dropout in training; the result alone is kept."""
    return _ReluDropout.apply(x, probability)


class _ReluDropout(torch.autograd.Function):
    """Where the result is positive is a gradient."""

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


def batch_norm(
    x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> Tensor:
    """`F.batch_norm` of fixed statistics, written over its input, of which nothing is kept."""
    return _InPlaceBatchNorm.apply(x, mean, variance, weight, bias, eps)


class _InPlaceBatchNorm(torch.autograd.Function):
    """Operations and their order are the ones of PyTorch's CPU kernels."""

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
