"""What fixing the errors of one kind would add to a mean average precision.

Fixing, one kind at a time, where a detection belongs to one annotation:

- `verb`, `object`, `verb_and_object` of HICO-DET, `verb` of V-COCO: it takes the class of the
  annotation;
- `human_box`, `object_box`, `both_boxes`, and `object` of V-COCO: it takes its boxes;
- `duplicate`, `background`: it is removed;
- `missed`: the annotation is left out of the recall; a class with nothing left to find has AP 1.

Where fixing makes several detections find one annotation, the best scored one finds it and the
others are removed. Everything else stays: an annotation keeps the detection that finds it unless a
fixed one has a better score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hoiclip.evaluation.ap.average_precision import PrecisionCurves, precision_curves
from hoiclip.evaluation.ap.matching import order_by_class

RIGHT = -1
REMOVED = ("duplicate", "background")


@dataclass(frozen=True)
class Errors:
    """Kinds of N detections and M annotations.

    Attributes:
        kinds: names of the kinds of wrong detections, `duplicate` and `background` among them.
        reclassed: those of them that fixing the class fixes.
        kind: (N,) position in `kinds`; -1 for detections that are right or not counted.
        target: (N,) annotation the detection belongs to; -1 for none.
        missed: (M,) bool, annotations that no detection finds and no wrong one belongs to.
    """

    kinds: tuple[str, ...]
    reclassed: tuple[str, ...]
    kind: np.ndarray
    target: np.ndarray
    missed: np.ndarray

    def counts(self) -> dict[str, int]:
        """Kind → detections, or annotations of `missed`."""
        wrong = np.bincount(self.kind[self.kind != RIGHT], minlength=len(self.kinds))
        counts = dict(zip(self.kinds, wrong.tolist(), strict=True))
        return counts | {"missed": int(self.missed.sum())}


def unfound(target: np.ndarray, correct: np.ndarray, wrong: np.ndarray, num: int) -> np.ndarray:
    """(num,) bool: annotations that no `correct` and no `wrong` detection (N,) belongs to."""
    missed = np.ones(num, bool)
    missed[target[(correct | wrong) & (target >= 0)]] = False
    return missed


@dataclass(frozen=True, kw_only=True)
class Oracle:
    """Detections, annotations and errors of C classes (HOI classes, or roles).

    Attributes:
        classes: (N,) class of each detection.
        scores: (N,); of equal ones the earlier row comes first.
        correct: (N,) bool, the right detections.
        counted: (N,) bool, those that count at all.
        truth_classes: (M,) class of each annotation.
        num_classes: C.
        errors: the errors of the detections; right ones have their annotation as target.
        average_precision: AP of each class from the curves.
    """

    classes: np.ndarray
    scores: np.ndarray
    correct: np.ndarray
    counted: np.ndarray
    truth_classes: np.ndarray
    num_classes: int
    errors: Errors
    average_precision: Callable[[PrecisionCurves], np.ndarray]

    def diagnosis(self, protocol: str, pair_recall: float) -> dict[str, Any]:
        """The diagnosis as `diagnosis.json` has it.

        Args:
            protocol: name of the rules.
            pair_recall: in [0, 1], or NaN.

        Returns:
            `protocol`; `map`, the mean AP of the classes with annotations, and `lost`, 100 minus
            it; `delta_ap`, kind → what fixing this kind alone would add to `map`; `share`, kind →
            percent of the sum of all `delta_ap` (which is not `lost`: errors mask one another);
            `count`, kind → detections or, of `missed`, annotations; `pair_recall`, percent of the
            annotated pairs that some detection covers, whatever its class. All but counts are in
            percent, null where they are undefined.
        """
        before = self._mean_ap()
        kinds = (*self.errors.kinds, "missed")
        delta = {kind: _minus(self._fixed(kind), before) for kind in kinds}
        total = sum(value or 0.0 for value in delta.values())
        return {
            "protocol": protocol,
            "map": before,
            "lost": _minus(100.0, before),
            "delta_ap": delta,
            "share": {k: 100 * (v or 0.0) / total if total else None for k, v in delta.items()},
            "count": self.errors.counts(),
            "pair_recall": None if np.isnan(pair_recall) else 100 * pair_recall,
        }

    @cached_property
    def _positives(self) -> np.ndarray:
        return np.bincount(self.truth_classes, minlength=self.num_classes)

    @cached_property
    def _order(self) -> np.ndarray:
        return order_by_class(self.classes, self.scores)

    @cached_property
    def _rank(self) -> np.ndarray:
        rank = np.empty(len(self.scores), np.int64)
        rank[np.argsort(-self.scores, kind="stable")] = np.arange(len(self.scores))
        return rank

    def _mean_ap(
        self,
        *,
        classes: np.ndarray | None = None,
        correct: np.ndarray | None = None,
        removed: np.ndarray | None = None,
        left: np.ndarray | None = None,
    ) -> float | None:
        """mAP in percent with other classes, right or removed detections (N,), positives (C,)."""
        order = self._order if classes is None else order_by_class(classes, self.scores)
        classes = self.classes if classes is None else classes
        correct = self.correct if correct is None else correct
        counted = self.counted if removed is None else self.counted & ~removed
        left = self._positives if left is None else left
        curves = precision_curves(classes[order], correct[order], counted[order], left)
        values = self.average_precision(curves)[self._positives > 0]
        return float(np.nan_to_num(values, nan=1.0).mean()) * 100 if len(values) else None

    def _fixed(self, kind: str) -> float | None:
        """mAP in percent without the errors of a kind."""
        errors = self.errors
        if kind == "missed":
            missed = np.bincount(self.truth_classes[errors.missed], minlength=self.num_classes)
            return self._mean_ap(left=self._positives - missed)
        wrong = errors.kind == errors.kinds.index(kind)
        if kind in REMOVED:
            return self._mean_ap(removed=wrong)
        rows = np.flatnonzero(wrong | self.correct)
        best_first = rows[np.argsort(self._rank[rows])]
        correct = np.zeros(len(wrong), bool)
        correct[best_first[np.unique(errors.target[best_first], return_index=True)[1]]] = True
        removed = (wrong | self.correct) & ~correct
        if kind not in errors.reclassed:
            return self._mean_ap(correct=correct, removed=removed)
        classes = self.classes.copy()
        classes[wrong] = self.truth_classes[errors.target[wrong]]
        return self._mean_ap(classes=classes, correct=correct, removed=removed)


def best_of(rows: np.ndarray, cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each of the rising `rows` begins, and the first place of its least cost."""
    if not len(rows):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    least = np.minimum.reduceat(cost, starts)
    level = np.flatnonzero(cost == np.repeat(least, np.diff(starts, append=len(rows))))
    return starts, level[np.searchsorted(level, starts)]


def _minus(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other
