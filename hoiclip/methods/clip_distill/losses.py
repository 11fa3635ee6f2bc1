"""What the student learns: CLIP's scores of unions and images, and that both levels agree.

The levels are published (Wan & Tuytelaars, WACV 2024, abstract); form and weights of the terms are
ours. Targets are soft, so every term is a plain binary cross-entropy, least where the student says
what the teacher says; a focal one would have its minimum elsewhere. Classes of another object than
a pair's take no part, neither as positives nor as negatives.

Shapes as in `hoiclip.methods.clip_distill.batch`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hoiclip.methods.clip_distill.batch import PairBatch, TeacherTargets
from hoiclip.methods.clip_distill.config import DistillationLossConfig
from hoiclip.methods.clip_distill.network import StudentOutputs


def distillation_losses(
    outputs: StudentOutputs,
    targets: TeacherTargets,
    pairs: PairBatch,
    config: DistillationLossConfig,
    *,
    relate: bool,
) -> dict[str, Tensor]:
    """Weighted loss terms by name, scalars, of the branches there are.

    Args:
        outputs: of the student.
        targets: of the teacher.
        pairs: what the student saw of them.
        config: weights.
        relate: whether relatedness is learnt yet; its labels mean nothing before the student has
            learnt something. Otherwise its term is 0.

    Returns:
        Some of `union`, `instance`, `image`, `tie`, `relatedness`. What is about pairs is exactly 0
        where there are none.
    """
    terms = {}
    if outputs.union_logits is not None:
        terms["union"] = config.union * pair_loss(outputs.union_logits, outputs.mask, targets)
    if outputs.instance_logits is not None:
        term = pair_loss(outputs.instance_logits, outputs.mask, targets)
        terms["instance"] = config.instance * term
    if outputs.global_logits is not None:
        terms["image"] = config.image * image_loss(outputs.global_logits, targets)
    if outputs.union_logits is not None or outputs.instance_logits is not None:
        terms["tie"] = config.tie * tie_loss(outputs, targets, pairs.image)
    if outputs.relatedness_logits is not None:
        labels = most_related(outputs, pairs.instances)
        term = F.binary_cross_entropy_with_logits(
            outputs.relatedness_logits, labels, reduction="sum"
        )
        weight = config.relatedness if relate else 0.0
        terms["relatedness"] = weight * term / max(len(labels), 1)
    return terms


def pair_loss(logits: Tensor, mask: Tensor, targets: TeacherTargets) -> Tensor:
    """Cross-entropy of pairs' logits (P, K) with `targets.union`, a mean over the classes of the
    pairs' objects (`mask`, (P, K)) in which each pair has its weight."""
    each = F.binary_cross_entropy_with_logits(logits, targets.union, reduction="none")
    weight = targets.weight[:, None] * mask
    return (weight * each).sum() / weight.sum().clamp(min=torch.finfo(each.dtype).tiny)


def image_loss(logits: Tensor, targets: TeacherTargets) -> Tensor:
    """Cross-entropy of images' logits (B, C) with `targets.image`, a mean over the classes of the
    objects detected in each."""
    each = F.binary_cross_entropy_with_logits(logits, targets.image, reduction="none")
    return (each * targets.image_mask).sum() / targets.image_mask.sum().clamp(min=1)


def tie_loss(outputs: StudentOutputs, targets: TeacherTargets, image: Tensor) -> Tensor:
    """Ties pairs to images: cross-entropy of each class's best pair of an image with
    `targets.image`.

    A mean over the classes of detected objects that have a pair: where nobody is detected, or where
    better pairs left no room for the object's (`max_pairs`), no pair could learn anything.

    Args:
        outputs: of the student; the global branch gets no gradient.
        targets: of the teacher.
        image: (P,) int64, position of each pair's image in the batch.
    """
    num_images, num_classes = targets.image.shape
    place = (image[:, None] * num_classes + outputs.classes)[outputs.mask]
    log = outputs.log_probability[outputs.mask]
    best = log.new_zeros(num_images * num_classes)
    best = best.scatter_reduce(0, place, log, "amax", include_self=False)
    has_pair = torch.zeros_like(best, dtype=torch.bool)
    has_pair[place] = True
    counted = targets.image_mask & has_pair.view_as(targets.image_mask)
    each = _cross_entropy_of_log(best.view_as(targets.image), targets.image)
    return (each * counted).sum() / counted.sum().clamp(min=1)


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
        instances: (P,) int64, equal for pairs that share their object.

    Returns:
        (P,) of 0/1: 1 for the pair with the largest sum over its classes among those of its object,
        the first one of equals.
    """
    total = (outputs.log_agreement.exp() * outputs.mask).sum(1)
    numbers, group = instances.unique(return_inverse=True)
    best = total.new_zeros(len(numbers)).scatter_reduce(0, group, total, "amax")
    order = torch.arange(len(total), device=total.device)
    rank = torch.where(total == best[group], order, len(total))
    first = torch.full_like(numbers, len(total)).scatter_reduce(0, group, rank, "amin")
    return (order == first[group]).to(total.dtype)
