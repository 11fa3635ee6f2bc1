"""Images as batches for inference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from hoiclip.batches.tensors import Tensors
from hoiclip.batches.transforms import (
    TransformsConfig,
    inference_size,
    inference_view,
    normalised,
    to_pixels,
)
from hoiclip.images.store import ImageStore

ClipView = Callable[[Image.Image], Tensor]
"""Makes an image CLIP's input, (3, R, R)."""
ClipSource = Literal["original", "resized"]
"""Which image becomes CLIP's input in inference: the image as it is stored, or what the detector
sees, which `TransformsConfig.test_scale` has resized."""


@dataclass(frozen=True)
class Batch(Tensors):
    """B images.

    Attributes:
        images: (B, 3, H, W) uint8, padded right and bottom; `inputs` normalises them.
        padding_mask: (B, H, W) bool, true where padded; None where nothing is.
        clip_pixels: (B, 3, R, R); None where CLIP's features come from a cache or are not needed.
        indices: row of each image in its table.
        flipped: whether each image is mirrored.
        sizes: (width, height) of each original image, px.
    """

    images: Tensor
    padding_mask: Tensor | None
    clip_pixels: Tensor | None
    indices: list[int]
    flipped: list[bool]
    sizes: list[tuple[int, int]]

    def inputs(self, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """What a detector takes: images (B, 3, H, W) float32, normalised and zero where padded, and
        the padding mask, both on its device."""
        images, mask = self.images.to(device, non_blocking=True), self.padding_mask
        mask = None if mask is None else mask.to(device, non_blocking=True)
        return normalised(images, mask), mask


@dataclass(frozen=True)
class Sample:
    """One image of a batch; see `Batch`."""

    image: Tensor
    clip_pixels: Tensor | None
    index: int
    flipped: bool
    size: tuple[int, int]


class InferenceDataset(Dataset[Sample]):
    """Images as inference sees them.

    Attributes:
        sizes: (width, height) of each, px, as the detector sees it.

    Args:
        images: rows of `schema.IMAGES`.
        store: where the images are.
        transforms: sizes.
        clip_view: makes CLIP's input; None where there is none.
        clip_source: of which image.
    """

    def __init__(
        self,
        images: pa.Table,
        store: ImageStore,
        transforms: TransformsConfig,
        clip_view: ClipView | None,
        clip_source: ClipSource = "resized",
    ) -> None:
        self.file_names = images["file_name"].to_pylist()
        self.sizes = inference_sizes(images, transforms)
        self.store = store
        self.transforms = transforms
        self.clip_view, self.clip_source = clip_view, clip_source

    def __len__(self) -> int:
        return len(self.file_names)

    def __getitem__(self, index: int) -> Sample:
        image = self.store.read(self.file_names[index])
        return inference_sample(
            image, image.size, index, self.transforms, self.clip_view, self.clip_source
        )


def inference_sizes(images: pa.Table, transforms: TransformsConfig) -> list[tuple[int, int]]:
    """(width, height) of each image of rows of `schema.IMAGES`, px, as the detector sees it."""
    sizes = zip(images["width"].to_pylist(), images["height"].to_pylist(), strict=True)
    return [inference_size(*size, config=transforms) for size in sizes]


def inference_sample(
    image: Image.Image,
    size: tuple[int, int],
    index: int,
    transforms: TransformsConfig,
    clip_view: ClipView | None,
    clip_source: ClipSource = "resized",
) -> Sample:
    """An image as inference sees it.

    Args:
        image: RGB, perhaps decoded at a part of its size; all of it where CLIP's input is made of
            the original.
        size: its full width and height, px, in which boxes are wanted.
        index: row of the image in its table.
        transforms: sizes.
        clip_view: makes CLIP's input; None where there is none.
        clip_source: of which image.
    """
    view = inference_view(image, transforms)
    clip_pixels = None
    if clip_view is not None:
        clip_pixels = clip_view(image if clip_source == "original" else view.image)
    return Sample(to_pixels(view.image), clip_pixels, index, False, size)


def collate(samples: Sequence[Sample], multiple: int = 1) -> Batch:
    """Pads images right and bottom to the largest height and width of the batch.

    Args:
        samples: the images.
        multiple: of which the padded sides are to be, px.
    """
    height, width = (
        -(-max(sample.image.shape[axis] for sample in samples) // multiple) * multiple
        for axis in (1, 2)
    )
    padded = any(sample.image.shape[1:] != (height, width) for sample in samples)
    # Channels last, as an image's rows lie in memory and as convolutions take them.
    pixels = torch.zeros(len(samples), height, width, 3, dtype=torch.uint8)
    images = pixels.permute(0, 3, 1, 2)
    mask = torch.ones(len(samples), height, width, dtype=torch.bool)
    for row, sample in enumerate(samples):
        _, h, w = sample.image.shape
        images[row, :, :h, :w] = sample.image
        mask[row, :h, :w] = False
    views = [sample.clip_pixels for sample in samples if sample.clip_pixels is not None]
    return Batch(
        images,
        mask if padded else None,
        torch.stack(views) if views else None,
        [sample.index for sample in samples],
        [sample.flipped for sample in samples],
        [sample.size for sample in samples],
    )
