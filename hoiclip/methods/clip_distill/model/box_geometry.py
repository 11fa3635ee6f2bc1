"""How the two boxes of a pair lie, as numbers. NumPy only."""

from __future__ import annotations

import numpy as np

from hoiclip.methods.clip_distill.caches.pairs import ImagePairs
from hoiclip.pairs.iou import row_iou

_LOG_OFFSET = 1e-6


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
