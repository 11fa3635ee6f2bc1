"""Hungarian matching of predicted pairs to annotated pairs (HOICLIP section 3.5, after QPIC)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from hoiclip.batches.boxes import cxcywh_to_xyxy, generalized_iou_xyxy
from hoiclip.set_prediction.model.targets import Targets
from hoiclip.util.ranges import Config, Weight


@dataclass(frozen=True, kw_only=True)
class MatchingConfig(Config):
    """Weights of the matching cost (`train.matching` in params.yaml), with the paper's values.

    Attributes:
        hoi: HOI scores (1).
        object: object class (1).
        l1: L1 of boxes (2.5).
        giou: generalised IoU of boxes (1).
        missing_object_giou: GIoU cost of a pair without an object: `human` is that of the human
            box; `released` adds, as the released code does, minus the GIoU of the predicted object
            box and an empty box at the origin, which is between 0 and 1.
    """

    hoi: Weight
    object: Weight
    l1: Weight
    giou: Weight
    missing_object_giou: Literal["human", "released"] = "human"


@dataclass(frozen=True)
class LayerOutputs:
    """What a decoder layer, or each of L layers, says of B images, Q pairs each.

    Attributes:
        hoi_logits: ([L,] B, Q, C), C the classes that the targets' labels have.
        object_logits: ([L,] B, Q, O + 1); the last class is 'nothing'.
        human_boxes_cxcywh: ([L,] B, Q, 4) in [0, 1], relative to the unpadded image.
        object_boxes_cxcywh: likewise.
    """

    hoi_logits: Tensor
    object_logits: Tensor
    human_boxes_cxcywh: Tensor
    object_boxes_cxcywh: Tensor


def hungarian(cost: Tensor, counts: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """One-to-one assignment of least cost, image by image.

    Args:
        cost: (B, Q, T) with the targets of all images side by side; an image uses its own columns.
        counts: targets of each image.

    Returns:
        (images, queries, targets), each (M,) int64 on CPU; `targets` index the T columns.
    """
    # The assignment refuses NaN; the loss, which comes next, reports it.
    cost = cost.detach().cpu().nan_to_num()
    images, queries, targets = [], [], []
    start = 0
    for image, count in enumerate(counts):
        rows, columns = linear_sum_assignment(cost[image, :, start : start + count].numpy())
        images.append(torch.full((len(rows),), image))
        queries.append(torch.from_numpy(rows))
        targets.append(torch.from_numpy(columns) + start)
        start += count
    return torch.cat(images), torch.cat(queries), torch.cat(targets)


class HungarianMatcher:
    """Matches on HOI scores, object class, and the worse of human and object box.

    Pairs without an object ('no object' of V-COCO) take no part in the object's box costs.
    """

    def __init__(self, config: MatchingConfig) -> None:
        self.config = config

    @torch.no_grad()
    def cost(self, outputs: LayerOutputs, targets: Targets) -> Tensor:
        """Matching cost ([L,] B, Q, T) of every query and every target of the batch."""
        config = self.config
        probability, label = outputs.hoi_logits.sigmoid(), targets.hoi_labels
        positive = probability @ (label / (label.sum(1, keepdim=True) + 1e-4)).T
        absent = 1 - label
        negative = (1 - probability) @ (absent / (absent.sum(1, keepdim=True) + 1e-4)).T
        hoi_cost = -(positive + negative) / 2
        object_cost = -outputs.object_logits.softmax(-1)[..., targets.objects]

        l1, giou = [], []
        for boxes, target_boxes in (
            (outputs.human_boxes_cxcywh, targets.human_boxes_cxcywh),
            (outputs.object_boxes_cxcywh, targets.object_boxes_cxcywh),
        ):
            l1.append(torch.cdist(boxes, target_boxes.expand(*boxes.shape[:-2], -1, -1), p=1))
            giou.append(
                -generalized_iou_xyxy(
                    cxcywh_to_xyxy(boxes)[..., None, :], cxcywh_to_xyxy(target_boxes)
                )
            )
        l1_cost = torch.where(targets.has_object, torch.maximum(*l1), l1[0])
        giou_cost = torch.where(targets.has_object, torch.maximum(*giou), giou[0])
        if config.missing_object_giou == "released":
            giou_cost = giou_cost + torch.where(targets.has_object, 0.0, giou[1])
        return (
            config.hoi * hoi_cost
            + config.object * object_cost
            + config.l1 * l1_cost
            + config.giou * giou_cost
        )

    def __call__(self, outputs: LayerOutputs, targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
        """Matched (images, queries, targets); see `cost` and `hungarian`.

        Of an image with more targets than queries, the targets that cost most stay unmatched.
        """
        return hungarian(self.cost(outputs, targets), targets.counts)

    def every_layer(self, outputs: LayerOutputs, targets: Targets) -> Tensor:
        """Matches of L layers, (L, 3, M) int64 on the outputs' device: images, queries, targets.

        Costs come from the device, and matches go to it, in one transfer each.

        Args:
            outputs: of L layers.
            targets: on the outputs' device.
        """
        costs = self.cost(outputs, targets).nan_to_num().cpu()
        matches = torch.stack([torch.stack(hungarian(cost, targets.counts)) for cost in costs])
        return matches.to(outputs.hoi_logits.device, non_blocking=True)
