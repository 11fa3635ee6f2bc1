"""DETR with its own queries and class head (Carion et al., ECCV 2020).

Shapes: L decoder layers, B images, Q queries, D width, K object classes.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from hoiclip.model.config import DetectorConfig
from hoiclip.model.detector_encoder import DetectorEncoder
from hoiclip.model.layers import MLP
from hoiclip.model.transformer import Decoder

DETR_PREFIXES = {
    "backbone.0.": "encoder.backbone.",
    "input_proj.": "encoder.input_projection.",
    "transformer.encoder.": "encoder.transformer.",
    "transformer.decoder.": "decoder.",
    "bbox_embed.": "box_head.",
    "class_embed.": "class_head.",
    "query_embed.": "queries.",
}
"""Prefix of a tensor in DETR's own files → in `Detr`."""


@dataclass(frozen=True)
class DetrOutputs:
    """What the detector says.

    Attributes:
        features: (L, B, Q, D), every decoder layer's normalised output.
        logits: (L, B, Q, K + 1); the last class is 'nothing'.
        boxes_cxcywh: (L, B, Q, 4) in [0, 1], relative to the unpadded image.
    """

    features: Tensor
    logits: Tensor
    boxes_cxcywh: Tensor


class Detr(nn.Module):
    """DETR; its batch norms are plain ones, which in eval mode compute what frozen ones do.

    Args:
        config: the detector's sizes.
        decoder_layers: L.
        num_classes: K, 'nothing' not counted.
        num_queries: Q.
    """

    def __init__(
        self, config: DetectorConfig, decoder_layers: int, num_classes: int, num_queries: int
    ) -> None:
        super().__init__()
        self.encoder = DetectorEncoder(config, nn.BatchNorm2d)
        self.decoder = Decoder(
            decoder_layers, config.width, config.heads, config.feed_forward, config.dropout
        )
        self.queries = nn.Embedding(num_queries, config.width)
        self.class_head = nn.Linear(config.width, num_classes + 1)
        self.box_head = MLP(config.width, config.width, 4, 3)

    def forward(self, images: Tensor, padding_mask: Tensor | None = None) -> DetrOutputs:
        """Detections in a batch.

        Args:
            images: (B, 3, H, W), normalised, zero-padded right and bottom.
            padding_mask: (B, H, W) bool, true where padded; None where nothing is.
        """
        features = self.decoder(self.queries.weight, self.encoder(images, padding_mask))
        return DetrOutputs(features, self.class_head(features), self.box_head(features).sigmoid())
