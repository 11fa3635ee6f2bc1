"""Predicted rows as arrays, and the checks that all formats share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from hoiclip.core.schema import numpy_to_fixed_lists
from hoiclip.errors import InputError

UNKNOWN_HOI = -1

_TO_FIX = "fix or drop the row"


@dataclass(frozen=True)
class Rows:
    """N predictions in the order of the file.

    Attributes:
        image_id: (N,).
        query: (N,) equal for rows of one image that are about the same pair; on equal scores the
            smaller one comes first.
        verb: (N,).
        hoi: (N,) HOI class; -1 where verb and object class have none.
        human_boxes_xyxy: (N, 4) float64.
        object_boxes_xyxy: (N, 4) float64; NaN where there is no object.
        scores: (N,) float64.
    """

    image_id: np.ndarray
    query: np.ndarray
    verb: np.ndarray
    hoi: np.ndarray
    human_boxes_xyxy: np.ndarray
    object_boxes_xyxy: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def repeated(self) -> int:
        """How many rows repeat another one's image, query and class."""
        columns = (self.image_id, self.query, self.verb, self.hoi)
        order = np.lexsort(columns)
        same = np.ones(max(len(order) - 1, 0), bool)
        for values in columns:
            same &= np.diff(values[order]) == 0
        return int(same.sum())

    def table(self, group: np.ndarray, chosen: np.ndarray, offset_xyxy: np.ndarray) -> pa.Table:
        """What the evaluation reads of `schema.PREDICTIONS`, in double precision.

        Args:
            group: (N,) what stands in the column `hoi`.
            chosen: (N,) bool, the rows to take.
            offset_xyxy: (4,) added to all boxes.
        """
        objects = self.object_boxes_xyxy[chosen]
        missing = np.isnan(objects).all(axis=1)
        return pa.table(
            {
                "image_id": self.image_id[chosen],
                "query": self.query[chosen],
                "hoi": group[chosen],
                "human_box_xyxy": numpy_to_fixed_lists(self.human_boxes_xyxy[chosen] + offset_xyxy),
                "object_box_xyxy": numpy_to_fixed_lists(objects + offset_xyxy, missing),
                "score": self.scores[chosen],
            }
        )


@dataclass(frozen=True)
class Places:
    """Where N values stand in a file, for messages.

    Attributes:
        path: the file.
        rows: (N,) row, or entry of the JSON list.
        within: name of the list within the entry, or "".
        numbers: (N,) place in that list; null without one.
    """

    path: Path
    rows: np.ndarray
    within: str = ""
    numbers: np.ndarray | None = None

    def refuse(self, wrong: np.ndarray, values: np.ndarray, key: str, problem: str) -> None:
        """Raises `InputError` for the first of `values` (N, ...) that is `wrong` (N,)."""
        if wrong.any():
            index = int(np.argmax(wrong))
            if self.numbers is not None:
                key = f"{self.within}[{self.numbers[index]}].{key}"
            value = values[index].tolist()
            raise InputError(self.path, f"{value} {problem}", row=int(self.rows[index]), key=key)

    def check_boxes(self, boxes_xyxy: np.ndarray, key: str) -> None:
        """Refuses (N, 4) boxes that are not finite, or not x1 <= x2, y1 <= y2."""
        finite = np.isfinite(boxes_xyxy).all(axis=1)
        self.refuse(~finite, boxes_xyxy, key, f"is not finite: {_TO_FIX}")
        turned = np.any(boxes_xyxy[:, 2:] < boxes_xyxy[:, :2], axis=1)
        problem = "is not x1 <= x2, y1 <= y2 (is it x, y, width, height, from corner or centre?): "
        self.refuse(turned, boxes_xyxy, key, problem + _TO_FIX)

    def check_scores(self, scores: np.ndarray, key: str = "score") -> None:
        """Refuses (N,) scores that are not finite."""
        self.refuse(~np.isfinite(scores), scores, key, f"is not finite: {_TO_FIX}")


def number_by_first(keys: np.ndarray) -> np.ndarray:
    """(N,) int64 number of each key: equal for equal keys, in the order in which they appear."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    number = np.empty(len(first), np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return number[inverse.reshape(-1)]


def number_boxes(boxes_xyxy: np.ndarray) -> np.ndarray:
    """(N,) int64 number of each distinct row of (N, K) boxes, in the order in which they appear.

    NaNs, of no object, are equal to one another.
    """
    # Equal boxes are to be equal bytes: zero has two signs, and there are many NaNs.
    rows = np.ascontiguousarray(np.where(np.isnan(boxes_xyxy), np.inf, boxes_xyxy + 0.0))
    return number_by_first(rows.view(f"V{rows.itemsize * rows.shape[1]}").ravel())
