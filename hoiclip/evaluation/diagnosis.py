"""Where the average precision of HICO-DET's protocols goes.

The kinds of errors are those of `pair_errors`; what fixing them does is said in `oracle`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.evaluation.ap.matching import pair_recall
from hoiclip.evaluation.ap.protocols import HICO, Protocol
from hoiclip.evaluation.ap.tables import BoxFrame
from hoiclip.evaluation.errors.matched_pairs import match_pairs
from hoiclip.evaluation.errors.oracle import Oracle
from hoiclip.evaluation.errors.pair_errors import DETECTION_KINDS

KINDS = (*DETECTION_KINDS, "missed")


def diagnose(
    predictions: pa.Table,
    annotations: Annotations,
    vocabulary: Vocabulary,
    protocol: Protocol = HICO,
    *,
    boxes: BoxFrame = "schema",
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
        ValueError: unknown box frame.
    """
    matched = match_pairs(predictions, annotations, vocabulary, protocol, boxes=boxes)
    detections, ground_truth = matched.detections, matched.ground_truth
    oracle = Oracle(
        classes=detections.hoi,
        scores=matched.scores,
        correct=matched.correct,
        counted=np.ones(len(detections), bool),
        truth_classes=ground_truth.hoi,
        num_classes=vocabulary.num_hois,
        errors=matched.errors(vocabulary, protocol),
        average_precision=lambda curves: curves.average_precision(protocol.recall_steps),
    )
    return oracle.diagnosis(protocol.name, pair_recall(detections, ground_truth, protocol.rule))
