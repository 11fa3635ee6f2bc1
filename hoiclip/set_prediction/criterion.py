"""The training loss (HOICLIP section 3.5): focal, cross-entropy, L1, GIoU at every layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hoiclip.batches.boxes import cxcywh_to_xyxy, generalized_iou_xyxy
from hoiclip.contract.learning import BatchCounts
from hoiclip.set_prediction.matcher import HungarianMatcher, LayerOutputs
from hoiclip.set_prediction.model.outputs import Outputs
from hoiclip.set_prediction.model.targets import TargetCounts, Targets
from hoiclip.util.ranges import Config, Power, Probability, Weight

PROBABILITY_FLOOR = 1e-4
RELEASED_ADDEND = 1e-4


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
            that box, at least 1. `released`: for object boxes, as the released code, the matched
            pairs that have one, plus 1e-4, in each process for itself.
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
    """Focal loss in CornerNet's form, entry by entry; the loss is their sum by the positives.

    Args:
        logits: (..., C).
        labels: (..., C) of 0/1.
        alpha: weight of positives; negatives weigh 1 - alpha.
        gamma: focusing exponent.
    """
    p = logits.sigmoid().clamp(PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    positive = alpha * (1 - p) ** gamma * p.log() * labels
    negative = (1 - alpha) * p**gamma * (1 - p).log() * (1 - labels)
    return -(positive + negative)


class Criterion(nn.Module):
    """Loss of a batch; every decoder layer is matched anew.

    All layers are worked on at once. On a device, with targets in pinned memory, nothing of it
    waits but the matching: which columns are taken is known there already.

    Args:
        config: weights of the losses.
        matcher: assigns predictions to targets.
        num_object_logits: O + 1, 'nothing' last.
        seen: (C,) bool, the HOI classes that training may see; the others take no part.
    """

    object_weight: Tensor
    columns: Tensor | None

    def __init__(
        self, config: LossConfig, matcher: HungarianMatcher, num_object_logits: int, seen: Tensor
    ) -> None:
        super().__init__()
        self.config = config
        self.matcher = matcher
        weight = torch.ones(num_object_logits)
        weight[-1] = config.no_object
        self.register_buffer("object_weight", weight)
        self.seen = seen
        # Numbers, not a mask, whose true entries the processor would have to ask the device for.
        columns = None if bool(seen.all()) else seen.nonzero().flatten()
        self.register_buffer("columns", columns, persistent=False)

    def forward(
        self, outputs: Outputs, targets: Targets, counts: BatchCounts | None = None
    ) -> dict[str, Tensor]:
        """Weighted loss terms, summed over layers.

        Args:
            outputs: of the network.
            targets: on the CPU.
            counts: of `Criterion.counts`, of the batch that these images are a part of; None where
                they are all of it.

        Returns:
            `hoi`, `object`, `l1` and `giou`, scalars, of which the loss is the sum.
        """
        config, device = self.config, outputs.hoi_logits.device
        hoi_logits, object_logits = self._of_seen(outputs.hoi_logits), outputs.object_logits
        layers = LayerOutputs(
            hoi_logits, object_logits, outputs.human_boxes_cxcywh, outputs.object_boxes_cxcywh
        )
        here = targets.to(device)
        here = replace(here, hoi_labels=self._of_seen(here.hoi_labels))
        images, queries, pairs = self.matcher.every_layer(layers, here).unbind(1)
        layer = torch.arange(len(images), device=device)[:, None]

        hoi_labels = torch.zeros_like(hoi_logits)
        hoi_labels[layer, images, queries] = here.hoi_labels[pairs]
        nothing = object_logits.shape[-1] - 1
        object_labels = torch.full_like(object_logits[..., 0], nothing).long()
        object_labels[layer, images, queries] = here.objects[pairs]
        has_object = here.has_object[pairs]

        hoi = focal_loss(hoi_logits, hoi_labels, config.focal_alpha, config.focal_gamma)
        object_ = F.cross_entropy(
            object_logits.flatten(0, 2), object_labels.flatten(), self.object_weight,
            reduction="none",
        ).unflatten(0, object_labels.shape)  # fmt: skip
        human_l1, human_giou = _box_losses(
            outputs.human_boxes_cxcywh[layer, images, queries], here.human_boxes_cxcywh[pairs]
        )
        object_l1, object_giou = _box_losses(
            outputs.object_boxes_cxcywh[layer, images, queries], here.object_boxes_cxcywh[pairs]
        )
        if counts is None:
            by = self._divisors(targets, hoi_labels, object_labels, has_object)
        else:
            by = self._shared_divisors(counts, object_logits.shape[-2])

        def summed(entries: Tensor, divisor: Tensor | float) -> Tensor:
            return (entries.flatten(1).sum(1) / divisor).sum()

        return {
            "hoi": config.hoi * summed(hoi, by.positives),
            "object": config.object * summed(object_, by.weights),
            "l1": config.l1
            * (summed(human_l1, by.humans) + summed(object_l1 * has_object, by.objects)),
            "giou": config.giou
            * (summed(human_giou, by.humans) + summed(object_giou * has_object, by.objects)),
        }

    def _of_seen(self, of_classes: Tensor) -> Tensor:
        """(..., C) → those of seen classes alone."""
        if self.columns is None:
            return of_classes
        return of_classes.index_select(-1, self.columns)

    def counts(self, targets: Targets, num_queries: int) -> Tensor:
        """(N,) float64, `TargetCounts` of targets on the CPU; `num_queries` is that of an image."""
        return torch.tensor(TargetCounts.of(targets, num_queries, self.seen), dtype=torch.float64)

    def _divisors(
        self, targets: Targets, hoi_labels: Tensor, object_labels: Tensor, has_object: Tensor
    ) -> _Divisors:
        """Those of a whole batch; of what is matched, each layer's own."""
        objects: Tensor | float = max(float(targets.has_object.sum()), 1.0)
        if self.config.box_normaliser == "released":
            objects = has_object.sum(1) + RELEASED_ADDEND
        return _Divisors(
            positives=hoi_labels.flatten(1).sum(1).clamp(min=1),
            weights=self.object_weight[object_labels].flatten(1).sum(1),
            humans=max(float(sum(targets.counts)), 1.0),
            objects=objects,
        )

    def _shared_divisors(self, counts: BatchCounts, queries: int) -> _Divisors:
        """Those of a part of a batch; `released` ones are each process's own, and averaged."""
        whole = TargetCounts(*counts.whole.tolist())
        objects = max(whole.objects, 1.0)
        if self.config.box_normaliser == "released":
            own = TargetCounts(*counts.own.tolist())
            objects = (own.objects + RELEASED_ADDEND) * counts.processes
        return _Divisors(
            positives=max(whole.positives, 1.0),
            weights=whole.matched
            + self.config.no_object * (whole.images * queries - whole.matched),
            humans=max(whole.humans, 1.0),
            objects=objects,
        )


class _Divisors(NamedTuple):
    """What loss terms are divided by, numbers or one for each layer (L,)."""

    positives: Tensor | float
    weights: Tensor | float
    humans: float
    objects: Tensor | float


def _box_losses(predicted_cxcywh: Tensor, target_cxcywh: Tensor) -> tuple[Tensor, Tensor]:
    """L1 and GIoU loss of matched boxes (L, M, 4), each (L, M)."""
    l1 = (predicted_cxcywh - target_cxcywh).abs().sum(-1)
    giou = generalized_iou_xyxy(cxcywh_to_xyxy(predicted_cxcywh), cxcywh_to_xyxy(target_cxcywh))
    return l1, 1 - giou
