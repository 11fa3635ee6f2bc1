"""What GEN-VLKT starts from, and what of it learns at which rate."""

from __future__ import annotations

from typing import Any

import torch

from hoiclip.methods.gen_vlkt.config import GenVlktConfig
from hoiclip.methods.gen_vlkt.network import ClassEmbeddings, GenVlkt
from hoiclip.set_prediction.parameter_groups import DetectorRates, parameter_groups
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


def starting_tables(texts: ClassEmbeddings, config: GenVlktConfig) -> ClassEmbeddings:
    """What a fresh network's classifiers start from: CLIP's embeddings, or random directions."""
    if config.classifier_start == "text":
        return texts
    return ClassEmbeddings(*(torch.randn_like(table) for table in vars(texts).values()))


def gen_vlkt_groups(
    network: GenVlkt, rates: DetectorRates, config: GenVlktConfig
) -> list[dict[str, Any]]:
    """Parameters at the rates of training, and tables with their biases at `lr_classifiers`.

    See `hoiclip.set_prediction.parameter_groups.parameter_groups`.
    """
    tables = (network.classifier_parameters(), config.lr_classifiers)
    return parameter_groups(network, network.encoder.backbone, rates, [tables])
