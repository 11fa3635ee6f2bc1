"""From probabilities to the best (pair, HOI class) rows of images. NumPy only."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from hoiclip.methods.clip_distill.model.config import DistillScoring
from hoiclip.pairs.pair_nms import PairNms, pair_nms


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
    """N rows, by pair, then by class.

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


def score_rows(pairs: PairScores, scoring: DistillScoring) -> ScoredRows:
    """Every pair with every HOI class of its object; a class of another object has no row.

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
    return ScoredRows(image, pair, hoi, score, hoi_score, object_score, clip_score)


def best_rows(
    image: np.ndarray,
    hoi: np.ndarray,
    score: np.ndarray,
    human_boxes_xyxy: np.ndarray,
    object_boxes_xyxy: np.ndarray,
    top_k: int,
    nms: PairNms | None,
) -> np.ndarray:
    """Which rows of images are predictions, the student's and its teacher's alike.

    Args:
        image: (N,) integers, equal for the rows of one image.
        hoi: (N,) HOI classes.
        score: (N,), finite.
        human_boxes_xyxy: (N, 4).
        object_boxes_xyxy: (N, 4); NaN where there is no object.
        top_k: rows of an image before suppression.
        nms: suppression within each image and HOI class; None for none.

    Returns:
        Positions of the rows that are left, by image, best score first; of equal scores the row
        that came first.
    """
    order = np.lexsort((-score, image))
    place = np.arange(len(order)) - np.searchsorted(image[order], image[order])
    best = order[place < top_k]
    if nms is None:
        return best
    classes = image[best] * (hoi.max(initial=0) + 1) + hoi[best]
    boxes = human_boxes_xyxy[best], object_boxes_xyxy[best]
    return best[pair_nms(*boxes, classes, score[best], **asdict(nms))]
