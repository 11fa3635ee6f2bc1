"""Times loading of training batches against DETR's transforms, on one core.

Run from the repository root: `python -m benchmarks.loading [--out FILE]`.

Images are made: JPEG files of HICO-DET's commonest sizes with smooth random content. Every form
makes the same batches of 16 from the same bytes, with the published augmentation:

- `detr`: DETR's transforms as QPIC uses them, on PIL images; float tensors, normalised one by one.
- `torchvision`: torchvision's v2 transforms on uint8 tensors.
- `hoiclip`: this package's, to uint8 batches.
- `decode`: decoding alone.

Forms take turns. Figures are medians of images per second, on one thread.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_tensor
from torchvision.transforms.v2 import functional as F

from benchmarks.machine import machine
from hoiclip.batches.batch import Sample, collate
from hoiclip.batches.transforms import MEAN, STD, TransformsConfig, View, augment, to_pixels
from hoiclip.core.files import write_json
from hoiclip.images.store import decode
from hoiclip.util.ranges import Count, number

SIZES = [(640, 480), (640, 427), (480, 640), (640, 426), (427, 640), (500, 375), (640, 640)]
SCALES = list(range(480, 801, 32))
PAPER = TransformsConfig(
    flip=0.5, color_jitter=0.4, scales=SCALES, crop_scales=[400, 500, 600], crop_sides=[384, 600],
    max_side=1333, test_scale=800,
)  # fmt: skip
BATCH = 16
Form = Callable[[list[bytes], np.random.Generator], Any]


def jpeg(size: tuple[int, int], rng: np.random.Generator) -> bytes:
    coarse = rng.integers(0, 256, (size[1] // 16, size[0] // 16, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), np.int16)
    image = (image + rng.integers(-12, 13, image.shape)).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=90)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def _target(width: int, height: int, shorter: int, longest: int | None) -> tuple[int, int]:
    """Height and width by DETR's rule."""
    low, high = min(width, height), max(width, height)
    if longest is not None and high / low * shorter > longest:
        shorter = round(longest * low / high)
    if width < height:
        return int(shorter * height / width), shorter
    return shorter, int(shorter * width / height)


def _published(image: Any, rng: np.random.Generator, size: Callable[[Any], list[int]]) -> Any:
    """The published augmentation in torchvision's functions, of a PIL image or a tensor."""
    if rng.random() < 0.5:
        image = F.horizontal_flip(image)
    for adjust in (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation):
        image = adjust(image, rng.uniform(0.6, 1.4))
    if rng.random() < 0.5:
        height, width = size(image)
        image = F.resize(image, _target(width, height, int(rng.choice([400, 500, 600])), None))
        height, width = size(image)
        h, w = (int(rng.integers(384, max(384, min(side, 600)) + 1)) for side in (height, width))
        h, w = min(h, height), min(w, width)
        image = F.crop(image, rng.integers(height - h + 1), rng.integers(width - w + 1), h, w)
    height, width = size(image)
    return F.resize(image, _target(width, height, int(rng.choice(SCALES)), 1333))


def detr(batch: list[bytes], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    tensors = []
    for data in batch:
        image = _published(opened(data), rng, lambda image: [image.height, image.width])
        tensors.append(F.normalize(to_tensor(image), list(MEAN), list(STD)))
    return padded(tensors)


def torchvision(batch: list[bytes], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    tensors = []
    for data in batch:
        pixels = torch.from_numpy(np.array(opened(data))).permute(2, 0, 1)
        tensors.append(_published(pixels, rng, lambda image: list(image.shape[1:])))
    return padded(tensors)


def padded(tensors: list[Tensor]) -> tuple[Tensor, Tensor]:
    height, width = (max(each.shape[axis] for each in tensors) for axis in (1, 2))
    images = torch.zeros(len(tensors), 3, height, width, dtype=tensors[0].dtype)
    mask = torch.ones(len(tensors), height, width, dtype=torch.bool)
    for image, hidden, each in zip(images, mask, tensors, strict=True):
        image[:, : each.shape[1], : each.shape[2]].copy_(each)
        hidden[: each.shape[1], : each.shape[2]] = False
    return images, mask


def hoiclip(batch: list[bytes], rng: np.random.Generator) -> Any:
    samples = []
    for index, data in enumerate(batch):
        image = decode(data, "image")
        boxes = np.array([[10.0, 10, image.width - 10, image.height - 10]])
        view = augment(View(image, boxes, boxes, np.ones(1, bool)), PAPER, rng)
        samples.append(Sample(to_pixels(view.image), None, index, view.flipped, image.size))
    return collate(samples)


def decoding(batch: list[bytes], rng: np.random.Generator) -> list[Image.Image]:
    return [opened(data) for data in batch]


FORMS: dict[str, Form] = {
    "detr": detr, "torchvision": torchvision, "hoiclip": hoiclip, "decode": decoding,
}  # fmt: skip


def measure(images: int, repeats: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    files = [jpeg(SIZES[number % len(SIZES)], rng) for number in range(images)]
    batches = [files[start : start + BATCH] for start in range(0, images, BATCH)]
    speeds: dict[str, list[float]] = {name: [] for name in FORMS}
    for turn in range(repeats):
        for name, form in FORMS.items():
            draws = np.random.default_rng(turn)
            start = time.perf_counter()
            for batch in batches:
                form(batch, draws)
            speeds[name].append(images / (time.perf_counter() - start))
    return {name: statistics.median(found) for name, found in speeds.items()}


def table(found: dict[str, float]) -> Iterator[str]:
    yield "| Form | images/s | x detr |"
    yield "|---|---|---|"
    for name, speed in found.items():
        yield f"| {name} | {speed:.1f} | {speed / found['detr']:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=number(Count), default=128, help="(default: 128)")
    parser.add_argument("--repeats", type=number(Count), default=5, help="turns (default: 5)")
    parser.add_argument("--out", type=Path, help="JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    told = machine()
    found = measure(options.images, options.repeats)
    print("\n".join(table(found)))
    if options.out:
        rounded = {name: round(speed, 1) for name, speed in found.items()}
        write_json(options.out, {"machine": told, "images": options.images, "per second": rounded})


if __name__ == "__main__":
    main()
