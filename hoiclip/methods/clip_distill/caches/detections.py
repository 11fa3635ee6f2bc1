"""Which detections of an image are kept. NumPy only.

The rule is that of the two-stage detectors in UPT's line (Zhang et al., CVPR 2022); which one Wan &
Tuytelaars use is not published.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hoiclip.methods.clip_distill.caches.config import DetectionsConfig
from hoiclip.pairs.pair_nms import pair_nms


@dataclass(frozen=True)
class Detections:
    """N detections of one image.

    Attributes:
        boxes_xyxy: (N, 4) float32, in pixels of the image, not clipped.
        scores: (N,) float32 in [0, 1].
        objects: (N,) int64, object class.
        features: (N, D), what the detector's last decoder layer gives.
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    objects: np.ndarray
    features: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, chosen: np.ndarray | slice) -> Detections:
        """Those that an index array, a mask or a slice chooses."""
        columns = (self.boxes_xyxy, self.scores, self.objects, self.features)
        return Detections(*(column[chosen] for column in columns))


def keep_detections(found: Detections, person: int, config: DetectionsConfig) -> Detections:
    """What is left after suppression within a class, threshold, and least and largest number of
    people and of other instances; the order stays.

    Of equal scores the earlier detection comes first.

    Args:
        found: all detections.
        person: object class of people.
        config: the rule.
    """
    if config.nms_iou is not None:
        boxes = found.boxes_xyxy
        # Boxes as pairs of a box with itself, of which the object's overlap does not count.
        kept = pair_nms(boxes, boxes, found.objects, found.scores, config.nms_iou, 1.0, 0.0)
        found = found[kept]
    chosen = np.zeros(len(found), bool)
    for group in (found.objects == person, found.objects != person):
        ranked = np.flatnonzero(group)
        ranked = ranked[np.argsort(-found.scores[ranked], kind="stable")]
        enough = int((found.scores[ranked] >= config.score_threshold).sum())
        count = max(enough, config.min_instances)
        if config.max_instances is not None:
            count = min(count, config.max_instances)
        chosen[ranked[:count]] = True
    return found[chosen]
