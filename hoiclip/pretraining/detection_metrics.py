"""Box average precision at IoU 0.5, for the model card of a pretrained detector.

pycocotools computes it; boxes without an annotation file are handed to it in COCO's form.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def average_precision_50(
    detections: list[tuple[np.ndarray, np.ndarray]],
    ground_truth: list[tuple[np.ndarray, np.ndarray]],
    num_classes: int,
) -> np.ndarray:
    """AP at IoU 0.5 of each class, in percent; NaN for a class without ground truth.

    Args:
        detections: per image, class probabilities (Q, num_classes) and boxes_xyxy (Q, 4).
        ground_truth: per image, classes (n,) and boxes_xyxy (n, 4).
        num_classes: number of classes.
    """
    coco = COCO()
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image, ((classes, boxes), (probability, found)) in enumerate(
        zip(ground_truth, detections, strict=True)
    ):
        for category, (x1, y1, x2, y2) in zip(classes.tolist(), boxes.tolist(), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": category,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
        best = probability.argmax(1)
        for category, score, (x1, y1, x2, y2) in zip(
            best.tolist(), probability.max(1).tolist(), found.tolist(), strict=True
        ):
            box = [x1, y1, x2 - x1, y2 - y1]
            results.append(
                {"image_id": image, "category_id": category, "bbox": box, "score": score}
            )
    coco.dataset = {
        "info": {},
        "images": [{"id": image} for image in range(len(ground_truth))],
        "categories": [{"id": category} for category in range(num_classes)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, -1]
    precision[precision < 0] = np.nan
    return 100 * precision.mean(0)
