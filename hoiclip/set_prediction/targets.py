"""What training tells the matcher and the criterion about a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Targets:
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

    def to(self, device: torch.device) -> Targets:
        """The same targets on `device`."""
        return Targets(
            self.counts,
            *(
                tensor.to(device, non_blocking=True)
                for tensor in (
                    self.hoi_labels,
                    self.objects,
                    self.human_boxes_cxcywh,
                    self.object_boxes_cxcywh,
                    self.has_object,
                )
            ),
        )
