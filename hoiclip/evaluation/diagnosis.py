"""Where the average precision of HICO-DET's protocols goes.

The kinds of errors are those of `pair_errors`; what mending them does is said in `oracle`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from hoiclip.data.annotations import Annotations
from hoiclip.evaluation.matching import order_by_class, pair_recall, true_positives
from hoiclip.evaluation.oracle import Oracle
from hoiclip.evaluation.pair_errors import DETECTION_KINDS, find_errors
from hoiclip.evaluation.protocols import HICO, Protocol
from hoiclip.evaluation.tables import (
    BoxConvention,
    ImageIndex,
    detections_of,
    ground_truth_of,
    offset_of,
)
from hoiclip.vocabulary import Vocabulary

KINDS = (*DETECTION_KINDS, "missed")


def diagnose(
    predictions: pa.Table,
    annotations: Annotations,
    vocabulary: Vocabulary,
    protocol: Protocol = HICO,
    *,
    boxes: BoxConvention = "schema",
) -> dict[str, Any]:
    """Explains the Default mAP of a predictions table.

    Args:
        predictions: rows of `schema.PREDICTIONS`, in any order.
        annotations: the partition.
        vocabulary: the classes.
        protocol: as of `hico.evaluate_hico`.
        boxes: likewise.

    Returns:
        See `oracle.Oracle.diagnosis`; the kinds are `KINDS`.

    Raises:
        InputError: see `hico.evaluate_hico`.
        ValueError: unknown box convention.
    """
    index = ImageIndex.of(annotations.images)
    offset = offset_of(boxes, protocol.offset_xyxy)
    detections, scores = detections_of(predictions, index, vocabulary, offset)
    truth = ground_truth_of(annotations, index, vocabulary, protocol.offset_xyxy)
    # Mending may bring equally scored classes of one query into one class: by class then.
    rows = np.lexsort((detections.hoi, detections.pair, detections.image))
    detections, scores = detections.take(rows), scores[rows]
    order = order_by_class(detections.hoi, scores)
    correct = true_positives(detections, truth, order, protocol.rule)
    oracle = Oracle(
        classes=detections.hoi,
        scores=scores,
        correct=correct,
        counted=np.ones(len(scores), bool),
        truth_classes=truth.hoi,
        num_classes=vocabulary.num_hois,
        errors=find_errors(detections, truth, correct, vocabulary, protocol),
        average_precision=lambda curves: curves.average_precision(protocol.recall_steps),
    )
    return oracle.diagnosis(protocol.name, pair_recall(detections, truth, protocol.rule))
