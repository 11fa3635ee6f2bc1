"""Mean average precision as HICO-DET counts it, under the three rules in use.

The same predictions differ by some tenths of a point between the protocols: a number stands with
the name of its protocol.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import pyarrow as pa

from hoiclip.evaluation.average_precision import PrecisionCurves, RecallSteps, precision_curves
from hoiclip.evaluation.matching import (
    OverlapRule,
    Pairs,
    order_by_class,
    pair_recall,
    true_positives,
)
from hoiclip.evaluation.tables import (
    BoxConvention,
    ImageIndex,
    Offset,
    class_groups,
    detections_of,
    ground_truth_of,
    offset_of,
)
from hoiclip.vocabulary import Vocabulary

SETTINGS = ("default", "known_object")


@dataclass(frozen=True)
class Protocol:
    """One way to count.

    Attributes:
        name: its name in metrics and reports.
        offset_xyxy: what is added to the schema's continuous, 0-based boxes to obtain the
            protocol's.
        rule: overlap, and how much is enough.
        recall_steps: how the recalls are made at which precision is taken.
        skip_unpredicted: a class with ground truth that no prediction names is left out of the
            means over subsets (not out of `full`).
    """

    name: str
    offset_xyxy: Offset
    rule: OverlapRule
    recall_steps: RecallSteps = "exact"
    skip_unpredicted: bool = False


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        # Chao et al., WACV 2018, the Matlab evaluator: 1-based inclusive pixels.
        Protocol(
            "hico",
            (1, 1, 0, 0),
            OverlapRule(inclusive=True, least_extent=0, strict=False),
            recall_steps="matlab",
        ),
        # The Python evaluator released with HOICLIP: 0-based inclusive pixels.
        Protocol(
            "hoiclip",
            (0, 0, -1, -1),
            OverlapRule(inclusive=True, least_extent=1, strict=False),
            recall_steps="numpy",
            skip_unpredicted=True,
        ),
        # The library behind UPT and PViC: continuous coordinates.
        Protocol("pocket", (0, 0, 0, 0), OverlapRule(inclusive=False, least_extent=0, strict=True)),
    )
}


def protocol_named(name: str, recall_steps: RecallSteps | None = None) -> Protocol:
    """The rules of that name, or the same with other recall steps.

    Raises:
        ValueError: there are none, or no such steps.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}, expected one of {', '.join(PROTOCOLS)}")
    if recall_steps is None:
        return PROTOCOLS[name]
    if recall_steps not in get_args(RecallSteps):
        known = ", ".join(get_args(RecallSteps))
        raise ValueError(f"unknown recall steps {recall_steps!r}, expected one of {known}")
    return replace(PROTOCOLS[name], recall_steps=recall_steps)


@dataclass(frozen=True)
class ClassScores:
    """What a protocol gives each of C HOI classes.

    Attributes:
        average_precision: setting → (C,) in [0, 1], NaN for classes without ground truth.
        curves: setting → precision envelopes.
        predictions: setting → (C,) number of detections that count.
        ground_truths: (C,) number of ground truths.
        pair_recall: see `matching.pair_recall`, in [0, 1] or NaN.
    """

    average_precision: dict[str, np.ndarray]
    curves: dict[str, PrecisionCurves]
    predictions: dict[str, np.ndarray]
    ground_truths: np.ndarray
    pair_recall: float

    @property
    def max_recall(self) -> np.ndarray:
        """(C,) recall of all detections in [0, 1], the same in both settings; NaN as in AP."""
        found = self.curves["default"].found.astype(float)
        empty = np.full(len(found), np.nan)
        return np.divide(found, self.ground_truths, out=empty, where=self.ground_truths > 0)


@dataclass(frozen=True)
class HicoResult:
    """Scores of the classes, with what is needed to name and group them.

    Attributes:
        protocol: the rules.
        scores: per class.
        names: (C) HOI names.
        train_instances: (C,) int64.
        rare: (C,) bool.
        seen: (C,) bool.
    """

    protocol: Protocol
    scores: ClassScores
    names: tuple[str, ...]
    train_instances: np.ndarray
    rare: np.ndarray
    seen: np.ndarray

    def subsets(self) -> dict[str, np.ndarray]:
        """Name → (C,) bool: full, rare, non_rare; unseen and seen where classes are unseen."""
        subsets = {
            "full": np.ones(len(self.rare), bool),
            "rare": self.rare,
            "non_rare": ~self.rare,
        }
        if not self.seen.all():
            subsets |= {"unseen": ~self.seen, "seen": self.seen}
        return subsets

    def counted(self, setting: str, subset: str) -> np.ndarray:
        """(C,) bool: the classes whose mean is the subset's number in `setting`.

        A class without ground truth has no AP and counts in no mean. On HICO-DET's test images
        there is none; the Matlab evaluator would count such a class 0.
        """
        counted = self.subsets()[subset] & (self.scores.ground_truths > 0)
        if self.protocol.skip_unpredicted and subset != "full":
            counted &= self.scores.predictions[setting] > 0
        return counted


def evaluate_hico(
    predictions: pa.Table,
    images: pa.Table,
    instances: pa.Table,
    interactions: pa.Table,
    vocabulary: Vocabulary,
    classes: pa.Table,
    protocol: str = "hico",
    *,
    boxes: BoxConvention = "schema",
    recall_steps: RecallSteps | None = None,
) -> HicoResult:
    """Scores a predictions table against a partition.

    Predictions that a class scores equally are taken in the order of the images table, then of the
    query; of annotated pairs that a prediction overlaps equally it finds the first of the table.
    Every image counts, also one without a pair. Missing objects match missing objects.

    Args:
        predictions: rows of `schema.PREDICTIONS`, in any order; those of one query have the same
            boxes. Boxes and scores may be of any floating type.
        images: the partition's `schema.IMAGES`.
        instances: the partition's `schema.INSTANCES`.
        interactions: the partition's `schema.INTERACTIONS`.
        vocabulary: the classes.
        classes: rows of `schema.CLASSES`, one per HOI class in order.
        protocol: `hico`, `hoiclip` or `pocket`.
        boxes: `schema` for predicted boxes as the schema has them, `protocol` for boxes in the
            protocol's own convention.
        recall_steps: instead of the protocol's own.

    Raises:
        InputError: a row names an image, instance or class that does not exist, a prediction is
            not finite or lacks its object's box, or `classes` are not the vocabulary's.
        ValueError: unknown protocol, box convention or recall steps.
    """
    rules = protocol_named(protocol, recall_steps)
    index = ImageIndex.of(images)
    offset = offset_of(boxes, rules.offset_xyxy)
    detections, scores = detections_of(predictions, index, vocabulary, offset)
    ground_truth = ground_truth_of(instances, interactions, index, vocabulary, rules.offset_xyxy)
    groups = class_groups(classes, vocabulary.num_hois)
    return HicoResult(
        rules,
        score_classes(
            detections, scores, ground_truth, vocabulary.object_of_hoi, len(images), rules
        ),
        tuple(vocabulary.hoi_name(hoi) for hoi in range(vocabulary.num_hois)),
        **groups,
    )


def score_classes(
    detections: Pairs,
    scores: np.ndarray,
    ground_truth: Pairs,
    object_of_hoi: np.ndarray,
    num_images: int,
    protocol: Protocol,
) -> ClassScores:
    """The core: boxes in the protocol's own convention, so that foreign files are scored as is.

    Args:
        detections: N pairs; where a class scores two equally, the earlier row comes first.
        scores: (N,) of the detections.
        ground_truth: M pairs.
        object_of_hoi: (C,) object of each class.
        num_images: number of images; positions are below it.
        protocol: the rules.
    """
    num_hois = len(object_of_hoi)
    ground_truths = np.bincount(ground_truth.hoi, minlength=num_hois)
    order = order_by_class(detections.hoi, scores)
    correct = true_positives(detections, ground_truth, order, protocol.rule)[order]
    hoi = detections.hoi[order]
    holds = np.zeros((num_images, 1 + object_of_hoi.max(initial=0)), bool)
    holds[ground_truth.image, object_of_hoi[ground_truth.hoi]] = True
    counted = {
        "default": np.ones(len(order), bool),
        "known_object": holds[detections.image[order], object_of_hoi[hoi]],
    }
    curves = {
        setting: precision_curves(hoi, correct, mask, ground_truths)
        for setting, mask in counted.items()
    }
    return ClassScores(
        {s: curve.average_precision(protocol.recall_steps) for s, curve in curves.items()},
        curves,
        {s: np.bincount(hoi[mask], minlength=num_hois) for s, mask in counted.items()},
        ground_truths,
        pair_recall(detections, ground_truth, protocol.rule),
    )
