"""The best (query, HOI class) pairs of an image, exactly, without sorting all of them."""

from __future__ import annotations

import numpy as np


def top_of_sweep(
    hoi_prob: np.ndarray,
    object_prob: np.ndarray,
    object_of_hoi: np.ndarray,
    enhancements: np.ndarray,
    k: int,
) -> np.ndarray:
    """The k best (query, class) pairs of each of B images, for each of S enhancements.

    The score is HOI probability + (probability of the class's object)² + enhancement. Best come
    first, ties by query, then class.

    Args:
        hoi_prob: (B, Q, C) float32, sigmoid of the HOI logits.
        object_prob: (B, Q, O) sigmoid of the object logits; O > max(object_of_hoi).
        object_of_hoi: (C,) object index of each HOI class.
        enhancements: (S, B, C) float32.
        k: number of pairs; at most Q * C are returned.

    Returns:
        (S, B, min(k, Q * C)) int64 of query * C + class.

    Raises:
        ValueError: a score is NaN.
    """
    num_images, num_queries, num_classes = hoi_prob.shape
    k = min(k, num_queries * num_classes)
    least, most = enhancements.min(axis=0), enhancements.max(axis=0)
    one = len(enhancements) == 1
    squares = np.square(object_prob, dtype=np.float32)
    fused, bound = (np.empty((num_queries, num_classes), np.float32) for _ in range(2))
    top = np.empty((len(enhancements), num_images, k), np.int64)
    for image in range(num_images):
        np.take(squares[image], object_of_hoi, axis=1, out=fused, mode="clip")
        fused += hoi_prob[image]
        # Whatever is among the best under one enhancement reaches, under the largest, what k rows
        # reach under the smallest.
        np.add(fused, least[image], out=bound)
        limit = _lower_bound(bound.ravel(), k)
        if not one:
            np.add(fused, most[image], out=bound)
        candidates = np.flatnonzero(bound.ravel() >= limit)
        values, classes = fused.ravel()[candidates], candidates % num_classes
        for row, enhancement_ in zip(top[:, image], enhancements[:, image], strict=True):
            best = np.argsort(-(values + enhancement_[classes]), kind="stable")[:k]
            row[:] = candidates[best]
    return top


def _lower_bound(values: np.ndarray, k: int) -> np.floating:
    """A number that at least k of `values` (n,) reach and few others do.

    It is the k-th largest of the maxima of 4 k disjoint groups, which needs one plain pass, where
    partitioning all n values would need many.
    """
    groups = 4 * k
    if k == 0 or len(values) < 2 * groups:
        maxima = values
    else:
        whole = len(values) // groups * groups
        maxima = values[:whole].reshape(-1, groups).max(axis=0)
        tail = len(values) - whole
        np.maximum(maxima[:tail], values[whole:], out=maxima[:tail])
    if np.isnan(maxima).any():
        raise ValueError("a score is NaN")
    return np.partition(maxima, len(maxima) - k)[len(maxima) - k] if k else np.float32(np.inf)
