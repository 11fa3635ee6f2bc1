"""Cutting boxes out of images, as CLIP is shown pairs and objects."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image


def enclosing_box(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Smallest box (4,) around boxes (n, 4)."""
    return np.concatenate([boxes_xyxy[:, :2].min(0), boxes_xyxy[:, 2:].max(0)])


def crop(image: Image.Image, box_xyxy: np.ndarray) -> Image.Image:
    """The pixels that a continuous box touches, within the image; at least one pixel.

    Args:
        image: the picture.
        box_xyxy: (4,), 0-based, in pixels of `image`; may leave it.
    """
    left = min(max(math.floor(box_xyxy[0]), 0), image.width - 1)
    top = min(max(math.floor(box_xyxy[1]), 0), image.height - 1)
    right = max(min(math.ceil(box_xyxy[2]), image.width), left + 1)
    bottom = max(min(math.ceil(box_xyxy[3]), image.height), top + 1)
    return image.crop((left, top, right, bottom))
