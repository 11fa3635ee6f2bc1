"""Features by frozen towers of the training images: kept where views repeat, else computed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hoiclip.contract.learning import TrainingBatch
from hoiclip.contract.method import FrozenFeatures
from hoiclip.progress import track

IMAGES_PER_STEP = 64
Encoder = Callable[[Tensor], FrozenFeatures]
"""See `hoiclip.contract.method.Method.frozen_features`."""


class ComputedFeatures:
    """Computes the features of each batch; for augmentations that never repeat a view."""

    def __init__(self, encode: Encoder, device: torch.device) -> None:
        self.encode, self.device = encode, device

    def __call__(self, batch: TrainingBatch) -> FrozenFeatures | None:
        """Features of the batch's `clip_pixels`; None where it has none."""
        if batch.clip_pixels is None:
            return None
        return self.encode(batch.clip_pixels.to(self.device, non_blocking=True))


class CachedFeatures:
    """Features of each image and perhaps its mirror image, computed once.

    Takes the memory of the features of all images, with mirror images twice that.

    Args:
        encode: gives the features of views.
        view: gives the view (3, R, R) of an index, not mirrored.
        count: number of images.
        device: to compute on and to keep the features on.
        mirrored: whether views may be mirrored.
    """

    def __init__(
        self,
        encode: Encoder,
        view: Callable[[int], Tensor],
        count: int,
        device: torch.device,
        *,
        mirrored: bool = True,
    ) -> None:
        self.device = device
        parts = []
        for start in track(range(0, count, IMAGES_PER_STEP), "CLIP features"):
            rows = range(start, min(start + IMAGES_PER_STEP, count))
            pixels = torch.stack([view(row) for row in rows]).to(device)
            shown = (pixels, pixels.flip(-1)) if mirrored else (pixels,)
            versions = [encode(pixels) for pixels in shown]
            parts.append([torch.stack(tensors, 1) for tensors in zip(*versions, strict=True)])
        # (images, 2 or 1, ...): the second axis is "mirrored"
        self.features = tuple(torch.cat(part) for part in zip(*parts, strict=True))

    def __call__(self, batch: TrainingBatch) -> FrozenFeatures:
        """Features of the batch's views."""
        place = torch.tensor([batch.indices, batch.flipped], dtype=torch.long)
        if self.device.type == "cuda":
            # On the device and without waiting; an index elsewhere would wait for each tower.
            place = place.pin_memory().to(self.device, non_blocking=True)
        index, flipped = place
        return tuple(feature[index, flipped] for feature in self.features)
