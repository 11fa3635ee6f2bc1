"""Where the average precision of HICO-DET's protocols goes.

The kinds of errors are those of `pair_errors`; what mending them does is said in `oracle`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from hoiclip.evaluation.average_precision import RecallSteps
from hoiclip.evaluation.hico import protocol_named
from hoiclip.evaluation.matching import order_by_class, pair_recall, true_positives
from hoiclip.evaluation.oracle import Oracle
from hoiclip.evaluation.pair_errors import DETECTION_KINDS, find_errors
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
    images: pa.Table,
    instances: pa.Table,
    interactions: pa.Table,
    vocabulary: Vocabulary,
    protocol: str = "hico",
    *,
    boxes: BoxConvention = "schema",
    recall_steps: RecallSteps | None = None,
) -> dict[str, Any]:
    """Explains the Default mAP of a predictions table.

    Args:
        predictions: rows of `schema.PREDICTIONS`, in any order.
        images: the partition's `schema.IMAGES`.
        instances: the partition's `schema.INSTANCES`.
        interactions: the partition's `schema.INTERACTIONS`.
        vocabulary: the classes.
        protocol: as of `hico.evaluate_hico`.
        boxes: likewise.
        recall_steps: likewise.

    Returns:
        See `oracle.Oracle.diagnosis`; the kinds are `KINDS`.

    Raises:
        InputError: see `hico.evaluate_hico`.
        ValueError: unknown protocol, box convention or recall steps.
    """
    rules = protocol_named(protocol, recall_steps)
    index = ImageIndex.of(images)
    offset = offset_of(boxes, rules.offset_xyxy)
    detections, scores = detections_of(predictions, index, vocabulary, offset)
    truth = ground_truth_of(instances, interactions, index, vocabulary, rules.offset_xyxy)
    # Mending may bring equally scored classes of one query into one class: by class then.
    rows = np.lexsort((detections.hoi, detections.pair, detections.image))
    detections, scores = detections.take(rows), scores[rows]
    order = order_by_class(detections.hoi, scores)
    correct = true_positives(detections, truth, order, rules.rule)
    oracle = Oracle(
        detections.hoi,
        scores,
        correct,
        np.ones(len(scores), bool),
        truth.hoi,
        vocabulary.num_hois,
        find_errors(detections, truth, correct, vocabulary, rules),
        lambda curves: curves.average_precision(rules.recall_steps),
    )
    return oracle.diagnosis(protocol, pair_recall(detections, truth, rules.rule))
