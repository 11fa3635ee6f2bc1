"""Instance decoder: paired human and object queries with a position-guided embedding → boxes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hoiclip.contract.precision import in_float32
from hoiclip.model.config import DetectorConfig
from hoiclip.model.layers import MLP
from hoiclip.model.transformer import Decoder, Memory


class InstanceDecoder(nn.Module):
    """Decodes Q human and Q object queries side by side (HOICLIP section 3.2, after GEN-VLKT).

    The i-th human and the i-th object query share one position-guided embedding, which makes them a
    pair.

    Args:
        config: sizes.
        num_queries: Q.
        layers: number of decoder layers, L.
        position_guided: whether there is that embedding; without it only the box losses tie the
            two queries of a pair.
    """

    def __init__(
        self,
        config: DetectorConfig,
        num_queries: int,
        layers: int,
        *,
        position_guided: bool = True,
    ) -> None:
        super().__init__()
        self.human_queries = nn.Embedding(num_queries, config.width)
        self.object_queries = nn.Embedding(num_queries, config.width)
        self.position_guided = None
        if position_guided:
            self.position_guided = nn.Embedding(num_queries, config.width)
            nn.init.uniform_(self.position_guided.weight)
        self.decoder = Decoder(
            layers, config.width, config.heads, config.feed_forward, config.dropout
        )
        self.human_box_head = MLP(config.width, config.width, 4, 3)
        self.object_box_head = MLP(config.width, config.width, 4, 3)

    def forward(self, memory: Memory) -> tuple[Tensor, Tensor]:
        """Returns human and object features, each (L, B, Q, D)."""
        queries = torch.stack([self.human_queries.weight, self.object_queries.weight])
        if self.position_guided is not None:
            queries = queries + self.position_guided.weight
        humans, objects = self.decoder(queries.flatten(0, 1), memory).chunk(2, dim=2)
        return humans, objects

    @in_float32
    def boxes(self, humans: Tensor, objects: Tensor) -> tuple[Tensor, Tensor]:
        """Human and object boxes_cxcywh (L, B, Q, 4) in [0, 1], relative to the unpadded image."""
        return self.human_box_head(humans).sigmoid(), self.object_box_head(objects).sigmoid()
