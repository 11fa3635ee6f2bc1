"""The best (query, HOI class) pairs of an image, exactly, without sorting all of them."""

from __future__ import annotations

import numpy as np

IMAGES_AT_ONCE = 8
"""So few that their scores stay near the processor, so many that threads seldom meet."""


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
    size = num_queries * num_classes
    k = min(k, size)
    least, most = enhancements.min(axis=0), enhancements.max(axis=0)
    squares = np.square(object_prob, dtype=np.float32)
    buffers = np.empty((2, IMAGES_AT_ONCE, num_queries, num_classes), np.float32)
    top = np.empty((len(enhancements), num_images, k), np.int64)
    for start in range(0, num_images, IMAGES_AT_ONCE):
        part = slice(start, start + IMAGES_AT_ONCE)
        fused, bound = buffers[:, : len(hoi_prob[part])]
        np.take(squares[part], object_of_hoi, axis=2, out=fused, mode="clip")
        fused += hoi_prob[part]
        # Whatever is among the best under one enhancement reaches, under the largest, what k rows
        # reach under the smallest.
        np.add(fused, least[part, None], out=bound)
        limits = _lower_bounds(bound.reshape(len(bound), size), k)
        if len(enhancements) > 1:
            np.add(fused, most[part, None], out=bound)
        candidates = np.flatnonzero(bound >= limits[:, None, None])
        values, (image, pair) = fused.ravel()[candidates], np.divmod(candidates, size)
        first = np.searchsorted(image, np.arange(len(fused)))[:, None] + np.arange(k)
        for row, enhancement_ in zip(top[:, part], enhancements[:, part], strict=True):
            scores = values + enhancement_[image, pair % num_classes]
            row[:] = pair[np.lexsort((-scores, image))[first]]
    return top


def _lower_bounds(values: np.ndarray, k: int) -> np.ndarray:
    """(B,) numbers that at least k of `values` (B, n) reach and few others do.

    Each is the k-th largest of the maxima of 4 k disjoint groups, which needs one plain pass, where
    partitioning all n values would need many.
    """
    num_images, size = values.shape
    groups = 4 * k
    if not k:
        return np.full(num_images, np.inf, np.float32)
    if size < 2 * groups:
        maxima = values
    else:
        whole = size // groups * groups
        maxima = values[:, :whole].reshape(num_images, -1, groups).max(axis=1)
        tail = size - whole
        np.maximum(maxima[:, :tail], values[:, whole:], out=maxima[:, :tail])
    if np.isnan(maxima).any():
        raise ValueError("a score is NaN")
    place = maxima.shape[1] - k
    return np.partition(maxima, place, axis=1)[:, place]
