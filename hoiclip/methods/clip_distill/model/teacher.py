"""CLIP's cosines → soft targets. NumPy only.

That CLIP scores whole images and unions, and that these scores teach, is published (Wan &
Tuytelaars, WACV 2024, abstract); how cosines become scores is ours. Cosines of CLIP have no zero
that means something, so they are only compared with each other, and only among the HOI classes of
one object, which the detector names better: never over all classes, and never through a sigmoid.

Shapes: O objects (one row more, for 'no object', where an HOI class has none), C HOI classes, K the
most classes of one object, P pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hoiclip.methods.clip_distill.caches.classes import ObjectClasses
from hoiclip.methods.clip_distill.model.config import TeacherConfig


@dataclass(frozen=True)
class UnionTargets:
    """What the teacher says of P pairs.

    Attributes:
        probability: (P, K) of the classes of the pair's object, 0 beyond them; sums to 1, or to
            less by what the null prompt takes.
        weight: (P,) in [0, 1], how far the pair is trusted.
    """

    probability: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class ImageTargets:
    """What the teacher says of one image.

    Attributes:
        probability: (C,), 0 of the classes of objects that are not detected.
        mask: (C,) bool, whether the class's object is detected.
    """

    probability: np.ndarray
    mask: np.ndarray


def union_targets(
    cosines: np.ndarray,
    null: np.ndarray,
    objects: np.ndarray,
    scores: np.ndarray,
    classes: ObjectClasses,
    config: TeacherConfig,
) -> UnionTargets:
    """Targets of pairs from the cosines of their union crops.

    Args:
        cosines: (P, K) with the classes of the pair's object; beyond them anything finite.
        null: (P,) with the object's null prompt.
        objects: (P,) the pairs' object class.
        scores: (P,) detection scores of the pairs, in [0, 1].
        classes: of the vocabulary.
        config: temperature, null prompt and filter.
    """
    mask, has_null = _competitors(objects, classes, config)
    joined = _softmax(
        np.concatenate([cosines, null[:, None]], 1),
        np.concatenate([mask, has_null[:, None]], 1),
        config.temperature,
    )
    weight = np.ones(len(objects), joined.dtype)
    if config.filter == "entropy":
        count = mask.sum(1) + has_null
        weight = scores * (1 - _entropy(joined) / np.log(np.maximum(count, 2)))
    return UnionTargets(joined[:, :-1], np.clip(weight, 0, 1))


def image_targets(
    cosines: np.ndarray,
    null: np.ndarray,
    objects: np.ndarray,
    classes: ObjectClasses,
    config: TeacherConfig,
) -> ImageTargets:
    """Targets of an image from the cosines of the whole.

    Args:
        cosines: (C,) with all HOI classes.
        null: (O,) with the null prompt of each object.
        objects: object classes that count as detected, in any order and number.
        classes: of the vocabulary.
        config: temperature, null prompt and scope.
    """
    detected = np.unique(objects)
    mask, has_null = _competitors(detected, classes, config)
    indices = classes.indices[detected]
    values = np.concatenate([cosines[indices], null[detected, None]], 1)
    competing = np.concatenate([mask, has_null[:, None]], 1)
    if config.global_scope == "image":
        flat = _softmax(values.reshape(1, -1), competing.reshape(1, -1), config.temperature)
        joined = flat.reshape(values.shape)
    else:
        joined = _softmax(values, competing, config.temperature)
    probability, present = np.zeros_like(cosines), np.zeros(len(cosines), bool)
    probability[indices[mask]] = joined[:, :-1][mask]
    present[indices[mask]] = True
    return ImageTargets(probability, present)


def shuffled_within_objects(objects: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(P,) positions of pairs whose scores each pair of a data set gets instead of its own: a
    random order among the pairs of one object class, so that the scores are of the same classes.

    Args:
        objects: (P,) object class of each pair, of all images.
        rng: draws the order.
    """
    order = np.arange(len(objects))
    for value in np.unique(objects):
        same = np.flatnonzero(objects == value)
        order[same] = rng.permutation(same)
    return order


def _competitors(
    objects: np.ndarray, classes: ObjectClasses, config: TeacherConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Which classes (N, K) compete for each of N objects, and whether (N,) the null prompt does."""
    mask = classes.mask[objects]
    # Where an object has no class, nothing is asked.
    return mask, classes.has_null[objects] & mask.any(1) & config.null_prompt


def _softmax(values: np.ndarray, mask: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax of each row over what the mask leaves; 0 elsewhere, and where it leaves nothing."""
    # A finite largest value also where nothing competes: infinities have no difference.
    most = values.max(1, keepdims=True, initial=np.finfo(values.dtype).min, where=mask)
    powers = np.exp(temperature * (np.where(mask, values, -np.inf) - most))
    return powers / np.maximum(powers.sum(1, keepdims=True), np.finfo(powers.dtype).tiny)


def _entropy(probability: np.ndarray) -> np.ndarray:
    """Entropy of each row in nats; 0 · log 0 is 0."""
    logs = np.log(np.where(probability > 0, probability, 1))
    return -(probability * logs).sum(1)
