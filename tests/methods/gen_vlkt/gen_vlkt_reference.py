"""GEN-VLKT's network once more, plainly, on a state dict with the released names."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from reference_network import (
    State,
    attend,
    decode_instances,
    encode,
    feed_forward,
    layer_norm,
    linear,
    mlp,
    unit,
)
from torch import Tensor


@dataclass(frozen=True)
class ReferenceOutputs:
    """(L, B, Q, ...) of every decoder layer."""

    hoi_logits: Tensor
    object_logits: Tensor
    human_boxes_cxcywh: Tensor
    object_boxes_cxcywh: Tensor
    interaction_features: Tensor


def decode_guided(
    s: State, heads: int, guides: list[Tensor], memory: Tensor, position: Tensor, hidden: Tensor
) -> list[Tensor]:
    """Of one image: layer l's queries carry `guides[l]` (Q, D), as DETR's carry embeddings."""
    decoder = "transformer.interaction_decoder"
    x, outputs = torch.zeros_like(guides[0]), []
    for index, guide in enumerate(guides):
        name = f"{decoder}.layers.{index}"
        attended = attend(s, f"{name}.self_attn", heads, x + guide, x + guide, x)
        x = layer_norm(s, f"{name}.norm1", x + attended)
        keys = memory + position
        attended = attend(s, f"{name}.multihead_attn", heads, x + guide, keys, memory, hidden)
        x = layer_norm(s, f"{name}.norm2", x + attended)
        x = layer_norm(s, f"{name}.norm3", x + feed_forward(s, name, x))
        outputs.append(layer_norm(s, f"{decoder}.norm", x))
    return outputs


def classify(s: State, projection: str, table: str, scale: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """Projected features, and logits by them; the bias stands inside the scale."""
    features = layer_norm(s, f"{projection}.1", linear(s, f"{projection}.0", x))
    return features, linear(s, table, unit(features)) * s[scale].exp()


def reference_outputs(
    s: State, heads: int, images: Tensor, padding_mask: Tensor, guidance: str = "per_layer"
) -> ReferenceOutputs:
    """The network in eval mode on a padded batch, one image at a time.

    `guidance`: `per_layer` as released; `last` gives every layer the last pairs; `none` takes the
    embeddings `interaction_queries.weight`.
    """
    head = "visual_projection"
    if f"eval_{head}.weight" in s:
        head = f"eval_{head}"
    results = []
    for image, padded in zip(images, padding_mask, strict=True):
        memory, position, hidden = encode(s, heads, image, padded, dilated=False)
        decoded = decode_instances(s, heads, memory, position, hidden)
        humans, objects = torch.stack(decoded).chunk(2, dim=1)
        guides = list((humans + objects) / 2)
        if guidance == "last":
            guides = [guides[-1]] * len(guides)
        if guidance == "none":
            guides = [s["interaction_queries.weight"]] * len(guides)
        interactions = torch.stack(decode_guided(s, heads, guides, memory, position, hidden))
        features, hoi = classify(s, "hoi_class_fc", head, "logit_scale", interactions)
        _, logits = classify(s, "obj_class_fc", "obj_visual_projection", "obj_logit_scale", objects)
        human_boxes = mlp(s, "hum_bbox_embed", humans).sigmoid()
        object_boxes = mlp(s, "obj_bbox_embed", objects).sigmoid()
        results.append((hoi, logits, human_boxes, object_boxes, features))
    return ReferenceOutputs(*(torch.stack(values, 1) for values in zip(*results, strict=True)))
