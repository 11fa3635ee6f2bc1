"""A DETR with helpers for a short pretraining on the toy world's boxes and object classes.

Shapes: L decoder layers, B images, G groups of Q queries, N memory cells, K object classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hoiclip.detr.network import Detr
from hoiclip.model.config import DetectorConfig
from hoiclip.model.layers import MLP
from hoiclip.model.transformer import Memory


@dataclass(frozen=True)
class GroupOutputs:
    """What the detector says in pretraining.

    Attributes:
        logits: (L, G·B, Q, K + 1), group by group; the last class is 'nothing'.
        boxes_cxcywh: (L, G·B, Q, 4) in [0, 1].
        cell_logits: (B, N, K + 1) of the memory cells, an auxiliary task of pretraining.
        cell_boxes_cxcywh: (B, N, 4).
    """

    logits: Tensor
    boxes_cxcywh: Tensor
    cell_logits: Tensor
    cell_boxes_cxcywh: Tensor


class GroupDetr(Detr):
    """DETR with groups of queries (Group DETR, Chen et al. 2023), each matched by itself.

    Several groups see the same memory, which multiplies the supervision of the decoder and keeps it
    from leaning on one set of queries: HOICLIP brings its own.

    Args:
        config: the detector's sizes.
        decoder_layers: number of decoder layers.
        num_classes: K, 'nothing' not counted.
        num_queries: Q of one group.
        groups: G in training; inference uses the first group.
    """

    def __init__(
        self,
        config: DetectorConfig,
        decoder_layers: int,
        num_classes: int,
        num_queries: int,
        groups: int,
    ) -> None:
        super().__init__(config, decoder_layers, num_classes, groups * num_queries)
        self.groups = groups
        self.cell_class_head = nn.Linear(config.width, num_classes + 1)
        self.cell_box_head = MLP(config.width, config.width, 4, 3)

    # Pretraining wants the groups and the cells apart, of images without padding.
    def forward(self, images: Tensor) -> GroupOutputs:  # type: ignore[override]
        """(B, 3, H, W) normalised images without padding → detections."""
        memory = self.encoder(images, None)
        groups = self.groups if self.training else 1
        by_group = torch.stack(self.queries.weight.chunk(self.groups)[:groups])
        queries = by_group.repeat_interleave(len(images), 0)
        repeated = Memory(
            memory.tokens.repeat(groups, 1, 1), memory.position.repeat(groups, 1, 1), None
        )
        decoded = self.decoder(queries, repeated)
        return GroupOutputs(
            self.class_head(decoded),
            self.box_head(decoded).sigmoid(),
            self.cell_class_head(memory.tokens),
            self.cell_box_head(memory.tokens).sigmoid(),
        )
