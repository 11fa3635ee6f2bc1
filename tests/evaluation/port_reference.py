"""The released in-memory evaluator of HICO-DET, with plain loops: boxes are compared as they are.

Predictions: {file_name: {boxes: [xyxy], hois: [(subject, object, HOI class, score)]}}; annotations
likewise, without scores.
"""

from __future__ import annotations

import math


def overlap(a, b):
    """0 unless the corners strictly overlap; extents count both end pixels."""
    left, right = max(a[0], b[0]), min(a[2], b[2])
    top, bottom = max(a[1], b[1]), min(a[3], b[3])
    if left >= right or top >= bottom:
        return 0.0
    shared = (right - left + 1) * (bottom - top + 1)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return shared / (sum(areas) - shared)


def evaluate(predictions, annotations, rare):
    """{full, rare, non_rare} in percent.

    Full counts a class without predictions as 0; rare and non-rare leave it out.
    """
    found = {}
    for name, truth in annotations.items():
        predicted = predictions.get(name, {"boxes": [], "hois": []})
        taken = set()
        for subject, other, hoi, score in by_score(predicted["hois"]):
            best, best_overlap = None, 0.0
            for index, (person, object_, annotated) in enumerate(truth["hois"]):
                if annotated != hoi:
                    continue
                both = [
                    overlap(predicted["boxes"][p], truth["boxes"][t])
                    for p, t in ((subject, person), (other, object_))
                ]
                if min(both) >= 0.5 and min(both) > best_overlap:
                    best, best_overlap = index, min(both)
            right = best is not None and best not in taken
            if right:
                taken.add(best)
            found.setdefault(hoi, []).append((score, right))
    counts = {}
    for truth in annotations.values():
        for *_, hoi in truth["hois"]:
            counts[hoi] = counts.get(hoi, 0) + 1
    values = {hoi: average_precision(found.get(hoi, []), n) for hoi, n in counts.items()}
    predicted = {hoi: value for hoi, value in values.items() if hoi in found}
    return {
        "full": mean(values.values()),
        "rare": mean(v for hoi, v in predicted.items() if hoi in rare),
        "non_rare": mean(v for hoi, v in predicted.items() if hoi not in rare),
    }


def by_score(hois):
    """Falling; of equal ones, the pair that the file names first."""
    first = {}
    for subject, other, *_ in hois:
        first.setdefault((subject, other), len(first))
    return sorted(hois, key=lambda row: (-row[3], first[row[:2]]))


def average_precision(found, positives):
    points, right = [], 0
    for seen, (_, correct) in enumerate(sorted(found, key=lambda row: -row[0]), 1):
        right += correct
        points.append((right / positives, right / seen))
    steps = [i * 0.1 for i in range(11)]
    return sum(max((p for r, p in points if r >= step), default=0.0) for step in steps) / 11


def mean(values):
    values = list(values)
    return 100 * math.fsum(values) / len(values) if values else None
