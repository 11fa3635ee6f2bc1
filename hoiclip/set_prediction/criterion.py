"""The training loss (HOICLIP section 3.5): focal, cross-entropy, L1, GIoU at every layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn import functional as F

from hoiclip.model.boxes import cxcywh_to_xyxy, generalized_iou_xyxy
from hoiclip.set_prediction.matcher import HungarianMatcher, LayerOutputs
from hoiclip.set_prediction.outputs import Outputs
from hoiclip.set_prediction.targets import Targets
from hoiclip.util.ranges import Config, Power, Probability, Weight

PROBABILITY_FLOOR = 1e-4


@dataclass(frozen=True, kw_only=True)
class LossConfig(Config):
    """Weights of the losses (`train.loss` in params.yaml), with the paper's values.

    Attributes:
        hoi: focal loss of HOI logits (2).
        object: cross-entropy of object logits (1).
        no_object: weight of the 'nothing' class within it (0.1).
        l1: L1 of human and of object boxes (2.5).
        giou: generalised IoU of human and of object boxes (1).
        focal_alpha: (0.5).
        focal_gamma: (2).
        box_normaliser: what the box losses are divided by. `targets`: annotated pairs that have
            that box, averaged over ranks, at least 1. `released`: for object boxes, as the released
            code, the matched pairs that have one, plus 1e-4.
    """

    hoi: Weight
    object: Weight
    no_object: Weight
    l1: Weight
    giou: Weight
    focal_alpha: Probability
    focal_gamma: Power
    box_normaliser: Literal["targets", "released"] = "targets"


def focal_loss(logits: Tensor, labels: Tensor, alpha: float, gamma: float) -> Tensor:
    """Focal loss in CornerNet's form, divided by the number of positives (at least 1).

    Args:
        logits: (..., C).
        labels: (..., C) of 0/1.
        alpha: weight of positives; negatives weigh 1 - alpha.
        gamma: focusing exponent.
    """
    p = logits.sigmoid().clamp(PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    positive = alpha * (1 - p) ** gamma * p.log() * labels
    negative = (1 - alpha) * p**gamma * (1 - p).log() * (1 - labels)
    return -(positive + negative).sum() / labels.sum().clamp(min=1)


class Criterion(nn.Module):
    """Loss of a batch; every decoder layer is matched anew.

    Args:
        config: weights of the losses.
        matcher: assigns predictions to targets.
        num_object_logits: O + 1, 'nothing' last.
        seen: (C,) bool, the HOI classes that training may see; the others take no part.
    """

    object_weight: Tensor
    seen: Tensor

    def __init__(
        self, config: LossConfig, matcher: HungarianMatcher, num_object_logits: int, seen: Tensor
    ) -> None:
        super().__init__()
        self.config = config
        self.matcher = matcher
        weight = torch.ones(num_object_logits)
        weight[-1] = config.no_object
        self.register_buffer("object_weight", weight)
        self.register_buffer("seen", seen)

    def forward(self, outputs: Outputs, targets: Targets) -> dict[str, Tensor]:
        """Weighted loss terms, summed over layers.

        Returns:
            `hoi`, `object`, `l1` and `giou`, scalars, of which the loss is the sum.
        """
        targets = replace(targets, hoi_labels=targets.hoi_labels[:, self.seen])
        layers = zip(
            outputs.hoi_logits[..., self.seen],
            outputs.object_logits,
            outputs.human_boxes_cxcywh,
            outputs.object_boxes_cxcywh,
            strict=True,
        )
        humans, objects = _box_counts(targets)
        terms = [self._layer(LayerOutputs(*layer), targets, humans, objects) for layer in layers]
        return {name: torch.stack([t[name] for t in terms]).sum() for name in terms[0]}

    def _layer(
        self, outputs: LayerOutputs, targets: Targets, humans: float, objects: float | Tensor
    ) -> dict[str, Tensor]:
        """Loss terms of one decoder layer; box losses are divided by `humans` and `objects`."""
        config = self.config
        matched = self.matcher(outputs, targets)
        images, queries, columns = (index.to(outputs.hoi_logits.device) for index in matched)

        hoi_labels = torch.zeros_like(outputs.hoi_logits)
        hoi_labels[images, queries] = targets.hoi_labels[columns]
        nothing = outputs.object_logits.shape[-1] - 1
        object_labels = torch.full_like(outputs.object_logits[..., 0], nothing).long()
        object_labels[images, queries] = targets.objects[columns]

        human = _box_losses(
            outputs.human_boxes_cxcywh[images, queries], targets.human_boxes_cxcywh[columns]
        )
        has_object = targets.has_object[columns]
        object_ = _box_losses(
            outputs.object_boxes_cxcywh[images, queries][has_object],
            targets.object_boxes_cxcywh[columns][has_object],
        )
        if config.box_normaliser == "released":
            objects = has_object.sum() + 1e-4
        return {
            "hoi": config.hoi
            * focal_loss(outputs.hoi_logits, hoi_labels, config.focal_alpha, config.focal_gamma),
            "object": config.object
            * F.cross_entropy(
                outputs.object_logits.flatten(0, 1), object_labels.flatten(), self.object_weight
            ),
            "l1": config.l1 * (human[0] / humans + object_[0] / objects),
            "giou": config.giou * (human[1] / humans + object_[1] / objects),
        }


def _box_counts(targets: Targets) -> tuple[float, float]:
    """Annotated pairs, and those with an object, averaged over ranks, each at least 1."""
    counts = [sum(targets.counts), targets.has_object.sum().item()]
    if torch.distributed.is_initialized():
        summed = torch.tensor(counts, dtype=torch.float32, device=targets.has_object.device)
        torch.distributed.all_reduce(summed)
        counts = (summed / torch.distributed.get_world_size()).tolist()
    return max(counts[0], 1), max(counts[1], 1)


def _box_losses(predicted_cxcywh: Tensor, target_cxcywh: Tensor) -> tuple[Tensor, Tensor]:
    """L1 and GIoU loss of matched boxes (M, 4), each summed over boxes."""
    l1 = (predicted_cxcywh - target_cxcywh).abs().sum()
    giou = generalized_iou_xyxy(cxcywh_to_xyxy(predicted_cxcywh), cxcywh_to_xyxy(target_cxcywh))
    return l1, (1 - giou).sum()
