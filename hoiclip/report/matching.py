"""What a run found, missed and invented, image by image, at one score threshold.

The matching is the gallery's, not a protocol's: a prediction finds an annotated (pair, HOI class)
row if the class is the same and both boxes overlap with IoU >= 0.5. The best score chooses first;
each row is found once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hoiclip.data.annotations import Annotations, Pairs
from hoiclip.overlap import row_iou
from hoiclip.schema import fixed_lists_to_numpy
from hoiclip.vocabulary import Vocabulary

LEAST_IOU = 0.5

FOUND = "found"
# Why a prediction is a false alarm.
DUPLICATE = "duplicate"
WRONG_VERB = "wrong verb"
WRONG_OBJECT = "wrong object"
NO_PAIR = "no such pair"
# Why an annotated row is missed.
LOW_SCORE = "scored too low"
OTHER_CLASS = "only other classes"
NOT_LOCALISED = "boxes not found"

FALSE_ALARMS = {
    WRONG_VERB: "both boxes are those of an annotated pair, with this object, but not this verb",
    WRONG_OBJECT: "both boxes are those of an annotated pair, whose object is another",
    DUPLICATE: "found already by a prediction with a better score",
    NO_PAIR: "no annotated pair has these two boxes",
}
MISSES = {
    LOW_SCORE: "a right prediction exists below the threshold",
    OTHER_CLASS: "the pair's boxes are among the shown predictions, this class is not",
    NOT_LOCALISED: "no shown prediction has the pair's two boxes",
}


@dataclass(frozen=True)
class Matches:
    """N predictions against R annotated rows.

    Attributes:
        order: (N,) rows of the predictions table by image, then by falling score.
        image_ids: (N,) of the predictions in that order.
        scores: (N,) likewise.
        found_row: (N,) annotated row that the prediction finds; -1 for none.
        reason: (N,) str, `FOUND` or a key of `FALSE_ALARMS`.
        covered_pair: (N,) annotated pair whose boxes fit best; -1 for none.
        pairs: the annotated pairs and rows.
    """

    order: np.ndarray
    image_ids: np.ndarray
    scores: np.ndarray
    found_row: np.ndarray
    reason: np.ndarray
    covered_pair: np.ndarray
    pairs: Pairs

    @property
    def row_image_ids(self) -> np.ndarray:
        """(R,) image of each annotated row."""
        return self.pairs.image_ids[self.pairs.pair_of_row]


def match(predictions: pa.Table, annotations: Annotations, vocabulary: Vocabulary) -> Matches:
    """Matches a predictions table with a partition; equal scores go by query, then class."""
    pairs = annotations.pairs()
    columns = {key: predictions[key].to_numpy() for key in ("image_id", "query", "hoi", "score")}
    order = np.lexsort((columns["hoi"], columns["query"], -columns["score"], columns["image_id"]))
    image_ids, hoi = columns["image_id"][order], columns["hoi"][order].astype(np.int64)
    human = fixed_lists_to_numpy(predictions["human_box_xyxy"])[order]
    object_ = fixed_lists_to_numpy(predictions["object_box_xyxy"])[order]
    # 'No object' is -1 in pairs, one above the last object in the vocabulary.
    objects = vocabulary.object_of_hoi[hoi]
    objects[objects == vocabulary.num_objects] = -1
    object_[objects == -1] = np.nan
    rows_of_pair: list[list[int]] = [[] for _ in pairs.image_ids]
    for row, pair in enumerate(pairs.pair_of_row.tolist()):
        rows_of_pair[pair].append(row)

    found_row, covered_pair = np.full(len(order), -1), np.full(len(order), -1)
    reason = np.full(len(order), NO_PAIR, object)
    ids, starts = np.unique(image_ids, return_index=True)
    stops = np.append(starts, len(order))[1:]
    for start, stop, near in zip(starts, stops, pairs.image_slices(ids), strict=True):
        if near.start == near.stop:
            continue
        mine = slice(start, stop)
        overlap = _overlap(human[mine], object_[mine], pairs, near)
        free = {row for pair in range(near.start, near.stop) for row in rows_of_pair[pair]}
        for index in np.flatnonzero(overlap.max(1) >= LEAST_IOU):
            place = start + index
            # Best overlap first; of equal ones, the earlier pair.
            fitting = [
                near.start + int(pair)
                for pair in np.argsort(-overlap[index], kind="stable")
                if overlap[index, pair] >= LEAST_IOU
            ]
            same = [
                row
                for pair in fitting
                for row in rows_of_pair[pair]
                if pairs.hoi_of_row[row] == hoi[place]
            ]
            row = next((row for row in same if row in free), -1)
            found_row[place] = row
            free.discard(row)
            covered_pair[place] = fitting[0] if row < 0 else pairs.pair_of_row[row]
            if row >= 0:
                reason[place] = FOUND
            elif same:
                reason[place] = DUPLICATE
            else:
                right = pairs.objects[fitting[0]] == objects[place]
                reason[place] = WRONG_VERB if right else WRONG_OBJECT
    return Matches(
        order, image_ids, columns["score"][order], found_row, reason, covered_pair, pairs
    )


def _overlap(human: np.ndarray, object_: np.ndarray, pairs: Pairs, near: slice) -> np.ndarray:
    """(P, G) smaller of the two IoUs of P predictions and the pairs `near`."""
    count = near.stop - near.start
    ious = [
        row_iou(np.repeat(boxes, count, 0), np.tile(truth[near], (len(boxes), 1)), inclusive=False)
        for boxes, truth in ((human, pairs.human_boxes_xyxy), (object_, pairs.object_boxes_xyxy))
    ]
    return np.minimum(*ious).reshape(len(human), count)


@dataclass(frozen=True)
class AtThreshold:
    """Matches cut at the score where F1 over all images is the highest.

    Attributes:
        threshold: predictions of this score or above are shown; None without predictions.
        shown: (N,) bool.
        miss_reason: (R,) str, `FOUND` or a key of `MISSES`.
    """

    matches: Matches
    threshold: float | None
    shown: np.ndarray
    miss_reason: np.ndarray

    @property
    def found(self) -> int:
        """Number of shown predictions that are right."""
        return int((self.matches.found_row[self.shown] >= 0).sum())

    @property
    def precision(self) -> float | None:
        """Share of the shown predictions that are right; None without any."""
        return self.found / int(self.shown.sum()) if self.shown.any() else None

    @property
    def recall(self) -> float | None:
        """Share of the annotated rows that are found; None without any."""
        return self.found / len(self.miss_reason) if len(self.miss_reason) else None

    def worst_first(self, image_ids: np.ndarray) -> list[int]:
        """Image ids by rising F1, then falling misses, falling false alarms, rising id.

        An image without annotated rows and shown predictions has F1 = 1.
        """
        ids = np.sort(image_ids)
        shown = self.shown & (self.matches.found_row >= 0)
        found = _count(self.matches.image_ids[shown], ids)
        alarms = _count(self.matches.image_ids[self.shown & ~shown], ids)
        misses = _count(self.matches.row_image_ids, ids) - found
        size = 2 * found + alarms + misses
        f1 = np.divide(2.0 * found, size, out=np.ones(len(ids)), where=size > 0)
        return ids[np.lexsort((ids, -alarms, -misses, f1))].tolist()


def _count(values: np.ndarray, ids: np.ndarray) -> np.ndarray:
    return np.bincount(np.searchsorted(ids, values), minlength=len(ids))


def cut(matches: Matches) -> AtThreshold:
    """Chooses the threshold; of equally good ones, the highest."""
    scores = np.sort(matches.scores)[::-1]
    threshold, shown = None, np.zeros(len(scores), bool)
    if len(scores):
        right = (matches.found_row >= 0)[np.argsort(-matches.scores, kind="stable")].cumsum()
        f1 = 2.0 * right / (np.arange(1, len(scores) + 1) + len(matches.pairs.hoi_of_row))
        # Predictions of one score are shown together.
        f1[:-1][scores[:-1] == scores[1:]] = -1
        threshold = float(scores[f1.argmax()])
        shown = matches.scores >= threshold
    reason = np.full(len(matches.pairs.hoi_of_row), NOT_LOCALISED, object)
    covered = np.isin(matches.pairs.pair_of_row, matches.covered_pair[shown])
    reason[covered] = OTHER_CLASS
    any_score = matches.found_row[matches.found_row >= 0]
    reason[any_score] = LOW_SCORE
    reason[matches.found_row[shown & (matches.found_row >= 0)]] = FOUND
    return AtThreshold(matches, threshold, shown, reason)
