"""Boxes that are not in the pixels of their images, as far as the numbers tell."""

from __future__ import annotations

import numpy as np

_MARGIN = 0.05
"""Share of width or height by which detectors may leave the image."""
_NO_IMAGE_REACHES = 2.0**31
_MOST = 0.5
_MANY = 0.3
"""Of boxes of x, y, width and height, two thirds end before they begin in HICO-DET."""


def frame_notes(whose: str, boxes_xyxy: np.ndarray, image_sizes: np.ndarray) -> list[str]:
    """A note where all boxes lie within one pixel, many end before they begin, or most reach beyond
    their image.

    Args:
        whose: the boxes, for the note.
        boxes_xyxy: (N, 4) inclusive or continuous, from 0 or 1; NaN where there is none.
        image_sizes: (N, 2) width and height.
    """
    present = (np.abs(boxes_xyxy) < _NO_IMAGE_REACHES).all(axis=1)
    boxes, sizes = boxes_xyxy[present], image_sizes[present]
    if not len(boxes):
        return []
    # From 1 or with the last pixel included, a fraction of 0..1 is moved by one.
    if (np.abs(boxes[:, :2]) <= 1).all() and (np.abs(boxes[:, 2:]) <= 2).all() and sizes.max() > 2:
        told = f"all {len(boxes)} boxes of the {whose} lie within 1 pixel: they look like fractions"
        return [f"{told} of width and height, but are taken as pixels"]
    turned = int((boxes[:, 2:] < boxes[:, :2]).any(axis=1).sum())
    if turned > _MANY * len(boxes):
        told = f"many boxes of the {whose} ({turned} of {len(boxes)}) end before they begin"
        return [f"{told}: they look like {_extents(boxes, sizes)}, but are taken as x1, y1, x2, y2"]
    beyond = (boxes[:, :2] < -_MARGIN * sizes) | (boxes[:, 2:] > (1 + _MARGIN) * sizes + 1)
    count = int(beyond.any(axis=1).sum())
    if count <= _MOST * len(boxes):
        return []
    told = f"most boxes of the {whose} ({count} of {len(boxes)}) reach beyond the stated image size"
    return [f"{told}: they look like boxes of resized images, but are taken as the image's pixels"]


def _extents(boxes: np.ndarray, sizes: np.ndarray) -> str:
    """Whether (N, 4) boxes with width and height begin with a corner or the centre."""
    from_corner = boxes[:, :2] + boxes[:, 2:] <= (1 + _MARGIN) * sizes
    from_centre = (boxes[:, :2] - boxes[:, 2:] / 2 >= -_MARGIN * sizes) & (
        boxes[:, :2] + boxes[:, 2:] / 2 <= (1 + _MARGIN) * sizes
    )
    is_corner = from_corner.all(axis=1).sum() >= from_centre.all(axis=1).sum()
    return "x, y, width, height" if is_corner else "centre x, centre y, width, height"
