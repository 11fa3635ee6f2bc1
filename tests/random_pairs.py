"""Random outputs and targets for matcher and criterion, and the matching done slowly."""

from __future__ import annotations

import itertools
import math

import torch

from hoiclip.set_prediction.matcher import LayerOutputs, MatchingConfig
from hoiclip.set_prediction.model.outputs import Outputs
from hoiclip.set_prediction.model.targets import Targets

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


def layer_of(outputs: Outputs, layer: int) -> LayerOutputs:
    return LayerOutputs(
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


def slow_cost(
    layer: LayerOutputs, image: int, query: int, targets: Targets, target: int, c: MatchingConfig
) -> float:
    """The cost formula, in plain numbers."""
    p = [1 / (1 + math.exp(-x)) for x in layer.hoi_logits[image, query].tolist()]
    label = targets.hoi_labels[target].tolist()
    positive = sum(a * b for a, b in zip(p, label, strict=True))
    negative = sum((1 - a) * (1 - b) for a, b in zip(p, label, strict=True))
    of_hoi = -0.5 * (positive / (sum(label) + 1e-4) + negative / (len(label) - sum(label) + 1e-4))
    exponentials = [math.exp(x) for x in layer.object_logits[image, query].tolist()]
    of_object = -exponentials[int(targets.objects[target])] / sum(exponentials)
    human = (
        layer.human_boxes_cxcywh[image, query].tolist(),
        targets.human_boxes_cxcywh[target].tolist(),
    )
    found = layer.object_boxes_cxcywh[image, query].tolist()
    l1, giou = slow_l1(*human), -slow_giou(*human)
    if targets.has_object[target]:
        object_ = (found, targets.object_boxes_cxcywh[target].tolist())
        l1, giou = max(l1, slow_l1(*object_)), max(giou, -slow_giou(*object_))
    elif c.missing_object_giou == "released":
        giou += -slow_giou(found, [0.0] * 4)
    return c.hoi * of_hoi + c.object * of_object + c.l1 * l1 + c.giou * giou


def slow_matching(
    layer: LayerOutputs, targets: Targets, config: MatchingConfig
) -> dict[tuple[int, int], int]:
    """(image, query) → target, by trying every assignment of each image."""
    queries, matched, start = layer.hoi_logits.shape[1], {}, 0
    for image, count in enumerate(targets.counts):
        own = range(start, start + count)
        costs = {
            (q, t): slow_cost(layer, image, q, targets, t, config)
            for q in range(queries)
            for t in own
        }
        size = min(queries, count)
        best = min(
            (
                list(zip(qs, ts, strict=True))
                for qs in itertools.combinations(range(queries), size)
                for ts in itertools.permutations(own, size)
            ),
            key=lambda pairs: sum(costs[pair] for pair in pairs),
        )
        matched |= {(image, q): t for q, t in best}
        start += count
    return matched


def slow_l1(a: list[float], b: list[float]) -> float:
    return sum(abs(x - y) for x, y in zip(a, b, strict=True))
