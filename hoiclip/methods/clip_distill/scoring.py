"""From probabilities to the best (pair, HOI class) rows of an image. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hoiclip.methods.clip_distill.config import DistillScoring


@dataclass(frozen=True)
class PairScores:
    """What detector and student say of P pairs of B images, K classes of the object each.

    Attributes:
        image: (P,) position of each pair's image in the batch.
        classes: (P, K) HOI classes of the pair's object, ascending.
        mask: (P, K) bool, which of them are classes of the object.
        probability: (P, K) in [0, 1].
        detection: (P,) product of the scores of the detections.
        image_probability: (B, C) of each HOI class in the whole image; None for none.
    """

    image: np.ndarray
    classes: np.ndarray
    mask: np.ndarray
    probability: np.ndarray
    detection: np.ndarray
    image_probability: np.ndarray | None


@dataclass(frozen=True)
class ScoredRows:
    """N rows: by image, best score first; of equal scores the first pair, then the first class.

    Attributes:
        image: (N,) int64.
        pair: (N,) int64, position among the P pairs.
        hoi: (N,) int32.
        score: (N,) float32.
        hoi_score: (N,) float32, the probability of the class.
        object_score: (N,) float32, the product of the scores of the detections.
        clip_score: (N,) float32, the factor of the global branch; 1 without it.
    """

    image: np.ndarray
    pair: np.ndarray
    hoi: np.ndarray
    score: np.ndarray
    hoi_score: np.ndarray
    object_score: np.ndarray
    clip_score: np.ndarray


def best_rows(pairs: PairScores, scoring: DistillScoring, top_k: int) -> ScoredRows:
    """The best `top_k` rows of each image; a class of another object than the pair's has none.

    Raises:
        ValueError: a score is not finite.
    """
    pair, place = np.nonzero(pairs.mask)
    hoi = pairs.classes[pair, place].astype(np.int32)
    image = np.asarray(pairs.image, np.int64)[pair]
    hoi_score = pairs.probability[pair, place].astype(np.float32)
    object_score = pairs.detection[pair].astype(np.float32)
    clip_score = np.ones_like(hoi_score)
    if pairs.image_probability is not None:
        seen = pairs.image_probability[image, hoi].astype(np.float32)
        clip_score = seen ** np.float32(scoring.global_power)
    score = object_score ** np.float32(scoring.detection_power) * hoi_score * clip_score
    if not np.isfinite(score).all():
        raise ValueError("a score is not finite")
    # A stable sort, of rows that stand by pair and class.
    order = np.lexsort((-score, image))
    start = np.searchsorted(image[order], image[order])
    order = order[np.arange(len(order)) - start < top_k]
    columns = (image, pair, hoi, score, hoi_score, object_score, clip_score)
    return ScoredRows(*(column[order] for column in columns))
