"""Overlap of boxes, row by row, as every protocol and the pair NMS count it."""

from __future__ import annotations

import numpy as np


def row_iou(
    first_boxes_xyxy: np.ndarray,
    second_boxes_xyxy: np.ndarray,
    *,
    inclusive: bool,
    least_extent: float = 0.0,
) -> np.ndarray:
    """Intersection over union of row i of the one with row i of the other.

    A box whose coordinates are NaN is missing (an interaction without an object): two missing boxes
    overlap fully, a missing and a present one not at all. A box that ends before it begins overlaps
    nothing.

    Args:
        first_boxes_xyxy: (N, 4) in pixels.
        second_boxes_xyxy: (N, 4) in pixels.
        inclusive: whether x2 and y2 name the last pixel inside, so that an extent is x2 - x1 + 1.
        least_extent: an intersection counts where its width and height are both above this.

    Returns:
        (N,) float64 in [0, 1].
    """
    extra = 1.0 if inclusive else 0.0
    first = np.ascontiguousarray(np.asarray(first_boxes_xyxy).T, np.float64)
    second = np.ascontiguousarray(np.asarray(second_boxes_xyxy).T, np.float64)
    width = np.minimum(first[2], second[2]) - np.maximum(first[0], second[0]) + extra
    height = np.minimum(first[3], second[3]) - np.maximum(first[1], second[1]) + extra
    intersection = width * height
    union = (first[2] - first[0] + extra) * (first[3] - first[1] + extra)
    union += (second[2] - second[0] + extra) * (second[3] - second[1] + extra)
    union -= intersection
    iou = np.zeros(len(intersection))
    np.divide(intersection, union, out=iou, where=(width > least_extent) & (height > least_extent))
    iou[np.isnan(first[0]) & np.isnan(second[0])] = 1.0
    return iou
