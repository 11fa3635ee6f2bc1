"""CLIP's features of the training images: from a cache where views repeat, else computed."""

from __future__ import annotations

import torch
from torch import Tensor

from hoiclip.clip_encoder import ClipFeatures, ClipVisual
from hoiclip.data.batch import Batch
from hoiclip.data.images import ImageStore
from hoiclip.progress import track

IMAGES_PER_STEP = 64


class ComputedFeatures:
    """Computes the features of each batch; for augmentations that never repeat a view."""

    def __init__(self, clip: ClipVisual, device: torch.device) -> None:
        self.clip = clip.to(device)
        self.device = device

    def __call__(self, batch: Batch) -> ClipFeatures:
        """Features of the batch's `clip_pixels`."""
        return self.clip.encode_image_tokens(batch.clip_pixels.to(self.device, non_blocking=True))


class CachedFeatures:
    """Features of each image and its mirror image, computed once.

    Takes 2 · images · (tokens · width + embed_dim) float32 numbers of memory.

    Args:
        clip: the frozen image tower.
        store: where the images are.
        file_names: of the images, in the order of the batch's indices.
        device: to compute on and to keep the features on.
    """

    def __init__(
        self, clip: ClipVisual, store: ImageStore, file_names: list[str], device: torch.device
    ) -> None:
        clip = clip.to(device)
        parts = []
        starts = range(0, len(file_names), IMAGES_PER_STEP)
        for start in track(starts, "CLIP features"):
            names = file_names[start : start + IMAGES_PER_STEP]
            pixels = torch.stack([clip.preprocess(store.read(name)) for name in names]).to(device)
            versions = [clip.encode_image_tokens(p) for p in (pixels, pixels.flip(-1))]
            parts.append([torch.stack(tensors, 1) for tensors in zip(*versions, strict=True)])
        # (images, 2, ...): the second axis is "mirrored"
        self.tokens, self.global_feature = (torch.cat(part) for part in zip(*parts, strict=True))

    def __call__(self, batch: Batch) -> ClipFeatures:
        """Features of the batch's views."""
        place: tuple[Tensor, Tensor] = (
            torch.tensor(batch.indices),
            torch.tensor(batch.flipped, dtype=torch.long),
        )
        return ClipFeatures(self.tokens[place], self.global_feature[place])
