"""Interpolated precision of many classes at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hoiclip.evaluation.ap.protocols import RecallSteps

_IN_DOUBLES = {
    "matlab": np.array([i * 0.1 if i <= 5 else 1 - (10 - i) * 0.1 for i in range(11)]),
    "numpy": np.arange(11) * 0.1,
}


@dataclass(frozen=True)
class PrecisionCurves:
    """Precision envelopes of C classes, one after the other.

    Attributes:
        envelope: (T,) largest precision at this true positive or a later one of its class.
        start: (C,) first true positive of each class in `envelope`.
        found: (C,) true positives of each class.
        ground_truths: (C,) ground truths of each class.
    """

    envelope: np.ndarray
    start: np.ndarray
    found: np.ndarray
    ground_truths: np.ndarray

    def at_recall(self, needed: np.ndarray) -> np.ndarray:
        """Largest precision at R recalls or above, 0 where that recall is not reached.

        Args:
            needed: (C, R) true positives that a recall asks for.

        Returns:
            (C, R) float64; NaN for classes without ground truth.
        """
        # Recall 0 is reached by every detection; the best of their precisions is that of the first
        # true positive's envelope.
        needed = np.maximum(needed, 1)
        reached = needed <= self.found[:, None]
        padded = np.append(self.envelope, 0.0)
        place = np.where(reached, self.start[:, None] + needed - 1, len(self.envelope))
        return np.where(self.ground_truths[:, None] > 0, padded[place], np.nan)

    def average_precision(self, steps: RecallSteps) -> np.ndarray:
        """11-point interpolated average precision (PASCAL VOC 2007), (C,) float64 in [0, 1]."""
        needed = exact_needed(self.ground_truths, 10)
        if steps in _IN_DOUBLES:
            needed = floating_needed(self.ground_truths, _IN_DOUBLES[steps])
        return self.at_recall(needed).mean(axis=1)

    def area(self) -> np.ndarray:
        """Area under the envelope over recall, (C,) float64 in [0, 1]; NaN as in `at_recall`."""
        classes = np.repeat(np.arange(len(self.found)), self.found)
        total = np.bincount(classes, self.envelope, minlength=len(self.found))
        empty = np.full(len(self.found), np.nan)
        return np.divide(total, self.ground_truths, out=empty, where=self.ground_truths > 0)


def exact_needed(ground_truths: np.ndarray, steps: int) -> np.ndarray:
    """Fewest true positives t with t / n >= i / steps, by integers, (C, steps + 1)."""
    return -(-ground_truths[:, None] * np.arange(steps + 1) // steps)


def floating_needed(ground_truths: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    """Fewest true positives t with t / n >= recalls[i] in float64, (C, steps + 1).

    Args:
        ground_truths: (C,) n of each class.
        recalls: (steps + 1,) the multiples of 1 / steps, rounded.
    """
    needed = exact_needed(ground_truths, len(recalls) - 1)
    # A rounded step is off by far less than one true positive.
    with np.errstate(invalid="ignore"):
        return needed + (needed / ground_truths[:, None] < recalls)


def precision_curves(
    hoi: np.ndarray, correct: np.ndarray, counted: np.ndarray, ground_truths: np.ndarray
) -> PrecisionCurves:
    """Precision envelopes from detections sorted by class, then by falling score.

    Args:
        hoi: (N,) class of each detection.
        correct: (N,) bool, the true positives.
        counted: (N,) bool, the detections that count; every true positive does.
        ground_truths: (C,) ground truths of each class.
    """
    num_classes = len(ground_truths)
    before = np.concatenate([[0], np.cumsum(counted)])
    first = before[np.searchsorted(hoi, np.arange(num_classes))]
    right = np.flatnonzero(correct)
    classes = hoi[right]
    found = np.bincount(classes, minlength=num_classes)
    start = np.cumsum(found) - found
    true = np.arange(len(right)) - start[classes] + 1
    precision = true / (before[right + 1] - first[classes])
    for begin, end in zip(start, start + found, strict=True):
        backwards = precision[begin:end][::-1]
        np.maximum.accumulate(backwards, out=backwards)
    return PrecisionCurves(precision, start, found, ground_truths)
