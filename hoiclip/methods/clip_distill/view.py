"""What CLIP is shown of an image: padded to a square, or the centre that it cuts out itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from PIL import Image
from torch import Tensor

from hoiclip.clip.encoder import ClipVisual


def clip_view(clip: ClipVisual, view: Literal["pad", "crop"]) -> Callable[[Image.Image], Tensor]:
    """Makes an RGB image CLIP's input, (3, R, R).

    CLIP's own preprocessing cuts the ends off what is not square: of a union, the person or the
    object. `pad` shows all of it, on CLIP's mean colour.
    """
    return PaddedView(clip) if view == "pad" else clip.preprocess


class PaddedView:
    """Scales the longer side to R and pads the shorter one on both sides; can be pickled.

    Args:
        clip: gives R, the mean colour and the normalisation.
    """

    def __init__(self, clip: ClipVisual) -> None:
        self.side = clip.image_size
        self.colour = tuple(round(255 * value) for value in clip.mean)
        self.preprocess = clip.preprocess

    def __call__(self, image: Image.Image) -> Tensor:
        """An RGB image → (3, R, R)."""
        width, height = scaled_size(image.size, self.side)
        scaled = image.resize((width, height), Image.Resampling.BICUBIC)
        square = Image.new("RGB", (self.side, self.side), self.colour)
        square.paste(scaled, ((self.side - width) // 2, (self.side - height) // 2))
        return self.preprocess(square)


def scaled_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Width and height of an image scaled so that the longer one is `side`; at least a pixel."""
    longest = max(size)
    width, height = (max(1, round(length * side / longest)) for length in size)
    return width, height


def boxes_in_view(boxes_xyxy: np.ndarray, size: tuple[int, int], side: int) -> np.ndarray:
    """Boxes where `PaddedView` shows them, cut to what it shows of the image.

    Args:
        boxes_xyxy: (N, 4) in pixels of the image.
        size: its width and height, px.
        side: R.

    Returns:
        (N, 4) float32 in [0, 1] of the square.
    """
    scaled = scaled_size(size, side)
    margin = np.array([(side - length) // 2 for length in scaled] * 2)
    scale = np.array([new / old for new, old in zip(scaled, size, strict=True)] * 2)
    inside = np.clip(boxes_xyxy, 0, np.array([*size, *size]))
    return ((inside * scale + margin) / side).astype(np.float32)
