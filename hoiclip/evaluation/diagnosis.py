"""Where the average precision goes: what mending each kind of error would give.

The kinds are those of `pair_errors`. Mending, one kind at a time:

- `verb`, `object`, `verb_and_object`: the detection takes the class of the pair it belongs to;
- `human_box`, `object_box`, `both_boxes`: it takes the boxes of the pair it belongs to;
- `duplicate`, `background`: it is removed;
- `missed`: the annotation is left out of the recall; a class with nothing left to find has AP 1.

Where mending makes several detections find one annotation, the best scored one finds it and the
others are removed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from hoiclip.evaluation.average_precision import precision_curves
from hoiclip.evaluation.hico import PROTOCOLS, Protocol
from hoiclip.evaluation.matching import Pairs, order_by_class, pair_recall, true_positives
from hoiclip.evaluation.pair_errors import DETECTION_KINDS, find_errors
from hoiclip.evaluation.tables import ImageIndex, detections_of, ground_truth_of
from hoiclip.vocabulary import Vocabulary

KINDS = (*DETECTION_KINDS, "missed")

_REMOVED = ("duplicate", "background")
_RECLASSED = ("verb", "object", "verb_and_object")


def diagnose(
    predictions: pa.Table,
    images: pa.Table,
    instances: pa.Table,
    interactions: pa.Table,
    vocabulary: Vocabulary,
    protocol: str = "hico",
) -> dict[str, Any]:
    """Explains the Default mAP of a predictions table.

    Args:
        predictions: rows of `schema.PREDICTIONS`, in any order.
        images: the partition's `schema.IMAGES`.
        instances: the partition's `schema.INSTANCES`.
        interactions: the partition's `schema.INTERACTIONS`.
        vocabulary: the classes.
        protocol: as of `hico.evaluate_hico`.

    Returns:
        `protocol`; `map`, the mean AP of the classes with annotations, and `lost`, 100 minus it;
        `delta_ap`, kind → what mending this kind alone would add to `map`; `share`, kind → percent
        of the sum of all `delta_ap` (which is not `lost`: errors mask one another); `count`,
        kind → detections or, of `missed`, annotations; `pair_recall`, percent of the annotated
        pairs that some detection covers, whatever its class. All but counts are in percent, null
        where they are undefined.

    Raises:
        InputError: see `hico.evaluate_hico`.
        ValueError: unknown protocol.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}, expected one of {', '.join(PROTOCOLS)}")
    rules = PROTOCOLS[protocol]
    index = ImageIndex.of(images)
    detections, scores = detections_of(predictions, index, vocabulary, rules.offset_xyxy)
    truth = ground_truth_of(instances, interactions, index, vocabulary, rules.offset_xyxy)
    oracle = _Oracle(detections, scores, truth, vocabulary, rules)
    before = oracle.mean_ap()
    delta = {kind: _minus(oracle.mended(kind), before) for kind in KINDS}
    total = sum(value or 0.0 for value in delta.values())
    recall = pair_recall(detections, truth, rules.rule)
    return {
        "protocol": protocol,
        "map": before,
        "lost": _minus(100.0, before),
        "delta_ap": delta,
        "share": {k: 100 * (v or 0.0) / total if total else None for k, v in delta.items()},
        "count": oracle.errors.counts(),
        "pair_recall": None if np.isnan(recall) else 100 * recall,
    }


def _minus(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


class _Oracle:
    """Mean AP of the detections as they are, and with the errors of one kind mended."""

    def __init__(
        self,
        detections: Pairs,
        scores: np.ndarray,
        truth: Pairs,
        vocabulary: Vocabulary,
        rules: Protocol,
    ) -> None:
        self._hoi, self._truth_hoi, self._scores = detections.hoi, truth.hoi, scores
        self._floating_steps = rules.floating_steps
        self._positives = np.bincount(truth.hoi, minlength=vocabulary.num_hois)
        self._order = order_by_class(detections.hoi, scores)
        self._correct = true_positives(detections, truth, self._order, rules.rule)
        self._rank = np.empty(len(scores), np.int64)
        self._rank[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
        self.errors = find_errors(detections, truth, self._correct, vocabulary, rules)

    def mean_ap(
        self,
        *,
        hoi: np.ndarray | None = None,
        correct: np.ndarray | None = None,
        removed: np.ndarray | None = None,
        left: np.ndarray | None = None,
    ) -> float | None:
        """mAP in percent with other classes, right or removed detections (N,), positives (C,)."""
        order = self._order if hoi is None else order_by_class(hoi, self._scores)
        hoi = self._hoi if hoi is None else hoi
        correct = self._correct if correct is None else correct
        counted = np.ones(len(order), bool) if removed is None else ~removed
        left = self._positives if left is None else left
        curves = precision_curves(hoi[order], correct[order], counted[order], left)
        values = curves.average_precision(self._floating_steps)[self._positives > 0]
        return float(np.nan_to_num(values, nan=1.0).mean()) * 100 if len(values) else None

    def mended(self, kind: str) -> float | None:
        """mAP in percent without the errors of a kind."""
        errors = self.errors
        if kind == "missed":
            missed = np.bincount(self._truth_hoi[errors.missed], minlength=len(self._positives))
            return self.mean_ap(left=self._positives - missed)
        wrong = errors.kind == DETECTION_KINDS.index(kind)
        if kind in _REMOVED:
            return self.mean_ap(removed=wrong)
        rows = np.flatnonzero(wrong | self._correct)
        best_first = rows[np.argsort(self._rank[rows])]
        correct = np.zeros(len(wrong), bool)
        correct[best_first[np.unique(errors.target[best_first], return_index=True)[1]]] = True
        removed = (wrong | self._correct) & ~correct
        hoi = self._hoi
        if kind in _RECLASSED:
            hoi = hoi.copy()
            hoi[wrong] = self._truth_hoi[errors.target[wrong]]
            return self.mean_ap(hoi=hoi, correct=correct, removed=removed)
        return self.mean_ap(correct=correct, removed=removed)
