"""What the student sees of images and their detected pairs, and what the teacher says of them.

Shapes: B images, P pairs of all of them, D width of the detector, C HOI classes, K the most HOI
classes of one object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from hoiclip.batches.tensors import Tensors


@dataclass(frozen=True)
class PairBatch(Tensors):
    """The detected pairs of B images, one after another.

    Boxes are in [0, 1] of the square view that CLIP has of the image. A pair without an object has
    zero object box and feature, the human's box as union, and the geometry of that box with itself.

    Attributes:
        image: (P,) int64, position of each pair's image in the batch.
        human_boxes_xyxy: (P, 4).
        object_boxes_xyxy: (P, 4).
        union_boxes_xyxy: (P, 4).
        human_features: (P, D), the output of DETR's last decoder layer for that detection.
        object_features: (P, D) likewise.
        geometry: (P, 36) numbers of both boxes.
        objects: (P,) int64, object class; the number of objects stands for 'no object'.
        instances: (P,) int64, which detected object of the batch it is, below the number of
            pairs: equal for those that share it. A pair without an object has a number of its own.
    """

    image: Tensor
    human_boxes_xyxy: Tensor
    object_boxes_xyxy: Tensor
    union_boxes_xyxy: Tensor
    human_features: Tensor
    object_features: Tensor
    geometry: Tensor
    objects: Tensor
    instances: Tensor


def join_pairs(images: Sequence[PairBatch]) -> PairBatch:
    """One batch of the pairs of several images, each a batch of one image."""
    joined = {
        field.name: torch.cat([getattr(image, field.name) for image in images])
        for field in fields(PairBatch)
    }
    counts = torch.tensor([len(image.image) for image in images])
    joined["image"] = torch.arange(len(images)).repeat_interleave(counts)
    # Numbers of an image are below its number of pairs, so those of two images never meet.
    joined["instances"] += (counts.cumsum(0) - counts).repeat_interleave(counts)
    return PairBatch(**joined)


@dataclass(frozen=True)
class TeacherTargets(Tensors):
    """What CLIP says of the pairs and images of a batch; soft targets in [0, 1].

    Attributes:
        union: (P, K) probability of each HOI class of the pair's object, in ascending order of the
            classes, then zeros.
        weight: (P,) how far a pair is trusted.
        image: (B, C) probability of each HOI class among those of its object.
        image_mask: (B, C) bool, whether the class's object is detected in the image, see
            `hoiclip.methods.clip_distill.model.detected_objects`.
    """

    union: Tensor
    weight: Tensor
    image: Tensor
    image_mask: Tensor
