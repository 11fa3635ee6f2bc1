"""Augmentation and resizing of images with their pairs of boxes (DETR's, as QPIC uses them)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from hoiclip.core.config import check
from hoiclip.util.ranges import Config, Pixels, Probability, Range

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class TransformsConfig(Config):
    """Image sizes and augmentation.

    Attributes:
        flip: probability of a horizontal flip (paper: 0.5).
        color_jitter: strength of brightness, contrast and saturation jitter (0.4); 0 is none.
        scales: shorter sides to choose from in training, px (480..800 step 32); none leaves the
            image as it is.
        crop_scales: shorter sides before a random crop, which half of the images get (400, 500,
            600); none never crops.
        crop_sides: least and largest side of the crop, px (384, 600).
        max_side: longest side after resizing, px (1333); the resize before a crop has no limit.
        test_scale: shorter side in inference, px (800); 0 leaves the image as it is.
    """

    flip: Probability
    color_jitter: Annotated[float, Range(0, 10)]
    scales: list[Pixels]
    crop_scales: list[Pixels]
    crop_sides: list[Pixels]
    max_side: Pixels
    test_scale: Annotated[int, Range(0, 16_384)]

    @property
    def only_flips(self) -> bool:
        """Whether an image has just two versions, itself and its mirror image."""
        return self.color_jitter == 0 and not self.scales and not self.crop_scales

    def __post_init__(self) -> None:
        super().__post_init__()
        ascending = len(self.crop_sides) == 2 and self.crop_sides[0] <= self.crop_sides[1]
        check(ascending, f"crop_sides: {self.crop_sides}, expected the least and the largest side")


@dataclass(frozen=True)
class View:
    """An image as a detector sees it, with its P pairs.

    Attributes:
        image: RGB.
        human_boxes_xyxy: (P, 4), pixels of `image`.
        object_boxes_xyxy: (P, 4); NaN where a pair has no object.
        kept: (P,) bool, false for pairs of which a crop left nothing of a box.
        flipped: whether it is mirrored.
    """

    image: Image.Image
    human_boxes_xyxy: np.ndarray
    object_boxes_xyxy: np.ndarray
    kept: np.ndarray
    flipped: bool = False

    def _with_boxes(self, function: Callable[[np.ndarray], np.ndarray]) -> View:
        return replace(
            self,
            human_boxes_xyxy=function(self.human_boxes_xyxy),
            object_boxes_xyxy=function(self.object_boxes_xyxy),
        )

    def clamped(self) -> View:
        """Boxes cut to the image; pairs with an emptied box are marked."""
        limit = np.array([self.image.width, self.image.height] * 2, np.float64)
        clamped = self._with_boxes(lambda b: np.clip(b, 0, limit))
        kept = self.kept.copy()
        for boxes in (clamped.human_boxes_xyxy, clamped.object_boxes_xyxy):
            sides = boxes[:, 2:] - boxes[:, :2]
            kept &= np.isnan(sides).any(1) | (sides > 0).all(1)
        return replace(clamped, kept=kept)

    def mirrored(self) -> View:
        """The mirror image."""
        width = self.image.width

        def mirror(boxes: np.ndarray) -> np.ndarray:
            return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)

        image = self.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return replace(self._with_boxes(mirror), image=image, flipped=not self.flipped)

    def resized(self, shorter: int, longest: int | None = None) -> View:
        """Resized so that the shorter side is `shorter`, or the longer one about `longest`."""
        width, height = resized_size(*self.image.size, shorter, longest)
        if (width, height) == self.image.size:
            return self
        scale = np.array([width / self.image.width, height / self.image.height] * 2)
        image = self.image.resize((width, height), Image.Resampling.BILINEAR)
        return replace(self._with_boxes(lambda b: b * scale), image=image)

    def cropped(self, left: int, top: int, width: int, height: int) -> View:
        """The given part of the image; boxes are cut to it."""
        image = self.image.crop((left, top, left + width, top + height))
        offset = np.array([left, top, left, top])
        return replace(self._with_boxes(lambda b: b - offset), image=image).clamped()


def resized_size(width: int, height: int, shorter: int, longest: int | None) -> tuple[int, int]:
    """Size after resizing, by DETR's rule: the other side is truncated to an integer.

    Sides are at least one pixel, however narrow the image is.
    """
    low, high = min(width, height), max(width, height)
    if longest is not None and high / low * shorter > longest:
        shorter = max(1, round(longest * low / high))
    if low == shorter:
        return width, height
    if width < height:
        return shorter, int(shorter * height / width)
    return int(shorter * width / height), shorter


def augment(view: View, config: TransformsConfig, rng: np.random.Generator) -> View:
    """A random training view: flip, colour jitter, then resize or resize-crop-resize."""
    view = view.clamped()
    if rng.random() < config.flip:
        view = view.mirrored()
    if config.color_jitter > 0:
        view = replace(view, image=_color_jitter(view.image, config.color_jitter, rng))
    if config.crop_scales and rng.random() < 0.5:
        view = view.resized(int(rng.choice(config.crop_scales)))
        least, largest = config.crop_sides
        view = _random_crop(view, least, largest, rng)
    if config.scales:
        view = view.resized(int(rng.choice(config.scales)), config.max_side)
    return view


def inference_size(width: int, height: int, config: TransformsConfig) -> tuple[int, int]:
    """Width and height that inference resizes an image to."""
    if not config.test_scale:
        return width, height
    return resized_size(width, height, config.test_scale, config.max_side)


def inference_view(image: Image.Image, config: TransformsConfig) -> View:
    """The view that inference sees, without pairs."""
    none = np.zeros((0, 4))
    view = View(image, none, none, np.zeros(0, bool))
    return view.resized(config.test_scale, config.max_side) if config.test_scale else view


def to_pixels(image: Image.Image) -> Tensor:
    """RGB image → (3, H, W) uint8, whose channels are last in memory."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def normalised(pixels: Tensor, padding_mask: Tensor | None = None) -> Tensor:
    """Pixels as networks take them: float32, by ImageNet's mean and deviation, 0 where padded.

    Workers hand on a quarter of the bytes, and the device does the arithmetic, where it is.

    Args:
        pixels: (..., 3, H, W) uint8, on any device.
        padding_mask: (..., H, W) bool, true where padded; None where nothing is.
    """
    mean, std = _statistics(pixels.device)
    images = pixels.float().div_(255).sub_(mean).div_(std)
    if padding_mask is not None:
        images.masked_fill_(padding_mask.unsqueeze(-3), 0)
    return images


@cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """ImageNet's mean and deviation (3, 1, 1), sent to a device once: it would wait each time."""
    with torch.inference_mode(False):  # They serve training as well, whoever asks first.
        mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (MEAN, STD))
    return mean, std


def _color_jitter(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    adjustments = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
    factors = rng.uniform(max(0.0, 1 - strength), 1 + strength, len(adjustments))
    for index in rng.permutation(len(adjustments)):
        image = adjustments[index](image, float(factors[index]))
    return image


def _random_crop(view: View, least: int, largest: int, rng: np.random.Generator) -> View:
    width = int(rng.integers(least, max(least, min(view.image.width, largest)) + 1))
    height = int(rng.integers(least, max(least, min(view.image.height, largest)) + 1))
    width, height = min(width, view.image.width), min(height, view.image.height)
    left = int(rng.integers(view.image.width - width + 1))
    top = int(rng.integers(view.image.height - height + 1))
    return view.cropped(left, top, width, height)
