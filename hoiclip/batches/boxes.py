"""Box arithmetic on torch tensors; the format stands in every name."""

from __future__ import annotations

import torch
from torch import Tensor


def cxcywh_to_xyxy(boxes_cxcywh: Tensor) -> Tensor:
    """(..., 4) centre and size → (..., 4) corners, in the same unit."""
    centre, size = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:]
    return torch.cat([centre - size / 2, centre + size / 2], -1)


def xyxy_to_cxcywh(boxes_xyxy: Tensor) -> Tensor:
    """(..., 4) corners → (..., 4) centre and size, in the same unit."""
    low, high = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return torch.cat([(low + high) / 2, high - low], -1)


def _area(boxes_xyxy: Tensor) -> Tensor:
    width, height = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).clamp(min=0).unbind(-1)
    return width * height


def generalized_iou_xyxy(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """Generalised IoU in [-1, 1] of boxes (..., 4), broadcast against each other.

    Two boxes without extent at the same place have union and hull 0; their value is 0.
    """
    intersection = _area(
        torch.cat(
            [
                torch.maximum(a_xyxy[..., :2], b_xyxy[..., :2]),
                torch.minimum(a_xyxy[..., 2:], b_xyxy[..., 2:]),
            ],
            -1,
        )
    )
    union = _area(a_xyxy) + _area(b_xyxy) - intersection
    hull = _area(
        torch.cat(
            [
                torch.minimum(a_xyxy[..., :2], b_xyxy[..., :2]),
                torch.maximum(a_xyxy[..., 2:], b_xyxy[..., 2:]),
            ],
            -1,
        )
    )
    tiny = torch.finfo(union.dtype).tiny
    return intersection / union.clamp(min=tiny) - (hull - union) / hull.clamp(min=tiny)
