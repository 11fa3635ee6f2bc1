"""Warm start of a network for pairs from a DETR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from hoiclip.errors import WeightsError

_DECODER = "transformer.decoder."

# Prefix in DETR's checkpoint → prefixes in ours; none: dropped, with the reason beside it.
DETR_KEY_MAP: Mapping[str, tuple[str, ...]] = {
    "backbone.0.": ("encoder.backbone.",),
    "input_proj.": ("encoder.input_projection.",),
    "transformer.encoder.": ("encoder.transformer.",),
    _DECODER: ("instance_decoder.decoder.",),
    "bbox_embed.": ("instance_decoder.human_box_head.", "instance_decoder.object_box_head."),
    "class_embed.": (),  # CLIP's text embeddings classify objects
    "query_embed.": (),  # pairs bring their own queries
}
"""What every network for pairs takes of a DETR."""

DETR_FRESH: Mapping[str, str] = {
    "instance_decoder.human_queries.": "pairs bring their own queries",
    "instance_decoder.object_queries.": "pairs bring their own queries",
    "instance_decoder.position_guided.": "pairs bring their own queries",
    "object_classifier.": "CLIP's text embeddings classify objects",
    "hoi_classifier.": "CLIP's text embeddings classify HOIs",
    "logit_scale": "starts at CLIP's initial temperature",
}
"""Prefix in ours that DETR fills in no network for pairs → why."""


@dataclass(frozen=True)
class WarmStart:
    """What a network takes of a DETR, and what not.

    Attributes:
        key_map: prefix of DETR's tensors → prefixes of the network's that start equal to them; none
            where they are dropped. Layers of DETR's decoder that the network lacks are dropped too.
        fresh: prefix of tensors that keep the network's own start → why.
    """

    key_map: Mapping[str, tuple[str, ...]]
    fresh: Mapping[str, str]


def warm_start_from_detr(
    network: nn.Module, state: Mapping[str, Tensor], path: Path, parts: WarmStart
) -> list[str]:
    """Fills the parts of `network` that DETR has; the rest keeps its fresh values.

    Args:
        network: changed in place, whole or not at all.
        state: DETR's state dict.
        path: where it comes from, for messages.
        parts: which those are.

    Returns:
        Names of DETR's tensors that were dropped on purpose: heads and queries that the network
        replaces, and decoder layers that it does not have.

    Raises:
        WeightsError: a tensor is unknown, missing or of another shape.
    """
    target = network.state_dict()
    layers = f"{parts.key_map[_DECODER][0]}layers."
    depth = len({name[len(layers) :].split(".")[0] for name in target if name.startswith(layers)})
    filled: dict[str, Tensor] = {}
    dropped = []
    for name, tensor in state.items():
        prefix = next((p for p in parts.key_map if name.startswith(p)), None)
        if prefix is None:
            raise WeightsError(f"{path}: tensor {name} belongs to no part of a DETR")
        layer = name.removeprefix(f"{_DECODER}layers.").split(".")[0]
        surplus = layer.isdigit() and int(layer) >= depth
        if surplus or not parts.key_map[prefix]:
            dropped.append(name)
            continue
        for ours in parts.key_map[prefix]:
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
    fresh = tuple(parts.fresh)
    missing = [key for key in target if key not in filled and not key.startswith(fresh)]
    if missing:
        raise WeightsError(f"{path}: nothing fills {missing[0]} ({len(missing)} tensors missing)")
    network.load_state_dict(filled, strict=False)
    return dropped
