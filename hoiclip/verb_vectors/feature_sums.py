"""Sums of CLIP's features over the crops of a partition: one pass, in shards, constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hoiclip.batches.loading import default_signals
from hoiclip.clip.encoder import ClipVisual
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.crops import crop
from hoiclip.passes import Content, shards_of
from hoiclip.progress import track
from hoiclip.verb_vectors.crops import Accumulation, Row, shares_of


@dataclass(frozen=True)
class FeatureSums:
    """Sums of image features of width D over HOI rows, float64, and how many rows there were.

    Attributes:
        hoi: (num_hois, D), crops of pairs.
        object: (num_objects, D), crops of objects.
        rows: (num_hois,) int64.
    """

    hoi: np.ndarray
    object: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class CropPass:
    """One pass over the crops of a partition: each image is read once, each crop encoded once.

    Attributes:
        images: (file name, rows) of each image with rows, of `rows_by_image`.
        read_image: `file_name` → RGB image; has to be picklable where there are workers.
        visual: the image tower; crops go to its device.
        vocabulary: objects, verbs and HOI classes.
        accumulation: see `hoiclip.verb_vectors.crops`.
        batch_size: crops encoded at once, at least.
        workers: processes that read and cut images; the result does not depend on them.
    """

    images: list[tuple[str, list[Row]]]
    read_image: Callable[[str], Image.Image]
    visual: ClipVisual
    vocabulary: Vocabulary
    accumulation: Accumulation = "correct"
    batch_size: int = 256
    workers: int = 0

    def shards(self, shards: Sequence[range]) -> Iterator[Content]:
        """Sums over the crops of the images of each shard; beyond the tables, memory does not grow
        with their number. Workers go on to the next shard's images while one ends.

        Raises:
            InputError: an image cannot be read.
        """
        crops = _Crops(
            self.images, self.read_image, self.visual.preprocess, self.vocabulary, self.accumulation
        )
        loader = DataLoader(
            crops,
            batch_size=None,
            sampler=[index for rows in shards for index in rows],
            num_workers=self.workers,
            pin_memory=self.visual.visual_projection.device.type == "cuda",
            worker_init_fn=default_signals,
        )
        loaded = iter(loader)
        for rows in shards:
            yield self._shard(rows, islice(loaded, len(rows)))

    def _shard(self, rows: range, loaded: Iterator[_ImageCrops]) -> Content:
        vocabulary, visual = self.vocabulary, self.visual
        device = visual.visual_projection.device
        sums = torch.zeros(vocabulary.num_hois + vocabulary.num_objects, visual.embed_dim).double()
        counts = torch.zeros(vocabulary.num_hois, dtype=torch.int64)
        pixels: list[Tensor] = []
        terms: list[Tensor] = []

        def encode() -> None:
            features = visual.encode_image(torch.cat(pixels)).double().cpu()
            position, index, weight = torch.cat(terms).T
            sums.index_add_(0, index.long(), features[position.long()] * weight[:, None])
            pixels.clear()
            terms.clear()

        waiting = 0
        for image in track(loaded, f"crops from image {rows.start}", len(rows)):
            image.terms[:, 0] += waiting
            pixels.append(image.pixels.to(device, non_blocking=True))
            terms.append(image.terms)
            waiting += len(image.pixels)
            counts += torch.bincount(image.hois, minlength=len(counts))
            if waiting >= self.batch_size:
                encode()
                waiting = 0
        if pixels:
            encode()
        return {"sums": sums, "rows": counts}

    def join(self, shards: list[Content]) -> FeatureSums:
        """Sums over all shards, in their order."""
        num_hois = self.vocabulary.num_hois
        size = num_hois + self.vocabulary.num_objects, self.visual.embed_dim
        sums = torch.zeros(size, dtype=torch.float64)
        rows = torch.zeros(num_hois, dtype=torch.int64)
        for shard in shards:
            if shard["sums"].shape != sums.shape or shard["rows"].shape != rows.shape:
                raise ValueError("sums of another vocabulary or another CLIP")
            sums += shard["sums"]
            rows += shard["rows"]
        found = sums.numpy()
        return FeatureSums(found[:num_hois], found[num_hois:], rows.numpy())

    def whole(self) -> FeatureSums:
        """Sums over all images, by this process alone."""
        return self.join(list(self.shards(shards_of(len(self.images)))))


class _ImageCrops(NamedTuple):
    """Crops of an image.

    Attributes:
        pixels: (N, ...) preprocessed, each crop once.
        terms: (T, 3) float64: position in `pixels`, row of the sums, weight.
        hois: (R,) HOI class of each row of the image.
    """

    pixels: Tensor
    terms: Tensor
    hois: Tensor


class _Crops(Dataset):
    """The crops of every image with rows."""

    def __init__(
        self,
        images: list[tuple[str, list[Row]]],
        read_image: Callable[[str], Image.Image],
        preprocess: Callable[[Image.Image], Tensor],
        vocabulary: Vocabulary,
        accumulation: Accumulation,
    ) -> None:
        self._images, self._read_image, self._preprocess = images, read_image, preprocess
        self._vocabulary, self._accumulation = vocabulary, accumulation

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> _ImageCrops:
        file_name, rows = self._images[index]
        image = self._read_image(file_name)
        position_of: dict[bytes, int] = {}
        pixels: list[Tensor] = []
        terms: list[tuple[int, int, float]] = []
        for box, target, weight in shares_of(rows, self._vocabulary, self._accumulation):
            key = box.tobytes()
            if key not in position_of:
                position_of[key] = len(pixels)
                pixels.append(self._preprocess(crop(image, box)))
            terms.append((position_of[key], target, weight))
        return _ImageCrops(
            torch.stack(pixels),
            torch.tensor(terms, dtype=torch.float64),
            torch.tensor([row.hoi for row in rows]),
        )
