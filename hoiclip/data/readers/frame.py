"""Boxes that are not in the pixels of their images, as far as the numbers tell."""

from __future__ import annotations

import numpy as np

_MARGIN = 0.05
"""Share of width or height by which detectors may leave the image."""
_MOST = 0.5


def frame_notes(whose: str, boxes_xyxy: np.ndarray, image_sizes: np.ndarray) -> list[str]:
    """A note where all boxes lie within one pixel, or most reach beyond their image.

    Args:
        whose: the boxes, for the note.
        boxes_xyxy: (N, 4) inclusive or continuous, from 0 or 1; NaN where there is none.
        image_sizes: (N, 2) width and height.
    """
    present = np.isfinite(boxes_xyxy).all(axis=1)
    boxes, sizes = boxes_xyxy[present], image_sizes[present]
    if not len(boxes):
        return []
    # From 1 or with the last pixel included, a fraction of 0..1 is moved by one.
    if (np.abs(boxes[:, :2]) <= 1).all() and (np.abs(boxes[:, 2:]) <= 2).all() and sizes.max() > 2:
        told = f"all {len(boxes)} boxes of the {whose} lie within 1 pixel: they look like fractions"
        return [f"{told} of width and height, but are taken as pixels"]
    beyond = (boxes[:, :2] < -_MARGIN * sizes) | (boxes[:, 2:] > (1 + _MARGIN) * sizes + 1)
    count = int(beyond.any(axis=1).sum())
    if count <= _MOST * len(boxes):
        return []
    told = f"most boxes of the {whose} ({count} of {len(boxes)}) reach beyond the stated image size"
    return [f"{told}: they look like boxes of resized images, but are taken as the image's pixels"]
