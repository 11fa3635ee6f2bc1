"""Warm start of encoder, instance decoder and box heads from a DETR checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from hoiclip.errors import WeightsError
from hoiclip.model.hoiclip import HOICLIP

# Prefix in DETR's checkpoint → prefixes in ours; none: dropped, with the reason beside it.
DETR_KEY_MAP: dict[str, tuple[str, ...]] = {
    "backbone.0.": ("encoder.backbone.",),
    "input_proj.": ("encoder.input_projection.",),
    "transformer.encoder.": ("encoder.transformer.",),
    "transformer.decoder.": ("instance_decoder.decoder.",),
    "bbox_embed.": ("instance_decoder.human_box_head.", "instance_decoder.object_box_head."),
    "class_embed.": (),  # CLIP's text embeddings classify objects
    "query_embed.": (),  # pairs bring their own queries
}

# Prefix in ours that DETR does not fill → why.
DETR_FRESH: dict[str, str] = {
    "instance_decoder.human_queries.": "pairs bring their own queries",
    "instance_decoder.object_queries.": "pairs bring their own queries",
    "instance_decoder.position_guided.": "pairs bring their own queries",
    "object_classifier.": "CLIP's text embeddings classify objects",
    "interaction_decoder.": "DETR knows no interactions",
    "hoi_classifier.": "CLIP's text embeddings classify HOIs",
    "visual_projection": "CLIP's own",
    "verb_classifier.": "starts from verb vectors, its adapter from random numbers",
    "logit_scale": "starts at CLIP's initial temperature",
}


def warm_start_from_detr(model: HOICLIP, state: Mapping[str, Tensor], path: Path) -> list[str]:
    """Fills the parts of `model` that DETR has; the rest keeps its fresh values.

    Args:
        model: changed in place.
        state: DETR's state dict.
        path: where it comes from, for messages.

    Returns:
        Names of DETR's tensors that were dropped on purpose: heads and queries that HOICLIP
        replaces, and decoder layers that it does not have.

    Raises:
        WeightsError: a tensor is unknown, missing or of another shape.
    """
    target = model.state_dict()
    decoder_layers = len(model.instance_decoder.decoder.layers)
    filled, dropped = {}, []
    for name, tensor in state.items():
        prefix = next((p for p in DETR_KEY_MAP if name.startswith(p)), None)
        if prefix is None:
            raise WeightsError(f"{path}: tensor {name} belongs to no part of a DETR")
        layer = name.removeprefix("transformer.decoder.layers.").split(".")[0]
        surplus = layer.isdigit() and int(layer) >= decoder_layers
        if surplus or not DETR_KEY_MAP[prefix]:
            dropped.append(name)
            continue
        for ours in DETR_KEY_MAP[prefix]:
            key = ours + name.removeprefix(prefix)
            if key not in target:
                raise WeightsError(
                    f"{path}: tensor {name} has no place in the model; check model.detector"
                )
            if target[key].shape != tensor.shape:
                raise WeightsError(
                    f"{path}: tensor {name} has shape {tuple(tensor.shape)}, "
                    f"model.detector in params.yaml makes it {tuple(target[key].shape)}"
                )
            filled[key] = tensor
    fresh = tuple(DETR_FRESH)
    missing = [key for key in target if key not in filled and not key.startswith(fresh)]
    if missing:
        raise WeightsError(f"{path}: nothing fills {missing[0]} ({len(missing)} tensors missing)")
    model.load_state_dict(filled, strict=False)
    return dropped
