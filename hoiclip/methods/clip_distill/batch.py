"""What the student sees of images and their detected pairs, and what the teacher says of them.

Shapes: B images, G patches, W width of CLIP's tokens, E of its shared space, P pairs of all images,
D width of the detector, C HOI classes, K the most HOI classes of one object.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor


class _Tensors:
    """Base of dataclasses of tensors."""

    def to(self, device: torch.device) -> Self:
        """The same on `device`."""
        tensors = (getattr(self, field.name) for field in fields(self))
        return type(self)(*(tensor.to(device, non_blocking=True) for tensor in tensors))


@dataclass(frozen=True)
class PairBatch(_Tensors):
    """B images as frozen networks see them, and their detected pairs one after another.

    Boxes are in [0, 1] of the square view that CLIP has of the image. A pair without an object has
    zero object box and feature, the human's box as union, and the geometry of that box with itself.

    Attributes:
        tokens: (B, 1 + G, W) of CLIP: CLS first, then a square grid of patches by row; after the
            final LayerNorm, before the visual projection.
        global_feature: (B, E) of CLIP.
        image: (P,) int64, position of each pair's image in the batch, ascending.
        human_boxes_xyxy: (P, 4).
        object_boxes_xyxy: (P, 4).
        union_boxes_xyxy: (P, 4).
        human_features: (P, D), the output of DETR's last decoder layer for that detection.
        object_features: (P, D) likewise.
        geometry: (P, 36) numbers of both boxes.
        objects: (P,) int64, object class; the number of objects stands for 'no object'.
        instances: (P,) int64, which detected object of the batch it is: equal for the pairs that
            share it. A pair without an object has a number of its own.
    """

    tokens: Tensor
    global_feature: Tensor
    image: Tensor
    human_boxes_xyxy: Tensor
    object_boxes_xyxy: Tensor
    union_boxes_xyxy: Tensor
    human_features: Tensor
    object_features: Tensor
    geometry: Tensor
    objects: Tensor
    instances: Tensor


@dataclass(frozen=True)
class TeacherTargets(_Tensors):
    """What CLIP says of the pairs and images of a batch; soft targets in [0, 1].

    Attributes:
        union: (P, K) probability of each HOI class of the pair's object, in ascending order of the
            classes, then zeros.
        weight: (P,) how far a pair is trusted.
        image: (B, C) probability of each HOI class among those of its object.
        image_mask: (B, C) bool, whether the class's object is detected in the image.
    """

    union: Tensor
    weight: Tensor
    image: Tensor
    image_mask: Tensor
