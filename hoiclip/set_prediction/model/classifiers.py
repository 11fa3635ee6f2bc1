"""Classifiers by cosine similarity to CLIP text embeddings or to verb vectors.

Shapes: `...` leading dimensions, D detector width, E width of CLIP's shared space.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hoiclip.contract.precision import in_float32

INITIAL_LOGIT_SCALE = math.log(1 / 0.07)
"""Logarithm of the factor of cosines at the start of training, CLIP's own."""


class TextClassifier(nn.Module):
    """Cosine similarity to a table of embeddings.

    Args:
        table: (C, E) embeddings, L2-normalised at the start.
        bias: (C,) added to the cosines, or None.
        trained: whether both are parameters, of which rows are not normalised again (GEN-VLKT), or
            fixed.
    """

    table: Tensor
    bias: Tensor | None

    def __init__(self, table: Tensor, bias: Tensor | None = None, *, trained: bool = False) -> None:
        super().__init__()
        table = F.normalize(table, dim=-1)
        if trained:
            self.table = nn.Parameter(table)
            self.register_parameter("bias", None if bias is None else nn.Parameter(bias))
        else:
            self.register_buffer("table", table)
            self.register_buffer("bias", bias)

    @in_float32
    def forward(self, x: Tensor) -> Tensor:
        """(..., E) → (..., C), not scaled by a temperature."""
        return F.linear(F.normalize(x, dim=-1), self.table, self.bias)


class ObjectClassifier(nn.Module):
    """Object features → logits of the object classes and, last, of 'nothing'.

    Args:
        detector_width: D.
        table: (O + 1, E) embeddings; see `TextClassifier`, also for `bias` and `trained`.
        logit_scale: start of the logarithm of the cosines' factor, which is trained.
        bias: (O + 1,) or None.
        trained: whether table and bias are.
    """

    def __init__(
        self,
        detector_width: int,
        table: Tensor,
        logit_scale: float,
        bias: Tensor | None = None,
        *,
        trained: bool = False,
    ) -> None:
        super().__init__()
        embed_width = table.shape[1]
        self.projection = nn.Sequential(
            nn.Linear(detector_width, embed_width), nn.LayerNorm(embed_width)
        )
        self.classifier = TextClassifier(table, bias, trained=trained)
        self.logit_scale = nn.Parameter(torch.tensor(logit_scale))

    @in_float32
    def forward(self, objects: Tensor) -> Tensor:
        """(..., D) → (..., objects + 1) logits."""
        return self.logit_scale.exp() * self.classifier(self.projection(objects))
