"""Mean average precision as HICO-DET counts it, under the three rules in use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.evaluation.ap.average_precision import PrecisionCurves, precision_curves
from hoiclip.evaluation.ap.matching import Pairs, order_by_class, pair_recall, true_positives
from hoiclip.evaluation.ap.protocols import HICO, Protocol
from hoiclip.evaluation.ap.tables import (
    BoxFrame,
    ImageIndex,
    class_groups,
    detections_of,
    ground_truth_of,
    offset_of,
)

SETTINGS = ("default", "known_object")


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
    annotations: Annotations,
    vocabulary: Vocabulary,
    classes: pa.Table,
    protocol: Protocol = HICO,
    *,
    boxes: BoxFrame = "schema",
) -> HicoResult:
    """Scores a predictions table against a partition.

    Predictions that a class scores equally are taken in the order of the images table, then of the
    query; of annotated pairs that a prediction overlaps equally it finds the first of the table.
    Every image counts, also one without a pair. Missing objects match missing objects.

    Args:
        predictions: rows of `schema.PREDICTIONS`, in any order; those of one query have the same
            boxes. Boxes and scores may be of any floating type.
        annotations: the partition.
        vocabulary: the classes.
        classes: rows of `schema.CLASSES`, one per HOI class in order.
        protocol: the rules; `protocols.protocol_named` gives them by name.
        boxes: `schema` for predicted boxes as the schema has them, `protocol` for boxes in the
            protocol's own convention.

    Raises:
        InputError: a row names an image, instance or class that does not exist, a prediction is
            not finite or lacks its object's box, or `classes` are not the vocabulary's.
        ValueError: unknown box frame.
    """
    index = ImageIndex.of(annotations.images)
    offset = offset_of(boxes, protocol.offset_xyxy)
    detections, scores = detections_of(predictions, index, vocabulary, offset)
    ground_truth = ground_truth_of(annotations, index, vocabulary, protocol.offset_xyxy)
    groups = class_groups(classes, vocabulary.num_hois)
    return HicoResult(
        protocol,
        score_classes(
            detections,
            scores,
            ground_truth,
            vocabulary.object_of_hoi,
            len(annotations.images),
            protocol,
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
