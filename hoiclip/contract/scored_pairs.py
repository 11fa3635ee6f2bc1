"""What every method says of images in the end: pairs with scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ScoredPairs:
    """The N (pair, HOI class) rows kept over a batch: by image, best score first.

    Attributes:
        image: (N,) int64, position in the batch.
        query: (N,) int32, number of the pair within its image.
        hoi: (N,) int32.
        score: (N,) float32.
        hoi_score: (N,) float32, the part of the HOI class.
        object_score: (N,) float32, the part of the detected object, or of the detected pair.
        clip_score: (N,) float32, the part of CLIP's view of the whole image.
        human_boxes_xyxy: (N, 4) float32, in pixels of the original image, not clipped.
        object_boxes_xyxy: (N, 4) likewise; NaN where there is no object.
    """

    image: np.ndarray
    query: np.ndarray
    hoi: np.ndarray
    score: np.ndarray
    hoi_score: np.ndarray
    object_score: np.ndarray
    clip_score: np.ndarray
    human_boxes_xyxy: np.ndarray
    object_boxes_xyxy: np.ndarray
