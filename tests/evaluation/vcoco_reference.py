"""V-COCO's average precisions, written out with plain loops from their definition."""

from __future__ import annotations

import math


def inclusive(box):
    return (box[0], box[1], box[2] - 1, box[3] - 1)


def truth_box(box, size):
    """x, y, x + w - 1, y + h - 1, each within the image's pixels."""
    x1, y1 = box[0], box[1]
    x2 = x1 + max(0.0, box[2] - box[0] - 1)
    y2 = y1 + max(0.0, box[3] - box[1] - 1)
    width, height = size
    return (
        min(width - 1, max(0, x1)),
        min(height - 1, max(0, y1)),
        min(width - 1, max(0, x2)),
        min(height - 1, max(0, y2)),
    )


def iou(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
    shared = width * height
    area_a = (a[2] - a[0] + 1) * (a[3] - a[1] + 1)
    area_b = (b[2] - b[0] + 1) * (b[3] - b[1] + 1)
    return shared / (area_a + area_b - shared)


def area(flags, positives):
    """Area under the envelope, with the points at recall 0 and 1 that close it."""
    recalls, precisions = [0.0], [0.0]
    found = 0
    for seen, flag in enumerate(flags, 1):
        found += flag
        recalls.append(found / positives)
        precisions.append(found / seen)
    recalls.append(1.0)
    precisions.append(0.0)
    for i in range(len(precisions) - 2, -1, -1):
        precisions[i] = max(precisions[i], precisions[i + 1])
    return sum(
        (recalls[i] - recalls[i - 1]) * precisions[i]
        for i in range(1, len(recalls))
        if recalls[i] != recalls[i - 1]
    )


def evaluate(images, detections, verbs, verb_of_hoi):
    """AP of each role and action.

    Args:
        images: dicts size (width, height) and people, as the file lists them: dicts box, labelled,
            and actions: action → role name → object box, list of boxes, or None.
        detections: dicts image (position), query, hoi, human, object (box or None), score.
        verbs: names.
        verb_of_hoi: verb of each HOI class.

    Returns:
        Three dicts, name → AP (NaN without positives): roles in scenario 1, in 2, actions.
    """
    roles = [v for v in verbs if v.endswith(("_obj", "_instr"))]
    stems = [v.rsplit("_", 1)[0] if v in roles else v for v in verbs]
    actions = sorted(set(stems), key=stems.index)
    of_verb = dict(zip(verbs, stems, strict=True))
    results = ({}, {}, {})
    for scenario, values in zip((1, 2), results[:2], strict=True):
        for role in roles:
            chosen = best_of_queries(detections, lambda v, r=role: v == r, verbs, verb_of_hoi)
            values[role] = score(images, chosen, of_verb[role], role, scenario)
    for action in actions:
        chosen = best_of_queries(
            detections, lambda v, a=action: of_verb[v] == a, verbs, verb_of_hoi
        )
        results[2][action] = score(images, chosen, action, None, None)
    return results


def best_of_queries(detections, wanted, verbs, verb_of_hoi):
    best = {}
    for d in detections:
        key = d["image"], d["query"]
        rank = (-d["score"], d["hoi"])
        if wanted(verbs[verb_of_hoi[d["hoi"]]]) and (key not in best or rank < best[key][0]):
            best[key] = rank, d
    return [d for _, d in best.values()]


def score(images, detections, action, role, scenario):
    positives = sum(action in person["actions"] for i in images for person in i["people"])
    if not positives:
        return math.nan
    found, flags = set(), []
    for d in sorted(detections, key=lambda d: (-d["score"], d["image"], d["query"])):
        image = images[d["image"]]
        best, best_overlap = best_person(d, image)
        if best is None:
            flags.append(0)
            continue
        person = image["people"][best]
        if not person["labelled"]:
            continue
        right = action in person["actions"] and best_overlap >= 0.5
        if right and role is not None:
            right = role_overlap(d, person["actions"][action].get(role), image, scenario) >= 0.5
        flags.append(int(right and (d["image"], best) not in found))
        if right:
            found.add((d["image"], best))
    return area(flags, positives)


def best_person(detection, image):
    """The first of the people overlapped most, and the overlap; None and -1 without people."""
    best, best_overlap = None, -1.0
    for number, person in enumerate(image["people"]):
        overlap = iou(inclusive(detection["human"]), truth_box(person["box"], image["size"]))
        if overlap > best_overlap:
            best, best_overlap = number, overlap
    return best, best_overlap


def boxes_of(objects):
    """The objects of a role: a list of boxes, one box, or None."""
    return objects if isinstance(objects, list) else [objects]


def role_overlap(detection, objects, image, scenario):
    overlaps = []
    for box in boxes_of(objects):
        if box is None:
            overlaps.append(1.0 if scenario == 2 or detection["object"] is None else 0.0)
        elif detection["object"] is None:
            overlaps.append(0.0)
        else:
            overlaps.append(iou(inclusive(detection["object"]), truth_box(box, image["size"])))
    return max(overlaps)


def mean(values, leave_out=()):
    kept = [v for k, v in values.items() if k not in leave_out and not math.isnan(v)]
    return 100 * sum(kept) / len(kept) if kept else None
