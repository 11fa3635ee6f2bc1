"""Wrong detections by kind.

After Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors (ECCV 2020),
carried over from boxes to human-object pairs. Every wrong detection has one kind, the first in this
list that some annotated pair of its image gives it. A box is right if its IoU is enough for the
protocol, and near if it is not, but at least 0.1.

| kind | the annotated pair |
|---|---|
| `duplicate` | of its class, both boxes right: a better scored detection has found it |
| `verb` | both boxes right, its object, another verb |
| `object` | both boxes right, its verb, another object |
| `human_box` | of its class, the object's box right, the human's near |
| `object_box` | of its class, the human's box right, the object's near |
| `verb_and_object` | both boxes right, another verb and another object |
| `both_boxes` | of its class, both boxes near |
| `background` | none |

Of several such pairs it belongs to one that no detection finds, then to the one with the largest
min(IoU_human, IoU_object), then to the first; a duplicate belongs to its best overlap. `missed` are
the annotations that no detection finds and no wrong detection belongs to.
"""

from __future__ import annotations

import numpy as np

from hoiclip.core.vocabulary import Vocabulary
from hoiclip.evaluation.ap.matching import Pairs, candidates, is_enough
from hoiclip.evaluation.ap.protocols import Protocol
from hoiclip.evaluation.errors.oracle import RIGHT, Errors, best_of, unfound
from hoiclip.pairs.iou import row_iou

NEAR = 0.1
DETECTION_KINDS = (
    "duplicate",
    "verb",
    "object",
    "human_box",
    "object_box",
    "verb_and_object",
    "both_boxes",
    "background",
)
RECLASSED = ("verb", "object", "verb_and_object")

_DUPLICATE, _BACKGROUND = (DETECTION_KINDS.index(kind) for kind in ("duplicate", "background"))


def find_errors(
    detections: Pairs,
    truth: Pairs,
    correct: np.ndarray,
    vocabulary: Vocabulary,
    protocol: Protocol,
) -> Errors:
    """Gives each detection that is not `correct` (N,) its kind (see the module).

    Args:
        detections: N pairs by image and query, in the protocol's box convention.
        truth: M pairs.
        correct: (N,) bool, see `matching.true_positives`.
        vocabulary: the classes.
        protocol: the rules.
    """
    kind = np.where(correct, RIGHT, _BACKGROUND)
    target = np.full(len(detections), -1)
    found = np.zeros(len(truth), bool)
    rows, others, relation, overlap = _related(detections, truth, vocabulary, protocol)
    own = np.flatnonzero(correct[rows] & (relation == _DUPLICATE))
    starts, best = best_of(rows[own], -overlap[own])
    target[rows[own][starts]] = others[own][best]
    found[others[own][best]] = True
    wrong = np.flatnonzero(~correct[rows])
    # First the kind counts, then whether the annotation is found, then the overlap, at most 1.
    worse = (2.0 * relation[wrong] + (found[others[wrong]] & (relation[wrong] != _DUPLICATE))) * 2
    starts, best = best_of(rows[wrong], worse - overlap[wrong])
    kind[rows[wrong][starts]] = relation[wrong][best]
    target[rows[wrong][starts]] = others[wrong][best]
    missed = unfound(target, correct, ~correct, len(truth))
    return Errors(DETECTION_KINDS, RECLASSED, kind, target, missed)


def _related(
    detections: Pairs, truth: Pairs, vocabulary: Vocabulary, protocol: Protocol
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Detections and annotations that explain an error: rows, rising, and annotations of each.

    Returns:
        Row, annotation, position in `DETECTION_KINDS`, min(IoU_human, IoU_object), each (P,).
    """
    new = np.ones(len(detections), bool)
    new[1:] = (np.diff(detections.image) != 0) | (np.diff(detections.pair) != 0)
    query, first = np.cumsum(new) - 1, np.flatnonzero(new)
    rule = protocol.rule
    near = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))]
    # The boxes of a query are compared once, not once for each of its classes.
    for queries, others, _ in candidates(detections.image[first], truth.image):
        human, object_ = (
            row_iou(
                boxes[first[queries]],
                truth_boxes[others],
                inclusive=rule.inclusive,
                least_extent=rule.least_extent,
            )
            for boxes, truth_boxes in (
                (detections.human_boxes_xyxy, truth.human_boxes_xyxy),
                (detections.object_boxes_xyxy, truth.object_boxes_xyxy),
            )
        )
        keep = np.minimum(human, object_) >= NEAR
        near.append((queries[keep], others[keep], human[keep], object_[keep]))
    near_query, near_truth, human, object_ = (np.concatenate(c) for c in zip(*near, strict=True))
    overlap = np.minimum(human, object_)
    boxes_right = is_enough(human, rule).astype(np.int8) + 2 * is_enough(object_, rule)
    parts = [(near_query[:0], near_truth[:0], np.zeros(0, np.int8), overlap[:0])]
    for rows, places, _ in candidates(query, near_query):
        others = near_truth[places]
        hoi, truth_hoi = detections.hoi[rows], truth.hoi[others]
        relation = _RELATIONS[
            (vocabulary.verb_of_hoi[hoi] == vocabulary.verb_of_hoi[truth_hoi]).astype(np.int8),
            (vocabulary.object_of_hoi[hoi] == vocabulary.object_of_hoi[truth_hoi]).astype(np.int8),
            boxes_right[places],
        ]
        keep = relation != _BACKGROUND
        parts.append((rows[keep], others[keep], relation[keep], overlap[places[keep]]))
    row, annotation, kind, least = (np.concatenate(c) for c in zip(*parts, strict=True))
    return row, annotation, kind, least


def _relations() -> np.ndarray:
    """(2, 2, 4) kind by: same verb, same object, boxes right (1 the human's + 2 the object's)."""
    kinds = np.full((2, 2, 4), _BACKGROUND, np.int8)
    own_class = ("both_boxes", "object_box", "human_box", "duplicate")
    kinds[1, 1] = [DETECTION_KINDS.index(kind) for kind in own_class]
    for verb, object_, kind in ((0, 1, "verb"), (1, 0, "object"), (0, 0, "verb_and_object")):
        kinds[verb, object_, 3] = DETECTION_KINDS.index(kind)
    return kinds


_RELATIONS = _relations()
