"""Annotated images as batches for training and inference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from hoiclip.boxes import xyxy_to_cxcywh
from hoiclip.data.annotations import Annotations
from hoiclip.data.images import ImageStore
from hoiclip.data.transforms import TransformsConfig, View, augment, inference_view, to_tensor
from hoiclip.targets import Targets
from hoiclip.vocabulary import Vocabulary


@dataclass(frozen=True)
class Batch:
    """B images.

    Attributes:
        images: (B, 3, H, W) float32, normalised, zero-padded right and bottom.
        padding_mask: (B, H, W) bool, true where padded; None where nothing is.
        clip_pixels: (B, 3, R, R), or None where CLIP's features come from a cache.
        targets: annotated pairs; none in inference.
        indices: row of each image in its table.
        flipped: whether each image is mirrored.
        sizes: (width, height) of each original image, px.
    """

    images: Tensor
    padding_mask: Tensor | None
    clip_pixels: Tensor | None
    targets: Targets
    indices: list[int]
    flipped: list[bool]
    sizes: list[tuple[int, int]]


@dataclass(frozen=True)
class Sample:
    """One image of a batch; see `Batch`."""

    image: Tensor
    clip_pixels: Tensor | None
    targets: Targets
    index: int
    flipped: bool
    size: tuple[int, int]


class InferenceDataset(Dataset):
    """Images as inference sees them, with CLIP's input and without targets.

    Args:
        images: rows of `schema.IMAGES`.
        store: where the images are.
        vocabulary: the data set's.
        transforms: sizes.
        clip_preprocess: CLIP's own transform.
    """

    def __init__(
        self,
        images: pa.Table,
        store: ImageStore,
        vocabulary: Vocabulary,
        transforms: TransformsConfig,
        clip_preprocess: Callable[[Image.Image], Tensor],
    ) -> None:
        self.file_names = images["file_name"].to_pylist()
        self.store = store
        self.transforms = transforms
        self.clip_preprocess = clip_preprocess
        self.targets = no_targets(vocabulary)

    def __len__(self) -> int:
        return len(self.file_names)

    def __getitem__(self, index: int) -> Sample:
        image = self.store.read(self.file_names[index])
        return inference_sample(
            image, image.size, index, self.transforms, self.clip_preprocess, self.targets
        )


def inference_sample(
    image: Image.Image,
    size: tuple[int, int],
    index: int,
    transforms: TransformsConfig,
    clip_preprocess: Callable[[Image.Image], Tensor],
    targets: Targets,
) -> Sample:
    """An image as inference sees it.

    Args:
        image: RGB, perhaps decoded at a part of its size.
        size: its full width and height, px, in which boxes are wanted.
        index: row of the image in its table.
        transforms: sizes.
        clip_preprocess: CLIP's own transform.
        targets: of no pair.
    """
    view = inference_view(image, transforms)
    return Sample(to_tensor(view.image), clip_preprocess(view.image), targets, index, False, size)


class TrainingDataset(Dataset):
    """Images of a partition, augmented by the epoch, with their pairs.

    The view of an image in an epoch depends on seed, epoch and image alone, so neither workers
    nor a resumed training change it.

    Args:
        annotations: the partition.
        store: where the images are.
        vocabulary: the data set's.
        transforms: sizes and augmentation.
        max_boxes: instances of an image that are used, the first ones; the number of queries. Pairs
            that point at another one are left out, so that an image may keep more pairs than that.
        seed: of the augmentation.
        clip_preprocess: CLIP's own transform, applied to the augmented image; None leaves CLIP's
            input out.
    """

    def __init__(
        self,
        annotations: Annotations,
        store: ImageStore,
        vocabulary: Vocabulary,
        transforms: TransformsConfig,
        *,
        max_boxes: int,
        seed: int,
        clip_preprocess: Callable[[Image.Image], Tensor] | None,
    ) -> None:
        self.file_names = annotations.images["file_name"].to_pylist()
        self.store = store
        self.vocabulary = vocabulary
        self.transforms = transforms
        self.seed = seed
        self.clip_preprocess = clip_preprocess
        self.epoch = 0
        self.pairs = _of_first_instances(annotations, max_boxes).pairs()
        self.slices = self.pairs.image_slices(annotations.images["image_id"].to_pylist())
        self.labels = self.pairs.hoi_labels(vocabulary.num_hois)

    def __len__(self) -> int:
        return len(self.file_names)

    def __getitem__(self, index: int) -> Sample:
        image = self.store.read(self.file_names[index])
        pairs = self.slices[index]
        rows = np.arange(pairs.start, pairs.stop)
        view = View(
            image,
            self.pairs.human_boxes_xyxy[rows],
            self.pairs.object_boxes_xyxy[rows],
            np.ones(len(rows), bool),
        )
        rng = np.random.default_rng([self.seed, self.epoch, index])
        view = augment(view, self.transforms, rng)
        clip_pixels = None if self.clip_preprocess is None else self.clip_preprocess(view.image)
        targets = self._targets(view, rows)
        return Sample(to_tensor(view.image), clip_pixels, targets, index, view.flipped, image.size)

    def _targets(self, view: View, rows: np.ndarray) -> Targets:
        rows, kept = rows[view.kept], view.kept
        size = torch.tensor([*view.image.size] * 2, dtype=torch.float32)
        human, object_ = (
            xyxy_to_cxcywh(torch.from_numpy(boxes[kept]).float() / size)
            for boxes in (view.human_boxes_xyxy, view.object_boxes_xyxy)
        )
        classes = self.pairs.objects[rows]
        classes = np.where(classes < 0, self.vocabulary.num_objects, classes)
        return Targets(
            [len(rows)],
            torch.from_numpy(self.labels[rows]),
            torch.from_numpy(classes),
            human,
            object_.nan_to_num(0.0),
            ~torch.isnan(object_).any(1),
        )


def _of_first_instances(annotations: Annotations, limit: int) -> Annotations:
    """Without the interactions whose human or object is not among its image's first instances."""
    human, object_ = (
        annotations.interactions[key].fill_null(-1).to_numpy()
        for key in ("human", "object_instance")
    )
    kept = annotations.interactions.filter(pa.array((human < limit) & (object_ < limit)))
    return replace(annotations, interactions=kept)


def no_targets(vocabulary: Vocabulary) -> Targets:
    """Targets of an image without annotated pairs."""
    return Targets(
        [0],
        torch.zeros(0, vocabulary.num_hois),
        torch.zeros(0, dtype=torch.long),
        torch.zeros(0, 4),
        torch.zeros(0, 4),
        torch.zeros(0, dtype=torch.bool),
    )


def collate(samples: list[Sample]) -> Batch:
    """Zero-pads images right and bottom to the largest height and width of the batch."""
    height = max(sample.image.shape[1] for sample in samples)
    width = max(sample.image.shape[2] for sample in samples)
    padded = any(sample.image.shape[1:] != (height, width) for sample in samples)
    images = torch.zeros(len(samples), 3, height, width)
    mask = torch.ones(len(samples), height, width, dtype=torch.bool)
    for row, sample in enumerate(samples):
        _, h, w = sample.image.shape
        images[row, :, :h, :w] = sample.image
        mask[row, :h, :w] = False
    clip_pixels = None
    if samples[0].clip_pixels is not None:
        clip_pixels = torch.stack([sample.clip_pixels for sample in samples])
    parts = [sample.targets for sample in samples]
    targets = Targets(
        [part.counts[0] for part in parts],
        *(
            torch.cat([getattr(part, name) for part in parts])
            for name in (
                "hoi_labels",
                "objects",
                "human_boxes_cxcywh",
                "object_boxes_cxcywh",
                "has_object",
            )
        ),
    )
    return Batch(
        images,
        mask if padded else None,
        clip_pixels,
        targets,
        [sample.index for sample in samples],
        [sample.flipped for sample in samples],
        [sample.size for sample in samples],
    )
