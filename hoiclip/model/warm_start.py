"""Warm start of the encoder and the instance decoder from a DETR checkpoint."""

from __future__ import annotations

# DETR's prefix → ours, for the parts that are one to one.
DETR_PREFIXES = {
    "backbone.0.": "encoder.backbone.",
    "input_proj.": "encoder.input_projection.",
    "transformer.encoder.": "encoder.transformer.",
    "transformer.decoder.": "decoder.",
    "bbox_embed.": "box_head.",
    "class_embed.": "class_head.",
    "query_embed.": "queries.",
}
