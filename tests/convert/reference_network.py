"""The released network once more, plainly, on a state dict with the released names.

One image at a time where padding allows, explicit softmax attention, no module of the project.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]


@dataclass(frozen=True)
class ReferenceOutputs:
    """(L, B, Q, ...) of every decoder layer, and (B, C) cosines of image and HOI prompts."""

    hoi_logits: Tensor
    object_logits: Tensor
    human_boxes_cxcywh: Tensor
    object_boxes_cxcywh: Tensor
    clip_similarity: Tensor


def linear(s: State, name: str, x: Tensor) -> Tensor:
    return x @ s[f"{name}.weight"].T + s[f"{name}.bias"]


def layer_norm(s: State, name: str, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    deviation = (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
    return centred / deviation * s[f"{name}.weight"] + s[f"{name}.bias"]


def attend(
    s: State, name: str, heads: int, q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None = None
) -> Tensor:
    """(N, D), (M, D), (M, D) → (N, D); keys where `hidden` (M,) are left out."""
    width = q.shape[-1]
    weights, biases = s[f"{name}.in_proj_weight"].chunk(3), s[f"{name}.in_proj_bias"].chunk(3)
    q, k, v = (x @ w.T + b for x, w, b in zip((q, k, v), weights, biases, strict=True))
    size = width // heads
    parts = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        logits = q[:, part] @ k[:, part].T / math.sqrt(size)
        if hidden is not None:
            logits = logits.masked_fill(hidden[None], -math.inf)
        parts.append(logits.softmax(-1) @ v[:, part])
    return linear(s, f"{name}.out_proj", torch.cat(parts, -1))


def feed_forward(s: State, name: str, x: Tensor) -> Tensor:
    return linear(s, f"{name}.linear2", linear(s, f"{name}.linear1", x).clamp(min=0))


def mlp(s: State, name: str, x: Tensor) -> Tensor:
    for index in range(3):
        x = linear(s, f"{name}.layers.{index}", x)
        x = x.clamp(min=0) if index < 2 else x
    return x


def frozen_norm(s: State, name: str, x: Tensor) -> Tensor:
    weight, bias, mean, variance = (
        s[f"{name}.{part}"][:, None, None]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * weight + bias


def resnet(s: State, x: Tensor, dilated: bool) -> Tensor:
    """With `dilated`, the last stage keeps the stride of the one before it (DC5)."""
    body = "backbone.0.body."
    x = F.conv2d(x, s[f"{body}conv1.weight"], stride=2, padding=3)
    x = F.max_pool2d(frozen_norm(s, f"{body}bn1", x).clamp(min=0), 3, stride=2, padding=1)
    for stage in range(1, 5):
        block = 0
        while f"{body}layer{stage}.{block}.conv1.weight" in s:
            name = f"{body}layer{stage}.{block}"
            last = dilated and stage == 4
            stride = 2 if stage > 1 and block == 0 and not last else 1
            step = 2 if last and block > 0 else 1
            y = F.conv2d(x, s[f"{name}.conv1.weight"])
            y = frozen_norm(s, f"{name}.bn1", y).clamp(min=0)
            y = F.conv2d(y, s[f"{name}.conv2.weight"], None, stride, padding=step, dilation=step)
            y = frozen_norm(s, f"{name}.bn2", y).clamp(min=0)
            y = frozen_norm(s, f"{name}.bn3", F.conv2d(y, s[f"{name}.conv3.weight"]))
            if block == 0:
                x = F.conv2d(x, s[f"{name}.downsample.0.weight"], stride=stride)
                x = frozen_norm(s, f"{name}.downsample.1", x)
            x = (x + y).clamp(min=0)
            block += 1
    return x


def sine_positions(padded: Tensor, width: int) -> Tensor:
    """(H, W) bool → (H·W, width), counted cell by cell."""
    height, breadth = padded.shape
    half = width // 2
    rows = []
    for y in range(height):
        for x in range(breadth):
            ys, xs = (~padded[:, x]).float(), (~padded[y]).float()
            features = []
            for values, place in ((ys, y), (xs, x)):
                count = values[: place + 1].sum() / (values.sum() + 1e-6) * 2 * math.pi
                for i in range(half):
                    angle = count / 10000 ** (2 * (i // 2) / half)
                    features.append(angle.sin() if i % 2 == 0 else angle.cos())
            rows.append(torch.stack(features))
    return torch.stack(rows)


def clip_tokens(s: State, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """(3, S, S) → V_s (1 + P, W), and the global feature (E,) of unit length."""
    v = "clip_model.visual."
    kernel = s[f"{v}conv1.weight"]
    patches = F.conv2d(pixels[None], kernel, stride=kernel.shape[-1])[0].flatten(1).T
    x = torch.cat([s[f"{v}class_embedding"][None], patches]) + s[f"{v}positional_embedding"]
    x = layer_norm(s, f"{v}ln_pre", x)
    block = 0
    while f"{v}transformer.resblocks.{block}.ln_1.weight" in s:
        name = f"{v}transformer.resblocks.{block}"
        y = layer_norm(s, f"{name}.ln_1", x)
        x = x + attend(s, f"{name}.attn", x.shape[-1] // 64, y, y, y)
        y = linear(s, f"{name}.mlp.c_fc", layer_norm(s, f"{name}.ln_2", x))
        x = x + linear(s, f"{name}.mlp.c_proj", y * (1.702 * y).sigmoid())
        block += 1
    x = layer_norm(s, f"{v}ln_post", x)
    feature = x[0] @ s[f"{v}proj"]
    return x, feature / feature.norm()


def encode(
    s: State, heads: int, image: Tensor, padded: Tensor, dilated: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """(3, H, W), (H, W) bool → V_d (N, D), positions (N, D), padded cells (N,)."""
    features = resnet(s, image[None], dilated)
    height, width = features.shape[-2:]
    rows = torch.arange(height) * padded.shape[0] // height
    columns = torch.arange(width) * padded.shape[1] // width
    cells = padded[rows][:, columns]
    x = F.conv2d(features, s["input_proj.weight"], s["input_proj.bias"])[0].flatten(1).T
    position = sine_positions(cells, x.shape[-1])
    hidden = cells.flatten()
    index = 0
    while (name := f"transformer.encoder.layers.{index}") + ".norm1.weight" in s:
        located = x + position
        attended = attend(s, f"{name}.self_attn", heads, located, located, x, hidden)
        x = layer_norm(s, f"{name}.norm1", x + attended)
        x = layer_norm(s, f"{name}.norm2", x + feed_forward(s, name, x))
        index += 1
    return x, position, hidden


def decode_instances(
    s: State, heads: int, memory: Tensor, position: Tensor, hidden: Tensor
) -> list[Tensor]:
    pair = s["pos_guided_embedd.weight"]
    query = torch.cat([s["query_embed_h.weight"] + pair, s["query_embed_o.weight"] + pair])
    x, outputs, index = torch.zeros_like(query), [], 0
    decoder = "transformer.instance_decoder"
    while (name := f"{decoder}.layers.{index}") + ".norm1.weight" in s:
        attended = attend(s, f"{name}.self_attn", heads, x + query, x + query, x)
        x = layer_norm(s, f"{name}.norm1", x + attended)
        keys = memory + position
        attended = attend(s, f"{name}.multihead_attn", heads, x + query, keys, memory, hidden)
        x = layer_norm(s, f"{name}.norm2", x + attended)
        x = layer_norm(s, f"{name}.norm3", x + feed_forward(s, name, x))
        outputs.append(layer_norm(s, f"{decoder}.norm", x))
        index += 1
    return outputs


def decode_interactions(
    s: State, heads: int, pairs: Tensor, memory: Tensor, hidden: Tensor | None, tokens: Tensor
) -> list[Tensor]:
    t, decoder = "transformer.", "transformer.clip_interaction_decoder"
    x = linear(s, f"{t}queries2spacial_proj", pairs)
    x = layer_norm(s, f"{t}queries2spacial_proj_norm", x)
    memory = layer_norm(s, f"{t}obj_class_ln", linear(s, f"{t}obj_class_fc", memory))
    outputs, index = [], 0
    while (name := f"{decoder}.layers.{index}") + ".norm1.weight" in s:
        x = layer_norm(s, f"{name}.norm1", x + attend(s, f"{name}.self_attn", heads, x, x, x))
        cross = f"{name}.multihead_attn"
        spatial = x + attend(s, cross, heads, x, tokens, tokens)
        detected = x + attend(s, cross, heads, x, memory, memory, hidden)
        x = layer_norm(s, f"{name}.norm2", spatial) + layer_norm(s, f"{name}.norm2", detected)
        x = layer_norm(s, f"{name}.norm3", x + feed_forward(s, name, x))
        outputs.append(layer_norm(s, f"{decoder}.norm", x))
        index += 1
    return outputs


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def reference_outputs(
    s: State,
    heads: int,
    verb_weight: float,
    images: Tensor,
    padding_mask: Tensor,
    pixels: Tensor,
    *,
    mask_detector_memory: bool,
    dilated: bool = False,
) -> ReferenceOutputs:
    """The network in eval mode on a padded batch; `pixels` are CLIP's inputs."""
    zero_shot = "eval_visual_projection.weight" in s
    table = s["eval_visual_projection.weight" if zero_shot else "visual_projection.weight"]
    bias = 0 if zero_shot else s.get("visual_projection.bias", 0)
    spread = s["verb2hoi_proj_eval" if zero_shot else "verb2hoi_proj"]
    results: list[tuple[Tensor, ...]] = []
    similarities = []
    for image, padded, pixel in zip(images, padding_mask, pixels, strict=True):
        memory, position, hidden = encode(s, heads, image, padded, dilated)
        instances = torch.stack(decode_instances(s, heads, memory, position, hidden))
        humans, objects = instances.chunk(2, dim=1)
        tokens, global_feature = clip_tokens(s, pixel)
        similarities.append(table @ global_feature)
        pairs = (humans[-1] + objects[-1]) / 2
        shown = hidden if mask_detector_memory else None
        decoded = decode_interactions(s, heads, pairs, memory, shown, tokens)
        features = torch.stack(decoded) @ s["clip_model.visual.proj"]
        verbs = unit(mlp(s, "inter2verb", features)) @ s["verb_projection.weight"].T @ spread
        hoi = (unit(features) @ table.T + bias) * s["logit_scale"].exp()
        hoi = hoi + verb_weight * s["logit_scale"].exp() * verbs
        classified = layer_norm(s, "obj_class_fc.1", linear(s, "obj_class_fc.0", objects))
        logits = unit(classified) @ s["obj_visual_projection.weight"].T
        logits = (logits + s.get("obj_visual_projection.bias", 0)) * s["obj_logit_scale"].exp()
        human_boxes = mlp(s, "hum_bbox_embed", humans).sigmoid()
        object_boxes = mlp(s, "obj_bbox_embed", objects).sigmoid()
        results.append((hoi, logits, human_boxes, object_boxes))
    stacked = (torch.stack(values, 1) for values in zip(*results, strict=True))
    return ReferenceOutputs(*stacked, torch.stack(similarities))


def pair_iou(a: list[float], b: list[float]) -> float:
    """IoU of boxes_xyxy whose extents are x2 - x1 + 1."""
    sides = [min(a[i + 2], b[i + 2]) - max(a[i], b[i]) + 1 for i in (0, 1)]
    both = max(sides[0], 0.0) * max(sides[1], 0.0)
    area_a, area_b = ((x[2] - x[0] + 1) * (x[3] - x[1] + 1) for x in (a, b))
    return both / (area_a + area_b - both)


@dataclass(frozen=True)
class ReferenceRow:
    query: int
    hoi: int
    score: float
    human_box_xyxy: list[float]
    object_box_xyxy: list[float] | None


def reference_scores(
    outputs: ReferenceOutputs,
    image: int,
    size: tuple[int, int],
    object_of_hoi: list[int],
    missing: int | None,
    *,
    k: int,
    top: int,
    threshold: float,
) -> list[ReferenceRow]:
    """The released scores of one image, best first: sigmoid enhancement, NMS with + 1 extents.

    `missing` is the object that stands for 'no object' (V-COCO), or None.
    """
    hoi = outputs.hoi_logits[-1, image].sigmoid()
    objects = outputs.object_logits[-1, image][:, :-1]
    similarity = outputs.clip_similarity[image]
    kept = set(similarity.argsort(descending=True)[:k].tolist())
    added = torch.tensor([similarity[c] if c in kept else 0.0 for c in range(len(similarity))])
    scores = hoi + added.sigmoid() + objects.sigmoid()[:, object_of_hoi] ** 2
    best = scores.flatten().argsort(descending=True, stable=True)[:top].tolist()

    def box(boxes: Tensor, query: int) -> list[float]:
        x, y, w, h = boxes[-1, image, query].tolist()
        corners = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        return [v * s for v, s in zip(corners, size * 2, strict=True)]

    rows: list[ReferenceRow] = []
    for place in best:
        query, c = divmod(place, scores.shape[1])
        empty = missing is not None and objects[query].argmax() == missing
        found = ReferenceRow(
            query,
            c,
            scores[query, c].item(),
            box(outputs.human_boxes_cxcywh, query),
            None if empty else box(outputs.object_boxes_cxcywh, query),
        )
        rivals = [row for row in rows if row.hoi == c]
        if all(_overlap(found, rival) <= threshold for rival in rivals):
            rows.append(found)
    return rows


def _overlap(a: ReferenceRow, b: ReferenceRow) -> float:
    if a.object_box_xyxy is None or b.object_box_xyxy is None:
        same = float(a.object_box_xyxy is b.object_box_xyxy)
        return pair_iou(a.human_box_xyxy, b.human_box_xyxy) * same
    human = pair_iou(a.human_box_xyxy, b.human_box_xyxy)
    return human * pair_iou(a.object_box_xyxy, b.object_box_xyxy) ** 0.5
