"""What of HOICLIP starts from DETR."""

from __future__ import annotations

from hoiclip.set_prediction.warm_start import DETR_FRESH, DETR_KEY_MAP, WarmStart

WARM_START = WarmStart(
    DETR_KEY_MAP,
    {
        **DETR_FRESH,
        "interaction_decoder.": "DETR knows no interactions",
        "visual_projection": "CLIP's own",
        "verb_classifier.": "starts from verb vectors, its adapter from random numbers",
    },
)
"""Encoder, instance decoder and box heads do."""
