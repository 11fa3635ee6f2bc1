"""What GEN-VLKT takes of a DETR."""

from __future__ import annotations

from hoiclip.set_prediction.warm_start import DETR_FRESH, DETR_KEY_MAP, WarmStart

WARM_START = WarmStart(
    {
        **DETR_KEY_MAP,
        "transformer.decoder.": ("instance_decoder.decoder.", "interaction_decoder."),
    },
    {
        **DETR_FRESH,
        "interaction_queries.": "pairs bring their own queries",
        "hoi_projection.": "DETR knows no interactions",
    },
)
"""Both decoders start from DETR's, encoder and box heads from its own."""
