"""Candidate pairs of an image's detections. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from hoiclip.core.vocabulary import Vocabulary
from hoiclip.methods.clip_distill.caches.detections import Detections

NO_OBJECT = -1
"""Stands for the detection that a pair without an object has not."""


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
