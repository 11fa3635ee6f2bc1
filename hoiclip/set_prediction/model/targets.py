"""What training tells the matcher and the criterion about a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from hoiclip.batches.tensors import Tensors


@dataclass(frozen=True)
class Targets(Tensors):
    """Annotated pairs of a batch, images one after another; T pairs in all.

    Attributes:
        counts: pairs of each of the B images; they sum to T.
        hoi_labels: (T, C) 0/1.
        objects: (T,) object class, an index into the object logits.
        human_boxes_cxcywh: (T, 4) in [0, 1], relative to the unpadded image.
        object_boxes_cxcywh: (T, 4); rows without an object are zero.
        has_object: (T,) bool.
    """

    counts: list[int]
    hoi_labels: Tensor
    objects: Tensor
    human_boxes_cxcywh: Tensor
    object_boxes_cxcywh: Tensor
    has_object: Tensor


class TargetCounts(NamedTuple):
    """What of a batch's targets the loss terms are divided by; counts of parts add up.

    Attributes:
        humans: annotated pairs.
        objects: annotated pairs with an object.
        positives: HOI labels of the pairs that are matched. Of an image with more pairs than
            queries, the queries' share of its labels: which are matched differs between layers.
        matched: pairs that are matched, of an image at most the number of queries.
        images: of the batch.
    """

    humans: float
    objects: float
    positives: float
    matched: float
    images: float

    @classmethod
    def of(cls, targets: Targets, num_queries: int, seen: Tensor) -> TargetCounts:
        """Counts of targets on the CPU, before anything is matched.

        Args:
            targets: of a batch.
            num_queries: of an image.
            seen: (C,) bool, the HOI classes that training may see.
        """
        pairs = torch.tensor(targets.counts)
        share = (num_queries / pairs.clamp(min=1).double()).clamp(max=1)
        labels = targets.hoi_labels[:, seen].sum(1).double()
        return cls(
            humans=float(pairs.sum()),
            objects=float(targets.has_object.sum()),
            positives=float(labels @ share.repeat_interleave(pairs)),
            matched=float(pairs.clamp(max=num_queries).sum()),
            images=float(len(pairs)),
        )
