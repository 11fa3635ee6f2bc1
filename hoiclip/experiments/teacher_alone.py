"""How far the teacher of label-free distillation gets by itself on the test images."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from hoiclip import schema
from hoiclip.clip_weights import load_clip
from hoiclip.data.annotations import Annotations
from hoiclip.data.images import ImageStore
from hoiclip.evaluation.hico import evaluate_hico
from hoiclip.evaluation.outputs import metrics
from hoiclip.experiments.crops_alone import LEAST_SCORE, TEMPERATURE
from hoiclip.methods.clip_distill.config import ClipDistillConfig, DetectionsConfig, TeacherConfig
from hoiclip.methods.clip_distill.detect import ObjectDetector
from hoiclip.methods.clip_distill.inputs import DistillPaths, DistillSettings
from hoiclip.methods.clip_distill.pairs import make_pairs
from hoiclip.methods.clip_distill.passes import clip_scores, detect_images
from hoiclip.methods.clip_distill.teacher import classes_of_object
from hoiclip.methods.clip_distill.teacher_alone import predict_by_teacher
from hoiclip.methods.clip_distill.view import clip_view
from hoiclip.text_embeddings import read_text_embeddings
from hoiclip.vocabulary import Vocabulary


@dataclass(frozen=True)
class TeacherRow:
    """One way to let the teacher predict.

    Attributes:
        name: of the row in a table.
        detections: which pairs there are.
        teacher: how cosines become scores.
        global_power: exponent of the score of the whole image; 0 leaves it out.
    """

    name: str
    detections: DetectionsConfig
    teacher: TeacherConfig
    global_power: float


def teacher_rows(config: ClipDistillConfig) -> list[TeacherRow]:
    """From CLIP on crops alone to the whole teacher of `config`, whose detector they share."""
    every = replace(
        config.detections, score_threshold=LEAST_SCORE, nms_iou=None, min_instances=0,
        max_instances=None, max_pairs=None,
    )  # fmt: skip
    crops = replace(
        config.teacher, view="crop", temperature=TEMPERATURE, null_prompt=False,
        global_scope="object",
    )  # fmt: skip
    null = replace(crops, null_prompt=True)
    padded, power = replace(null, view="pad"), config.predict.global_power
    return [
        TeacherRow("teacher alone, as CLIP on crops", every, crops, 0.0),
        TeacherRow("with null prompt", every, null, 0.0),
        TeacherRow("with null prompt, padded, whole image", every, padded, power),
        TeacherRow("the same, detections of params", config.detections, config.teacher, power),
    ]


def predict_row(
    row: TeacherRow, paths: DistillPaths, settings: DistillSettings, images: pa.Table
) -> pa.Table:
    """Predictions of a row; images, and the files but for the caches, are those of `paths`."""
    vocabulary = Vocabulary.read(paths.vocabulary)
    classes = classes_of_object(vocabulary)
    clip = load_clip(paths.clip).visual()
    detector = ObjectDetector.read(
        paths.detector, settings.detector, row.detections.num_queries, vocabulary
    )
    store, passes = ImageStore(paths.images), replace(settings.method.caches, batch_size=1)
    found = detect_images(detector, images, store, row.detections, passes)
    whole, unions = clip_scores(
        clip,
        clip_view(clip, row.teacher.view),
        read_text_embeddings(paths.text_embeddings, vocabulary),
        images,
        store,
        [make_pairs(each, vocabulary) for each in found],
        classes,
        passes,
    )
    ids = images["image_id"].to_pylist()
    return predict_by_teacher(ids, unions, whole, classes, row.teacher, row.global_power)


def score_teacher_alone(
    paths: DistillPaths, settings: DistillSettings, test: Path, classes: Path
) -> list[dict[str, Any]]:
    """Test metrics of each of `teacher_rows`, and the seconds it took.

    Args:
        paths: with the table and the folder of the test images.
        settings: of the method.
        test: folder of the test annotations.
        classes: classes.parquet.
    """
    vocabulary = Vocabulary.read(paths.vocabulary)
    annotations = Annotations.read(test)
    tables = (annotations.images, annotations.instances, annotations.interactions)
    results = []
    for row in teacher_rows(settings.method):
        started = time.process_time()
        predictions = predict_row(row, paths, settings, annotations.images)
        result = evaluate_hico(
            predictions, *tables, vocabulary, schema.read_table(classes, schema.CLASSES)
        )
        seconds = round(time.process_time() - started, 1)
        results.append({"name": row.name, "metrics": metrics(result), "cpu_seconds": seconds})
    return results
