"""Detected pairs of one image → what the student takes of them."""

from __future__ import annotations

import numpy as np
import torch

from hoiclip.methods.clip_distill.caches.detections import Detections
from hoiclip.methods.clip_distill.caches.pairs import NO_OBJECT, ImagePairs
from hoiclip.methods.clip_distill.model.batch import PairBatch
from hoiclip.methods.clip_distill.model.box_geometry import box_geometry
from hoiclip.methods.clip_distill.view import boxes_in_view


def student_pairs(
    pairs: ImagePairs, detections: Detections, size: tuple[int, int], side: int
) -> PairBatch:
    """A batch of one image.

    Args:
        pairs: P pairs of the detections.
        detections: of the image.
        size: width and height of the image, px.
        side: of CLIP's square view, px, which gets the image padded.
    """
    alone = pairs.object == NO_OBJECT
    # A pair without an object has the number of its human, after those of all objects.
    instances = np.where(alone, len(detections) + pairs.human, pairs.object)
    _, instances = np.unique(instances, return_inverse=True)
    features = np.asarray(detections.features, np.float32)
    # Position -1 would be the last detection.
    object_features = np.where(alone[:, None], 0, features[np.where(alone, 0, pairs.object)])
    boxes = (
        np.nan_to_num(boxes_in_view(b, size, side), nan=0.0)
        for b in (pairs.human_boxes_xyxy, pairs.object_boxes_xyxy, pairs.union_boxes_xyxy)
    )
    columns = (
        np.zeros(len(pairs), np.int64),
        *boxes,
        features[pairs.human],
        object_features.astype(np.float32),
        box_geometry(pairs, size),
        pairs.objects.astype(np.int64),
        instances.reshape(-1).astype(np.int64),
    )
    return PairBatch(*map(torch.from_numpy, columns))
