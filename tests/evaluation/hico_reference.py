"""The three HICO-DET protocols, each written out with plain loops from its definition."""

from __future__ import annotations

import math


def matlab_iou(a, b):
    """Inclusive pixels: an extent is x2 - x1 + 1."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    area_a = (a[2] - a[0] + 1) * (a[3] - a[1] + 1)
    area_b = (b[2] - b[0] + 1) * (b[3] - b[1] + 1)
    return shared / (area_a + area_b - shared)


def port_iou(a, b):
    """As Matlab's, but boxes whose corners do not strictly overlap share nothing."""
    if max(a[0], b[0]) >= min(a[2], b[2]) or max(a[1], b[1]) >= min(a[3], b[3]):
        return 0.0
    return matlab_iou(a, b)


def continuous_iou(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = width * height
    if shared == 0:
        return 0.0
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def with_missing(convert, iou):
    """Boxes that are None match one another and no others."""

    def convert_all(box):
        return None if box is None else convert(box)

    def iou_all(a, b):
        return float(a is b) if a is None or b is None else iou(a, b)

    return convert_all, iou_all


PROTOCOLS = {
    "hico": (
        *with_missing(lambda b: (b[0] + 1, b[1] + 1, b[2], b[3]), matlab_iou),
        lambda v: v >= 0.5,
    ),
    "hoiclip": (
        *with_missing(lambda b: (b[0], b[1], b[2] - 1, b[3] - 1), port_iou),
        lambda v: v >= 0.5,
    ),
    "pocket": (*with_missing(tuple, continuous_iou), lambda v: v > 0.5),
}


MATLAB = [0.0, 0.1, 0.2, 3 * 0.1, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
"""Matlab's 0:0.1:1: the doubles nearest to the tenths, but for 0.3, which it makes as 3 * 0.1."""


def eleven_points(flags, num_truths, protocol):
    """AP of detections in falling order of score; flags tell which are right."""
    points = []
    found = 0
    for seen, flag in enumerate(flags, 1):
        found += flag
        points.append((found, found / seen))
    total = 0.0
    for k in range(11):
        if protocol == "hico":
            reached = [p for t, p in points if t / num_truths >= MATLAB[k]]
        elif protocol == "hoiclip":
            reached = [p for t, p in points if t / num_truths >= k * 0.1]
        else:
            reached = [p for t, p in points if 10 * t >= k * num_truths]
        total += max(reached, default=0.0)
    return total / 11


def evaluate(detections, truths, object_of_hoi, protocol):
    """Per-class results.

    Args:
        detections: dicts image, query, hoi, human, object (boxes, continuous), score.
        truths: dicts image, hoi, human, object.
        object_of_hoi: object of each class.
        protocol: name.

    Returns:
        setting → list of AP (NaN without truth), and the list of maximal recalls.
    """
    convert, iou, enough = PROTOCOLS[protocol]
    results = {"default": [], "known_object": []}
    recalls = []
    by_class = [[] for _ in object_of_hoi]
    truths_of = [{} for _ in object_of_hoi]
    for d in detections:
        by_class[d["hoi"]].append(d)
    for t in truths:
        boxes = convert(t["human"]), convert(t["object"])
        truths_of[t["hoi"]].setdefault(t["image"], []).append(boxes)
    images_of_object = {}
    for t in truths:
        images_of_object.setdefault(object_of_hoi[t["hoi"]], set()).add(t["image"])
    for hoi, object_ in enumerate(object_of_hoi):
        num_truths = sum(len(boxes) for boxes in truths_of[hoi].values())
        if num_truths == 0:
            results["default"].append(math.nan)
            results["known_object"].append(math.nan)
            recalls.append(math.nan)
            continue
        taken = {image: [False] * len(boxes) for image, boxes in truths_of[hoi].items()}
        flags, images = [], []
        for d in sorted(by_class[hoi], key=lambda d: (-d["score"], d["image"], d["query"])):
            human, object_box = convert(d["human"]), convert(d["object"])
            best, best_index = -1.0, None
            for index, boxes in enumerate(truths_of[hoi].get(d["image"], [])):
                overlap = min(iou(human, boxes[0]), iou(object_box, boxes[1]))
                if overlap > best:
                    best, best_index = overlap, index
            right = best_index is not None and enough(best) and not taken[d["image"]][best_index]
            if right:
                taken[d["image"]][best_index] = True
            flags.append(int(right))
            images.append(d["image"])
        known = images_of_object[object_]
        results["default"].append(eleven_points(flags, num_truths, protocol))
        kept = [f for f, image in zip(flags, images, strict=True) if image in known]
        results["known_object"].append(eleven_points(kept, num_truths, protocol))
        recalls.append(sum(flags) / num_truths)
    return results, recalls


def subset_mean(values, members):
    """Mean of the members that have a value, in percent; None without any."""
    kept = [v for v, m in zip(values, members, strict=True) if m and not math.isnan(v)]
    return 100 * sum(kept) / len(kept) if kept else None


def pair_recall(detections, truths, object_of_hoi, protocol):
    """Percent of distinct annotated (human, object of a class) that a detection covers."""
    convert, iou, enough = PROTOCOLS[protocol]
    pairs = {
        (t["image"], tuple(t["human"]), t["object"] and tuple(t["object"]), object_of_hoi[t["hoi"]])
        for t in truths
    }
    of_image = {}
    for d in detections:
        of_image.setdefault(d["image"], []).append(d)
    found = 0
    for image, human, object_, _ in pairs:
        found += any(
            enough(
                min(
                    iou(convert(d["human"]), convert(human)),
                    iou(convert(d["object"]), convert(object_)),
                )
            )
            for d in of_image.get(image, [])
        )
    return 100 * found / len(pairs) if pairs else None
