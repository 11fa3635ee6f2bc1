"""What a run finds, misses and invents, image by image, at one score threshold.

What is right, and which kind of error a false alarm is, is the evaluation's: see
`evaluation.matching` and `evaluation.pair_errors`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hoiclip.core.vocabulary import Vocabulary
from hoiclip.evaluation.ap.protocols import Protocol
from hoiclip.evaluation.errors.matched_pairs import MatchedPairs
from hoiclip.evaluation.errors.oracle import Errors

FOUND = "found"
# Why an annotation is missed.
LOW_SCORE = "scored too low"
ONLY_WRONG = "only wrong predictions"
NOT_PREDICTED = "not predicted"

MISSES = {
    LOW_SCORE: "a right prediction exists below the threshold",
    ONLY_WRONG: "no prediction is right, but a false alarm belongs to it",
    NOT_PREDICTED: "no prediction is right, and no false alarm belongs to it",
}


@dataclass(frozen=True)
class OperatingPoint:
    """S detections that are shown, against M annotations.

    Attributes:
        threshold: detections of this score or above are shown; None without detections.
        shown: the shown detections and all annotations.
        errors: kinds of the shown detections; right ones have the annotation they find as target.
        miss_reason: (M,) str, `FOUND` or a key of `MISSES`.
    """

    threshold: float | None
    shown: MatchedPairs
    errors: Errors
    miss_reason: np.ndarray

    @property
    def found(self) -> int:
        """Number of shown detections that are right."""
        return int(self.shown.correct.sum())

    @property
    def precision(self) -> float | None:
        """Share of the shown detections that are right; None without any."""
        return self.found / len(self.shown.correct) if len(self.shown.correct) else None

    @property
    def recall(self) -> float | None:
        """Share of the annotations that are found; None without any."""
        return self.found / len(self.miss_reason) if len(self.miss_reason) else None

    def worst_first(self, image_ids: np.ndarray) -> list[int]:
        """Image ids by rising F1, then falling misses, falling false alarms, rising id.

        An image without annotations and shown detections has F1 = 1.

        Args:
            image_ids: (I,) in the order of the images table.
        """
        count, image, correct = len(image_ids), self.shown.detections.image, self.shown.correct
        found = np.bincount(image[correct], minlength=count)
        alarms = np.bincount(image[~correct], minlength=count)
        misses = np.bincount(self.shown.ground_truth.image, minlength=count) - found
        size = 2 * found + alarms + misses
        f1 = np.divide(2.0 * found, size, out=np.ones(count), where=size > 0)
        return image_ids[np.lexsort((image_ids, -alarms, -misses, f1))].tolist()


def operating_point(
    matched: MatchedPairs, vocabulary: Vocabulary, protocol: Protocol
) -> OperatingPoint:
    """Shows the detections from that score up with which F1 over all images is the highest; of
    equally good ones, the highest score.

    Args:
        matched: all detections.
        vocabulary: the classes.
        protocol: the rules that matched them.
    """
    threshold = _best_threshold(matched)
    at_least = np.zeros(0, bool) if threshold is None else matched.scores >= threshold
    shown = matched.take(np.flatnonzero(at_least))
    errors = shown.errors(vocabulary, protocol)
    at_any_score = matched.errors(vocabulary, protocol).target[matched.correct]
    reason = np.full(len(matched.ground_truth), NOT_PREDICTED, object)
    reason[~errors.missed] = ONLY_WRONG
    reason[at_any_score] = LOW_SCORE
    reason[errors.target[shown.correct]] = FOUND
    return OperatingPoint(threshold, shown, errors, reason)


def without_surplus_objects(predictions: pa.Table, vocabulary: Vocabulary) -> pa.Table:
    """Predictions whose rows of a class without an object have no object box.

    A query has one box for all its classes, and V-COCO asks for none of an action that has no role.
    """
    alone = vocabulary.object_of_hoi[predictions["hoi"].to_numpy()] == vocabulary.num_objects
    place = predictions.column_names.index("object_box_xyxy")
    boxes = pc.if_else(pa.array(alone), None, predictions["object_box_xyxy"])
    return predictions.set_column(place, predictions.schema.field(place), boxes)


def _best_threshold(matched: MatchedPairs) -> float | None:
    order = np.argsort(-matched.scores, kind="stable")
    if not len(order):
        return None
    scores = matched.scores[order]
    right = matched.correct[order].cumsum()
    f1 = 2.0 * right / (np.arange(1, len(scores) + 1) + len(matched.ground_truth))
    # Detections of one score are shown together.
    f1[:-1][scores[:-1] == scores[1:]] = -1
    return float(scores[f1.argmax()])
