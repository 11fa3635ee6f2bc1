"""A plain DETR, to pretrain the toy world's detector on boxes and object classes.

Shapes: L decoder layers, B images, G groups of Q queries, N memory cells, K object classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hoiclip.model.config import DetectorConfig
from hoiclip.model.detector_encoder import DetectorEncoder
from hoiclip.model.layers import MLP
from hoiclip.model.transformer import Decoder, Memory

# DETR's own names of our modules, under which the weights are saved; the auxiliary heads are not.
DETR_PREFIXES = {
    "backbone.0.": "encoder.backbone.",
    "input_proj.": "encoder.input_projection.",
    "transformer.encoder.": "encoder.transformer.",
    "transformer.decoder.": "decoder.",
    "bbox_embed.": "box_head.",
    "class_embed.": "class_head.",
    "query_embed.": "queries.",
}


@dataclass(frozen=True)
class DetrOutputs:
    """What the detector says.

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


class Detr(nn.Module):
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
        super().__init__()
        self.groups = groups
        self.encoder = DetectorEncoder(config, nn.BatchNorm2d)
        self.decoder = Decoder(
            decoder_layers, config.width, config.heads, config.feed_forward, config.dropout
        )
        self.queries = nn.Embedding(groups * num_queries, config.width)
        self.class_head = nn.Linear(config.width, num_classes + 1)
        self.box_head = MLP(config.width, config.width, 4, 3)
        self.cell_class_head = nn.Linear(config.width, num_classes + 1)
        self.cell_box_head = MLP(config.width, config.width, 4, 3)

    def forward(self, images: Tensor) -> DetrOutputs:
        """(B, 3, H, W) normalised images without padding → detections."""
        memory = self.encoder(images, None)
        groups = self.groups if self.training else 1
        by_group = torch.stack(self.queries.weight.chunk(self.groups)[:groups])
        queries = by_group.repeat_interleave(len(images), 0)
        repeated = Memory(
            memory.tokens.repeat(groups, 1, 1), memory.position.repeat(groups, 1, 1), None
        )
        decoded = self.decoder(queries, repeated)
        return DetrOutputs(
            self.class_head(decoded),
            self.box_head(decoded).sigmoid(),
            self.cell_class_head(memory.tokens),
            self.cell_box_head(memory.tokens).sigmoid(),
        )
