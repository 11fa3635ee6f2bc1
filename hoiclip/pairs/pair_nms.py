"""Non-maximum suppression of pairs of boxes, within each HOI class of each image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hoiclip.pairs.iou import row_iou
from hoiclip.util.ranges import Config, Power, Probability


@dataclass(frozen=True, kw_only=True)
class PairNms(Config):
    """Pair NMS within each HOI class of an image (`predict.nms` in params.yaml).

    Attributes:
        threshold: a pair goes above this product of IoUs; 0 in params.yaml turns NMS off.
        human_power: exponent of the human boxes' IoU.
        object_power: exponent of the object boxes' IoU.
        plus_one_extents: whether boxes end one pixel later, as in the released code.
    """

    threshold: Probability
    human_power: Power
    object_power: Power
    plus_one_extents: bool


PAPER_NMS = PairNms(threshold=0.7, human_power=1.0, object_power=0.5, plus_one_extents=False)
"""The paper's."""


def pair_nms(
    human_boxes_xyxy: np.ndarray,
    object_boxes_xyxy: np.ndarray,
    classes: np.ndarray,
    scores: np.ndarray,
    threshold: float = 0.7,
    human_power: float = 1.0,
    object_power: float = 0.5,
    *,
    plus_one_extents: bool = False,
) -> np.ndarray:
    """Greedy non-maximum suppression of pairs of boxes within each class.

    A row goes when a kept row of its class that comes before it (higher score; equal scores: the
    earlier row) has IoU_human ** human_power * IoU_object ** object_power > threshold.

    Args:
        human_boxes_xyxy: (N, 4) in pixels.
        object_boxes_xyxy: (N, 4) in pixels; NaN where there is no object.
        classes: (N,) integers; for several images at once, one number per (image, HOI class).
        scores: (N,).
        threshold: overlap above which a row is suppressed.
        human_power: exponent of the human IoU, >= 0.
        object_power: exponent of the object IoU, >= 0.
        plus_one_extents: whether an extent is x2 - x1 + 1, as in the released code.

    Returns:
        (N,) bool: whether the row is kept.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    order = order[np.argsort(np.asarray(classes)[order], kind="stable")]
    ahead, behind = _pairs_within_runs(np.asarray(classes)[order])
    ahead, behind = order[ahead], order[behind]
    # A power of an IoU is at most 1, so that most rows are settled by the human boxes alone.
    overlap = _power_iou(human_boxes_xyxy, ahead, behind, human_power, plus_one_extents)
    near = overlap > threshold
    ahead, behind, overlap = ahead[near], behind[near], overlap[near]
    overlap *= _power_iou(object_boxes_xyxy, ahead, behind, object_power, plus_one_extents)
    near = overlap > threshold
    ahead, behind = ahead[near], behind[near]

    removed = np.zeros(len(order), bool)
    while len(ahead):
        blocked = np.zeros(len(order), bool)
        blocked[behind] = True
        removed[behind[~blocked[ahead]]] = True
        open_ = blocked[ahead] & ~removed[ahead] & ~removed[behind]
        ahead, behind = ahead[open_], behind[open_]
    return ~removed


def _power_iou(
    boxes: np.ndarray, first: np.ndarray, second: np.ndarray, power: float, inclusive: bool
) -> np.ndarray:
    return row_iou(boxes[first], boxes[second], inclusive=inclusive) ** power


def _pairs_within_runs(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All positions i < j of one run of equal, adjacent `labels`."""
    starts = np.flatnonzero(np.diff(labels, prepend=labels[:1] - 1)) if len(labels) else labels
    lengths = np.diff(starts, append=len(labels))
    following = np.repeat(starts + lengths, lengths) - np.arange(len(labels)) - 1
    first = np.repeat(np.arange(len(labels)), following)
    skipped = np.repeat(np.cumsum(following) - following, following)
    return first, first + 1 + np.arange(len(first)) - skipped
