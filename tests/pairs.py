"""Random outputs and targets for matcher and criterion."""

from __future__ import annotations

import torch

from hoiclip.model.hoiclip import Outputs
from hoiclip.targets import Targets

CLASSES, OBJECT_LOGITS = 5, 4


def random_boxes_cxcywh(*shape: int) -> torch.Tensor:
    centre, size = torch.rand(2, *shape, 2) * 0.5
    return torch.cat([centre + 0.25, size + 0.05], -1)


def random_targets(counts: list[int], missing: bool = False) -> Targets:
    """Pairs with one to all classes; with `missing`, every second has no object."""
    total = sum(counts)
    labels = (torch.rand(total, CLASSES) < 0.4).float()
    labels[torch.arange(total), torch.randint(CLASSES, (total,))] = 1
    has_object = torch.ones(total, dtype=torch.bool)
    if missing:
        has_object[::2] = False
    boxes = random_boxes_cxcywh(total)
    boxes[~has_object] = 0
    objects = torch.randint(OBJECT_LOGITS - 1, (total,))
    return Targets(counts, labels, objects, random_boxes_cxcywh(total), boxes, has_object)


def random_outputs(images: int, queries: int, layers: int = 2) -> Outputs:
    return Outputs(
        torch.randn(layers, images, queries, CLASSES, requires_grad=True),
        torch.randn(layers, images, queries, OBJECT_LOGITS, requires_grad=True),
        random_boxes_cxcywh(layers, images, queries).requires_grad_(),
        random_boxes_cxcywh(layers, images, queries).requires_grad_(),
        torch.zeros(images, CLASSES),
    )


def layer_of(outputs: Outputs, layer: int) -> tuple[torch.Tensor, ...]:
    return (
        outputs.hoi_logits[layer],
        outputs.object_logits[layer],
        outputs.human_boxes_cxcywh[layer],
        outputs.object_boxes_cxcywh[layer],
    )


def slow_giou(a_cxcywh: list[float], b_cxcywh: list[float]) -> float:
    """Generalised IoU of two boxes, in plain numbers."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = a_cxcywh, b_cxcywh
    left, right = max(ax - aw / 2, bx - bw / 2), min(ax + aw / 2, bx + bw / 2)
    top, bottom = max(ay - ah / 2, by - bh / 2), min(ay + ah / 2, by + bh / 2)
    both = max(right - left, 0) * max(bottom - top, 0)
    union = aw * ah + bw * bh - both
    hull_width = max(ax + aw / 2, bx + bw / 2) - min(ax - aw / 2, bx - bw / 2)
    hull_height = max(ay + ah / 2, by + bh / 2) - min(ay - ah / 2, by - bh / 2)
    hull = hull_width * hull_height
    return both / union - (hull - union) / hull


def slow_l1(a: list[float], b: list[float]) -> float:
    return sum(abs(x - y) for x, y in zip(a, b, strict=True))
