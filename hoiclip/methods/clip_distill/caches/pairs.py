"""Candidate pairs of an image's detections, and the geometry of their boxes. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from hoiclip.core.vocabulary import Vocabulary
from hoiclip.methods.clip_distill.caches.detections import Detections
from hoiclip.pairs.iou import row_iou

NO_OBJECT = -1
"""Stands for the detection that a pair without an object has not."""

_LOG_OFFSET = 1e-6


@dataclass(frozen=True)
class ImagePairs:
    """P pairs of detections of one image.

    Attributes:
        human: (P,) int64, position of the human among the detections.
        object: (P,) int64, position of the object; `NO_OBJECT` where there is none.
        human_boxes_xyxy: (P, 4) float32, in pixels of the image, not clipped.
        object_boxes_xyxy: (P, 4); NaN where there is no object.
        union_boxes_xyxy: (P, 4), the smallest box around both; the human's where there is no
            object.
        objects: (P,) int64, object class; the number of objects stands for 'no object'.
        scores: (P,) float32, product of both detections' scores; the human's where there is no
            object.
    """

    human: np.ndarray
    object: np.ndarray
    human_boxes_xyxy: np.ndarray
    object_boxes_xyxy: np.ndarray
    union_boxes_xyxy: np.ndarray
    objects: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.human)

    def __getitem__(self, chosen: np.ndarray) -> ImagePairs:
        """Those that an index array or a mask chooses."""
        return ImagePairs(*(getattr(self, field.name)[chosen] for field in fields(self)))


def make_pairs(
    detections: Detections, vocabulary: Vocabulary, max_pairs: int | None = None
) -> ImagePairs:
    """Every person with every other detection whose class occurs in an HOI class.

    Two people are a pair in both orders where the vocabulary has classes of a person with a person;
    nobody is a pair with himself. Where some class has no object, each person is also a pair
    without one, after his others.

    Args:
        detections: of the image.
        vocabulary: objects and HOI classes.
        max_pairs: keeps the pairs of the highest scores, of equal ones the first; None keeps all.

    Returns:
        Pairs by human, then by object, in the order of the detections; possibly none.
    """
    with_classes = np.isin(detections.objects, vocabulary.object_of_hoi)
    people = np.flatnonzero(detections.objects == vocabulary.person)
    partners = np.flatnonzero(with_classes)
    if vocabulary.has_missing_objects:
        partners = np.append(partners, NO_OBJECT)
    human = np.repeat(people, len(partners))
    object_ = np.tile(partners, len(people))
    human, object_ = human[human != object_], object_[human != object_]
    pairs = pairs_of(detections, human, object_, vocabulary.num_objects)
    if max_pairs is not None and len(pairs) > max_pairs:
        pairs = pairs[np.sort(np.argsort(-pairs.scores, kind="stable")[:max_pairs])]
    return pairs


def detected_objects(detections: Detections, vocabulary: Vocabulary) -> np.ndarray:
    """Object classes of which the image is asked what is done with them, whichever pairs are kept.

    Every detected class with HOI classes, also where nobody is detected beside it. A person counts
    where there are two or more: one alone is the human of his pairs, and the object of none. Where
    some HOI class has no object, 'no object' counts as soon as there is a person.

    Args:
        detections: of the image.
        vocabulary: objects and HOI classes.

    Returns:
        Each class once, ascending; the number of objects stands for 'no object'. Where there is a
        person these are the classes of the image's pairs, were all of them taken.
    """
    people = np.count_nonzero(detections.objects == vocabulary.person)
    found = np.intersect1d(detections.objects, vocabulary.object_of_hoi)
    if people == 1:
        found = found[found != vocabulary.person]
    if people and vocabulary.has_missing_objects:
        found = np.append(found, vocabulary.num_objects)
    return found


def pairs_of(
    detections: Detections, human: np.ndarray, object_: np.ndarray, num_objects: int
) -> ImagePairs:
    """Pairs of given detections.

    Args:
        detections: of the image.
        human: (P,) positions of the humans.
        object_: (P,) positions of the objects, `NO_OBJECT` for none.
        num_objects: of the vocabulary.
    """
    alone = object_ == NO_OBJECT
    # Where there is no object, the human stands in for it, and what differs is set below.
    partner = np.where(alone, human, object_).astype(np.int64)
    first, second = detections.boxes_xyxy[human], detections.boxes_xyxy[partner]
    low = np.minimum(first[:, :2], second[:, :2])
    high = np.maximum(first[:, 2:], second[:, 2:])
    scores = detections.scores[human]
    return ImagePairs(
        human.astype(np.int64),
        object_.astype(np.int64),
        first,
        np.where(alone[:, None], np.float32(np.nan), second),
        np.concatenate([low, high], 1),
        np.where(alone, num_objects, detections.objects[partner]),
        np.where(alone, scores, scores * detections.scores[partner]),
    )


def box_geometry(pairs: ImagePairs, size: tuple[int, int]) -> np.ndarray:
    """36 numbers that say how two boxes lie, after UPT's (Zhang et al., CVPR 2022).

    18 of them, and the logarithm of each plus 1e-6: centre x and y, width and height of the human's
    box and of the object's, in parts of the image; both areas, likewise; both widths by their
    heights; the object's area by the human's; the boxes' IoU; how far the object's centre is to the
    left, right, above and below of the human's, in widths and heights of the human's box.

    Boxes are cut to the image, with sides of a pixel at least. A missing object has the human's
    box.

    Args:
        pairs: P pairs.
        size: width and height of the image, px.

    Returns:
        (P, 36) float32, finite.
    """
    limit = np.array([*size, *size], np.float64)
    human = _cut(pairs.human_boxes_xyxy, limit)
    object_ = np.where(
        np.isnan(pairs.object_boxes_xyxy), human, _cut(pairs.object_boxes_xyxy, limit)
    )
    sides = [box[:, 2:] - box[:, :2] for box in (human, object_)]
    centres = [(box[:, 2:] + box[:, :2]) / 2 for box in (human, object_)]
    areas = [side.prod(1, keepdims=True) for side in sides]
    offset = (centres[1] - centres[0]) / sides[0]
    numbers = np.concatenate(
        [
            *(value / limit[:2] for value in (centres[0], sides[0], centres[1], sides[1])),
            *(area / limit[:2].prod() for area in areas),
            *(side[:, :1] / side[:, 1:] for side in sides),
            areas[1] / areas[0],
            row_iou(human, object_, inclusive=False)[:, None],
            np.maximum(-offset, 0)[:, :1],
            np.maximum(offset, 0)[:, :1],
            np.maximum(-offset, 0)[:, 1:],
            np.maximum(offset, 0)[:, 1:],
        ],
        1,
    )
    return np.concatenate([numbers, np.log(numbers + _LOG_OFFSET)], 1).astype(np.float32)


def _cut(boxes_xyxy: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Boxes (P, 4) cut to the image, each side at least a pixel long and inside."""
    low = np.clip(boxes_xyxy[:, :2].astype(np.float64), 0, limit[:2] - 1)
    high = np.clip(boxes_xyxy[:, 2:], low + 1, limit[2:])
    return np.concatenate([low, high], 1)
