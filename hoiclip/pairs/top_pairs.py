"""The best (query, HOI class) pairs of an image, exactly, without sorting all of them."""

from __future__ import annotations

import numpy as np


def select_top_pairs(scores: np.ndarray, k: int = 100) -> np.ndarray:
    """The k best (query, class) positions of each image, best first, ties by query, then class.

    Args:
        scores: (B, Q, C).
        k: number of rows; at most Q * C are returned.

    Returns:
        (B, min(k, Q * C)) int64 of query * C + class.

    Raises:
        ValueError: a score is NaN.
    """
    flat = scores.reshape(len(scores), scores.shape[1] * scores.shape[2])
    k = min(k, flat.shape[1])
    top = np.empty((len(flat), k), np.int64)
    for image, row in enumerate(flat):
        candidates = np.flatnonzero(row >= _lower_bound(row, k))
        top[image] = candidates[np.argsort(-row[candidates], kind="stable")[:k]]
    return top


def top_of_sweep(
    hoi_prob: np.ndarray,
    object_prob: np.ndarray,
    object_of_hoi: np.ndarray,
    enhancements: np.ndarray,
    k: int,
) -> np.ndarray:
    """`select_top_pairs(fuse(...))` of B images for each of S `enhancements` (S, B, C).

    Returns:
        (S, B, min(k, Q * C)) int64 of query * C + class.
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
