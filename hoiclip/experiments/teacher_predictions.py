"""Predictions by the teacher alone, without a student: what a student has to beat. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from hoiclip.core import schema
from hoiclip.methods.clip_distill.caches.classes import ObjectClasses
from hoiclip.methods.clip_distill.caches.tables import ImageCosines, PairCosines
from hoiclip.methods.clip_distill.model.config import TeacherConfig
from hoiclip.methods.clip_distill.model.teacher import image_targets, union_targets


def predict_by_teacher(
    image_ids: Sequence[int],
    unions: Sequence[PairCosines],
    images: ImageCosines,
    classes: ObjectClasses,
    config: TeacherConfig,
    global_power: float,
) -> pa.Table:
    """Every pair with every HOI class of its object, as `schema.PREDICTIONS`.

    Score: detections · teacher's score of the union · (teacher's score of the image) ^
    `global_power`.

    Args:
        image_ids: of N images.
        unions: cosines of each image's pairs, all of them, so that theirs are the detected objects.
        images: cosines of whole images.
        classes: of the vocabulary.
        config: of the teacher; the filter is of training alone.
        global_power: 0 leaves whole images out.
    """
    tables = []
    for row, (image_id, each) in enumerate(zip(image_ids, unions, strict=True)):
        pairs = each.pairs
        if not len(pairs):
            continue
        union = union_targets(
            each.cosines, each.null, pairs.objects, pairs.scores, classes, config
        ).probability
        whole = image_targets(
            images.cosines[row], images.null[row], pairs.objects, classes, config
        ).probability
        pair, place = np.nonzero(classes.mask[pairs.objects])
        hoi = classes.indices[pairs.objects][pair, place]
        hoi_score, object_score = union[pair, place], pairs.scores[pair]
        clip_score = whole[hoi] ** np.float32(global_power)
        boxes = pairs.object_boxes_xyxy[pair]
        columns = {
            "image_id": np.full(len(pair), image_id),
            "query": pair.astype(np.int32),
            "hoi": hoi.astype(np.int32),
            "human_box_xyxy": schema.numpy_to_fixed_lists(pairs.human_boxes_xyxy[pair]),
            "object_box_xyxy": schema.numpy_to_fixed_lists(boxes, np.isnan(boxes).any(1)),
            "score": object_score * hoi_score * clip_score,
            "hoi_score": hoi_score,
            "object_score": object_score,
            "clip_score": clip_score,
        }
        tables.append(pa.table(columns).cast(schema.PREDICTIONS))
    return pa.concat_tables([schema.PREDICTIONS.empty_table(), *tables])
