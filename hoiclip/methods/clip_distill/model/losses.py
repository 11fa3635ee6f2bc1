"""What the student learns: CLIP's scores of unions and images, and that both levels agree.

The levels are published (Wan & Tuytelaars, WACV 2024, abstract); form and weights of the terms are
ours. Targets are soft, so every term is a plain binary cross-entropy, least where the student says
what the teacher says; a focal one would have its minimum elsewhere. Classes of another object than
a pair's take no part, neither as positives nor as negatives.

Shapes as in `hoiclip.methods.clip_distill.model.batch`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hoiclip.methods.clip_distill.caches.classes import ObjectClasses
from hoiclip.methods.clip_distill.model.batch import PairBatch, TeacherTargets
from hoiclip.methods.clip_distill.model.config import DistillationLossConfig
from hoiclip.methods.clip_distill.model.network import StudentOutputs


class DistillCounts(NamedTuple):
    """What the terms of a batch are divided by; counts of parts add up. None is a term's own.

    Attributes:
        trusted: classes of the pairs' objects, each with its pair's weight.
        detected: classes of the objects detected in each image.
        tied: of them, those that have a pair.
        pairs: of all images.
    """

    trusted: float | None = None
    detected: float | None = None
    tied: float | None = None
    pairs: float | None = None

    @classmethod
    def of(cls, targets: TeacherTargets, pairs: PairBatch, classes: ObjectClasses) -> DistillCounts:
        """Counts of a batch on the CPU."""
        index, mask = (torch.from_numpy(each) for each in (classes.indices, classes.mask))
        shape = targets.image_mask.shape
        tied = targets.image_mask & _has_pair(
            pairs.image, index[pairs.objects], mask[pairs.objects], shape
        )
        return cls(
            trusted=float((targets.weight.double() * mask[pairs.objects].sum(1)).sum()),
            detected=float(targets.image_mask.sum()),
            tied=float(tied.sum()),
            pairs=float(len(pairs.objects)),
        )


def _has_pair(image: Tensor, classes: Tensor, mask: Tensor, shape: torch.Size) -> Tensor:
    """(B, C) bool, whether an image has a pair of an object of each class."""
    place = _places(image, classes, mask, shape)
    found = torch.zeros(shape.numel() + 1, device=image.device)
    # All of the same, so that no order of theirs matters.
    found = found.scatter(0, place, 1.0)
    return found[:-1].view(shape) > 0


def _places(image: Tensor, classes: Tensor, mask: Tensor, shape: torch.Size) -> Tensor:
    """(P * K,) where each pair's classes stand among those (B, C) of images, one after another.

    What the mask leaves out stands in one further place: to leave it out of the tensor, the
    processor would have to ask the device how long it is.
    """
    places = image[:, None] * shape[1] + classes
    return torch.where(mask.bool(), places, shape.numel()).flatten()


def distillation_losses(
    outputs: StudentOutputs,
    targets: TeacherTargets,
    pairs: PairBatch,
    config: DistillationLossConfig,
    *,
    relate: bool,
    counts: DistillCounts | None = None,
) -> dict[str, Tensor]:
    """Weighted loss terms by name, scalars, of the branches there are.

    Args:
        outputs: of the student.
        targets: of the teacher.
        pairs: what the student saw of them.
        config: weights.
        relate: whether relatedness is learnt yet; its labels mean nothing before the student has
            learnt something. Otherwise its term is 0.
        counts: of the batch that these images are a part of; None where they are all of it.

    Returns:
        Some of `union`, `instance`, `image`, `tie`, `relatedness`. What is about pairs is exactly 0
        where there are none.
    """
    by = DistillCounts() if counts is None else counts
    terms = {}
    if outputs.union_logits is not None:
        terms["union"] = config.union * pair_loss(
            outputs.union_logits, outputs.mask, targets, by.trusted
        )
    if outputs.instance_logits is not None:
        term = pair_loss(outputs.instance_logits, outputs.mask, targets, by.trusted)
        terms["instance"] = config.instance * term
    if outputs.global_logits is not None:
        terms["image"] = config.image * image_loss(outputs.global_logits, targets, by.detected)
    if outputs.union_logits is not None or outputs.instance_logits is not None:
        terms["tie"] = config.tie * tie_loss(outputs, targets, pairs.image, by.tied)
    if outputs.relatedness_logits is not None:
        labels = most_related(outputs, pairs.instances)
        term = F.binary_cross_entropy_with_logits(
            outputs.relatedness_logits, labels, reduction="sum"
        )
        weight = config.relatedness if relate else 0.0
        terms["relatedness"] = weight * _by(term, len(labels) if by.pairs is None else by.pairs, 1)
    return terms


def pair_loss(
    logits: Tensor, mask: Tensor, targets: TeacherTargets, by: float | None = None
) -> Tensor:
    """Cross-entropy of pairs' logits (P, K) with `targets.union`, a mean over the classes of the
    pairs' objects (`mask`, (P, K)) in which each pair has its weight; or the sum by `by`."""
    each = F.binary_cross_entropy_with_logits(logits, targets.union, reduction="none")
    weight = targets.weight[:, None] * mask
    tiny = torch.finfo(each.dtype).tiny
    return _by((weight * each).sum(), weight.sum() if by is None else by, tiny)


def image_loss(logits: Tensor, targets: TeacherTargets, by: float | None = None) -> Tensor:
    """Cross-entropy of images' logits (B, C) with `targets.image`, a mean over the classes of the
    objects detected in each; or the sum by `by`."""
    each = F.binary_cross_entropy_with_logits(logits, targets.image, reduction="none")
    return _by((each * targets.image_mask).sum(), targets.image_mask.sum() if by is None else by, 1)


def tie_loss(
    outputs: StudentOutputs, targets: TeacherTargets, image: Tensor, by: float | None = None
) -> Tensor:
    """Ties pairs to images: cross-entropy of each class's best pair of an image with
    `targets.image`.

    A mean over the classes of detected objects that have a pair: where nobody is detected, or where
    better pairs left no room for the object's (`max_pairs`), no pair could learn anything.

    Args:
        outputs: of the student; the global branch gets no gradient.
        targets: of the teacher.
        image: (P,) int64, position of each pair's image in the batch.
        by: what the sum is divided by; None for the mean.
    """
    shape = targets.image_mask.shape
    place = _places(image, outputs.classes, outputs.mask, shape)
    # Zeros, for what is left out may be infinite, and then its gradient were not a number.
    log = outputs.log_probability.masked_fill(~outputs.mask.bool(), 0).flatten()
    best = log.new_zeros(shape.numel() + 1)
    best = best.scatter_reduce(0, place, log, "amax", include_self=False)[:-1]
    counted = targets.image_mask & _has_pair(image, outputs.classes, outputs.mask, shape)
    each = _cross_entropy_of_log(best.view(shape), targets.image)
    return _by((each * counted).sum(), counted.sum() if by is None else by, 1)


def _by(total: Tensor, count: Tensor | float, least: float) -> Tensor:
    """A sum by a count, which is taken for no less than `least`."""
    return total / (count.clamp(min=least) if torch.is_tensor(count) else max(count, least))


def _cross_entropy_of_log(log_probability: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy from logarithms, as a probability next to 1 would round to 1."""
    log_probability = log_probability.clamp(max=-1e-30)
    other = torch.log(-torch.expm1(log_probability))
    return -(target * log_probability + (1 - target) * other)


@torch.no_grad()
def most_related(outputs: StudentOutputs, instances: Tensor) -> Tensor:
    """Which pair of each object the student believes in most; the idea is that of the predecessor
    (Wan et al., ICLR 2023), the form ours.

    Believes by the agreement of its branches: the relatedness itself would confirm what it began
    with.

    Args:
        outputs: of the student.
        instances: (P,) int64 below P, equal for pairs that share their object.

    Returns:
        (P,) of 0/1: 1 for the pair with the largest sum over its classes among those of its object,
        the first one of equals.
    """
    total = (outputs.log_agreement.exp() * outputs.mask).sum(1)
    best = torch.zeros_like(total).scatter_reduce(0, instances, total, "amax")
    order = torch.arange(len(total), device=total.device)
    rank = torch.where(total == best[instances], order, len(total))
    first = torch.full_like(order, len(total)).scatter_reduce(0, instances, rank, "amin")
    return (order == first[instances]).to(total.dtype)
