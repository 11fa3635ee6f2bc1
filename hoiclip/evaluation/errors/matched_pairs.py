"""Predictions of a table and annotations of a partition, matched by one protocol."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.evaluation.ap.matching import Pairs, order_by_class, true_positives
from hoiclip.evaluation.ap.protocols import Protocol
from hoiclip.evaluation.ap.tables import (
    BoxFrame,
    ImageIndex,
    detections_of,
    ground_truth_of,
    offset_of,
)
from hoiclip.evaluation.errors.oracle import Errors
from hoiclip.evaluation.errors.pair_errors import find_errors


@dataclass(frozen=True)
class MatchedPairs:
    """N detections, M annotations, and which detections are right.

    Attributes:
        detections: by image, query and class.
        scores: (N,).
        ground_truth: in the order of the annotations' interactions.
        correct: (N,) bool, see `matching.true_positives`.
    """

    detections: Pairs
    scores: np.ndarray
    ground_truth: Pairs
    correct: np.ndarray

    def take(self, rows: np.ndarray) -> MatchedPairs:
        """The detections at the rising positions `rows`, with all annotations.

        What is right stays so if `rows` are all detections of a score or above: none of them gives
        way to one that is left out.
        """
        return MatchedPairs(
            self.detections.take(rows), self.scores[rows], self.ground_truth, self.correct[rows]
        )

    def errors(self, vocabulary: Vocabulary, protocol: Protocol) -> Errors:
        """Kinds of the wrong detections, see `pair_errors`."""
        return find_errors(self.detections, self.ground_truth, self.correct, vocabulary, protocol)


def match_pairs(
    predictions: pa.Table,
    annotations: Annotations,
    vocabulary: Vocabulary,
    protocol: Protocol,
    *,
    boxes: BoxFrame = "schema",
) -> MatchedPairs:
    """Matches a predictions table with a partition; arguments as of `hico.evaluate_hico`.

    Raises:
        InputError: see `hico.evaluate_hico`.
        ValueError: unknown box frame.
    """
    index = ImageIndex.of(annotations.images)
    offset = offset_of(boxes, protocol.offset_xyxy)
    detections, scores = detections_of(predictions, index, vocabulary, offset)
    ground_truth = ground_truth_of(annotations, index, vocabulary, protocol.offset_xyxy)
    # Fixing may bring equally scored classes of one query into one class: by class then.
    rows = np.lexsort((detections.hoi, detections.pair, detections.image))
    detections, scores = detections.take(rows), scores[rows]
    order = order_by_class(detections.hoi, scores)
    correct = true_positives(detections, ground_truth, order, protocol.rule)
    return MatchedPairs(detections, scores, ground_truth, correct)
