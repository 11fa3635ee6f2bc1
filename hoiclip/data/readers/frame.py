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
        told = f"all {len(boxes)} boxes of the {whose} lie within one pixel of their image"
        cure = "multiply them by width and height, as boxes are expected in pixels"
        return [f"{told}: they look like fractions of its width and height; {cure}"]
    beyond = (boxes[:, :2] < -_MARGIN * sizes) | (boxes[:, 2:] > (1 + _MARGIN) * sizes + 1)
    count = int(beyond.any(axis=1).sum())
    if count <= _MOST * len(boxes):
        return []
    told = f"{count} of {len(boxes)} boxes of the {whose} reach beyond their"
    looks = "they look like boxes of a resized image, or of x, y, width and height in another order"
    return [f"{told} image as its size is stated: {looks}; boxes are expected in the image's own pixels"]
