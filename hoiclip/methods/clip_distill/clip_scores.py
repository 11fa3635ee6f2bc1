"""CLIP's cosines of images and of the unions of their pairs, as the caches hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hoiclip.batches.loading import default_signals
from hoiclip.clip.encoder import ClipVisual
from hoiclip.crops import crop
from hoiclip.images.store import ImageStore
from hoiclip.methods.clip_distill.caches.classes import ObjectClasses
from hoiclip.methods.clip_distill.caches.config import PassConfig
from hoiclip.methods.clip_distill.caches.pairs import ImagePairs
from hoiclip.methods.clip_distill.caches.tables import ImageCosines, PairCosines
from hoiclip.progress import track
from hoiclip.text_embeddings.table import TextEmbeddings


def clip_scores(
    clip: ClipVisual,
    view: Callable[[Image.Image], Tensor],
    text: TextEmbeddings,
    images: pa.Table,
    store: ImageStore,
    pairs: Sequence[ImagePairs],
    classes: ObjectClasses,
    settings: PassConfig,
) -> tuple[ImageCosines, list[PairCosines]]:
    """As `clip_scores_of_shards`, of all images as one shard."""
    shards = [range(len(images))]
    (found,) = clip_scores_of_shards(
        clip, view, text, images, store, pairs, classes, settings, shards
    )
    return found


def clip_scores_of_shards(
    clip: ClipVisual,
    view: Callable[[Image.Image], Tensor],
    text: TextEmbeddings,
    images: pa.Table,
    store: ImageStore,
    pairs: Sequence[ImagePairs],
    classes: ObjectClasses,
    settings: PassConfig,
    shards: Sequence[range],
) -> Iterator[tuple[ImageCosines, list[PairCosines]]]:
    """CLIP's raw cosines of whole images and of the union crops of their pairs, shard by shard.

    The crops of an image are encoded together, so that memory grows with its pairs alone.

    Args:
        clip: the image tower, on the device to compute on.
        view: makes an image or a crop CLIP's input.
        text: embeddings of the vocabulary.
        images: rows of `schema.IMAGES`.
        store: where the images are.
        pairs: of each image.
        classes: of the vocabulary.
        settings: batch size of whole images, and workers, which go on to the next shard.
        shards: indices of images.

    Raises:
        InputError: an image cannot be read.
    """
    dataset = _Views(images["file_name"].to_pylist(), store, pairs, view)
    device = clip.visual_projection.device
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=[index for rows in shards for index in rows],
        num_workers=settings.workers,
        pin_memory=device.type == "cuda",
        worker_init_fn=default_signals,
    )
    loaded = iter(loader)
    for rows in shards:
        views = track(islice(loaded, len(rows)), f"CLIP scores from image {rows.start}", len(rows))
        whole: list[Tensor] = []
        of_images: list[np.ndarray] = []
        of_unions: list[PairCosines] = []
        for index, (pixels, crops) in zip(rows, views, strict=True):
            whole.append(pixels.to(device, non_blocking=True))
            if len(whole) == settings.batch_size or index + 1 == rows.stop:
                of_images.append(_features(clip, torch.stack(whole)))
                whole.clear()
            of_unions.append(_pair_cosines(_features(clip, crops), text, pairs[index], classes))
        of_images.append(np.zeros((0, clip.embed_dim), np.float32))
        features = np.concatenate(of_images)
        yield ImageCosines(features @ text.hoi.T, features @ text.null.T), of_unions


def _features(clip: ClipVisual, pixels: Tensor) -> np.ndarray:
    """L2-normalised features (N, E) of N views, perhaps none."""
    if not len(pixels):
        return np.zeros((0, clip.embed_dim), np.float32)
    features = clip.encode_image(pixels.to(clip.visual_projection.device, non_blocking=True))
    return F.normalize(features, dim=-1).cpu().numpy()


def _pair_cosines(
    features: np.ndarray, text: TextEmbeddings, pairs: ImagePairs, classes: ObjectClasses
) -> PairCosines:
    mask = classes.mask[pairs.objects]
    every = np.take_along_axis(features @ text.hoi.T, classes.indices[pairs.objects], 1)
    null = (features @ text.null.T)[np.arange(len(pairs)), pairs.objects]
    return PairCosines(pairs, np.where(mask, every, np.float32(0)), null)


class _Views(Dataset):
    """What CLIP sees of each image: the whole (3, R, R), and its unions (P, 3, R, R)."""

    def __init__(
        self,
        file_names: list[str],
        store: ImageStore,
        pairs: Sequence[ImagePairs],
        view: Callable[[Image.Image], Tensor],
    ) -> None:
        self._file_names, self._store, self._pairs, self._view = file_names, store, pairs, view

    def __len__(self) -> int:
        return len(self._file_names)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self._store.read(self._file_names[index])
        whole = self._view(image)
        unions = [self._view(crop(image, box)) for box in self._pairs[index].union_boxes_xyxy]
        return whole, torch.stack(unions) if unions else whole.new_zeros((0, *whole.shape))
