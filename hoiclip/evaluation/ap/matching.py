"""Which detections are right: overlaps of pairs of boxes and the greedy assignment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np

from hoiclip.evaluation.ap.protocols import OverlapRule
from hoiclip.pairs.iou import row_iou

PAIRS_PER_CHUNK = 1 << 18


@dataclass(frozen=True)
class Pairs:
    """N human-object pairs with an HOI class, in one protocol's box convention.

    Attributes:
        image: (N,) int64, position in the images table.
        hoi: (N,) int64.
        human_boxes_xyxy: (N, 4).
        object_boxes_xyxy: (N, 4); NaN where there is no object.
        pair: (N,) int64, equal within an image for rows with the same two boxes: the query of a
            detection, any number of the (human, object) of a ground truth.
    """

    image: np.ndarray
    hoi: np.ndarray
    human_boxes_xyxy: np.ndarray
    object_boxes_xyxy: np.ndarray
    pair: np.ndarray

    def __len__(self) -> int:
        return len(self.hoi)

    def take(self, rows: np.ndarray) -> Pairs:
        """The pairs at positions `rows`."""
        return Pairs(*(getattr(self, field.name)[rows] for field in fields(self)))


def box_overlap(boxes_xyxy: np.ndarray, others_xyxy: np.ndarray, rule: OverlapRule) -> np.ndarray:
    """(P,) IoU of boxes (P, 4), row by row; two that are missing overlap wholly."""
    return row_iou(
        boxes_xyxy, others_xyxy, inclusive=rule.inclusive, least_extent=rule.least_extent
    )


def pair_overlap(
    detections: Pairs, rows: np.ndarray, ground_truth: Pairs, others: np.ndarray, rule: OverlapRule
) -> np.ndarray:
    """(P,) min(IoU_human, IoU_object) of detections `rows` and ground truths `others`."""
    human, object_ = (
        box_overlap(boxes[rows], annotated[others], rule)
        for boxes, annotated in (
            (detections.human_boxes_xyxy, ground_truth.human_boxes_xyxy),
            (detections.object_boxes_xyxy, ground_truth.object_boxes_xyxy),
        )
    )
    return np.minimum(human, object_)


def is_enough(overlap: np.ndarray, rule: OverlapRule) -> np.ndarray:
    """Whether an overlap makes a box right."""
    return overlap > 0.5 if rule.strict else overlap >= 0.5


def order_by_class(hoi: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(N,) positions sorted by class, then by falling score; equal ones stay in their order."""
    order = _order_by_score(scores)
    # Sixteen bits, which is enough for most vocabularies, are sorted by radix.
    narrow = hoi.astype(np.min_scalar_type(hoi.max(initial=0)))
    return order[np.argsort(narrow[order], kind="stable")]


def _order_by_score(scores: np.ndarray) -> np.ndarray:
    """(N,) positions by falling score, none NaN; equal ones stay in their order."""
    if scores.dtype != np.float32:
        return np.argsort(-scores, kind="stable")
    # From zero, because minus zero is equal to it and its bits are not.
    bits = (0 - scores).view(np.uint32)
    # Turned so that they rise with the number; then two halves, each sorted by radix.
    bits ^= np.where(bits >> 31, np.uint32(0xFFFFFFFF), np.uint32(0x80000000))
    order = np.argsort(bits.astype(np.uint16), kind="stable")
    return order[np.argsort((bits >> 16).astype(np.uint16)[order], kind="stable")]


def true_positives(
    detections: Pairs, ground_truth: Pairs, order: np.ndarray, rule: OverlapRule
) -> np.ndarray:
    """Which detections are right.

    Taken from the best score down, a detection belongs to the ground truth of its image and class
    with which min(IoU_human, IoU_object) is largest (of equal ones, the first), whether or not that
    one is taken. It is right if the overlap is enough and the ground truth is not taken. Hence the
    right detections are, for each ground truth, the best scored one that belongs to it.

    Args:
        detections: N pairs.
        ground_truth: M pairs.
        order: (N,) positions in which the detections of one class are taken.
        rule: the protocol's overlap.

    Returns:
        (N,) bool.
    """
    rank = np.empty(len(detections), np.int64)
    rank[order] = np.arange(len(order))
    winner = np.full(len(ground_truth), len(order))
    size = 1 + max(detections.hoi.max(initial=0), ground_truth.hoi.max(initial=0))
    for rows, others, starts in candidates(
        detections.image * size + detections.hoi, ground_truth.image * size + ground_truth.hoi
    ):
        overlap = pair_overlap(detections, rows, ground_truth, others, rule)
        best = np.maximum.reduceat(overlap, starts)
        counts = np.diff(starts, append=len(rows))
        level = np.flatnonzero(overlap == np.repeat(best, counts))
        first = level[np.searchsorted(level, starts)]
        right = first[is_enough(best, rule)]
        np.minimum.at(winner, others[right], rank[rows[right]])
    correct = np.zeros(len(detections), bool)
    correct[order[winner[winner < len(order)]]] = True
    return correct


def pair_recall(detections: Pairs, ground_truth: Pairs, rule: OverlapRule) -> float:
    """Share of the annotated pairs that some detection of the image covers, whatever its class.

    A (human, object) annotated with several HOI classes counts once. NaN without ground truth.
    """
    if not len(ground_truth):
        return float("nan")
    rows = _distinct(detections)
    truth = _distinct(ground_truth)
    found = np.zeros(len(ground_truth), bool)
    for near, others, _ in candidates(detections.image[rows], ground_truth.image[truth]):
        # Both boxes have to be right, and few humans are.
        near, others = rows[near], truth[others]
        human = box_overlap(
            detections.human_boxes_xyxy[near], ground_truth.human_boxes_xyxy[others], rule
        )
        right = is_enough(human, rule)
        near, others = near[right], others[right]
        object_ = box_overlap(
            detections.object_boxes_xyxy[near], ground_truth.object_boxes_xyxy[others], rule
        )
        found[others[is_enough(object_, rule)]] = True
    return float(found.sum() / len(truth))


def _distinct(pairs: Pairs) -> np.ndarray:
    """First row of each (image, pair), by image."""
    image, pair = pairs.image, pairs.pair
    step = np.diff(image)
    order = np.arange(len(pairs))
    if ((step < 0) | ((step == 0) & (np.diff(pair) < 0))).any():
        order = np.lexsort((pair, image))
        image, pair = image[order], pair[order]
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(image) != 0) | (np.diff(pair) != 0)
    return order[new]


def candidates(
    keys: np.ndarray, other_keys: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Positions (i, j) with keys[i] == other_keys[j], in chunks that bound the memory.

    Yields:
        i (P,) in rising order, j (P,) rising for one i, and where each i begins in them.
    """
    other_order = np.argsort(other_keys, kind="stable")
    distinct, begin, count = np.unique(
        other_keys[other_order], return_index=True, return_counts=True
    )
    if not len(distinct):
        return
    place = np.minimum(np.searchsorted(distinct, keys), len(distinct) - 1)
    rows = np.flatnonzero(distinct[place] == keys)
    begin, count = begin[place[rows]], count[place[rows]]
    chunk = (np.cumsum(count) - 1) // PAIRS_PER_CHUNK
    edges = np.flatnonzero(np.diff(chunk, prepend=-1))
    for first, last in pairwise([*edges, len(rows)]):
        counts = count[first:last]
        starts = np.cumsum(counts) - counts
        within = np.arange(counts.sum()) - np.repeat(starts, counts)
        others = other_order[np.repeat(begin[first:last], counts) + within]
        yield np.repeat(rows[first:last], counts), others, starts
