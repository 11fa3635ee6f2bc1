"""How far the teacher of label-free distillation gets by itself on the test images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from hoiclip.checkpoints.clip import load_clip
from hoiclip.contract.method import RankSettings
from hoiclip.core import schema
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.evaluation.hico import evaluate_hico
from hoiclip.evaluation.outputs import metrics
from hoiclip.experiments.crops_alone import LEAST_SCORE, TEMPERATURE
from hoiclip.experiments.teacher_predictions import predict_by_teacher
from hoiclip.images.store import ImageStore
from hoiclip.methods.clip_distill.caches.classes import classes_of_object
from hoiclip.methods.clip_distill.caches.config import DetectionsConfig
from hoiclip.methods.clip_distill.caches.detections import Detections
from hoiclip.methods.clip_distill.caches.inputs import DistillPaths
from hoiclip.methods.clip_distill.caches.pairs import make_pairs
from hoiclip.methods.clip_distill.caches.tables import ImageCosines, PairCosines
from hoiclip.methods.clip_distill.clip_scores import clip_scores
from hoiclip.methods.clip_distill.detect import ObjectDetector, detect_images
from hoiclip.methods.clip_distill.model.config import (
    ClipDistillConfig,
    DistillSettings,
    TeacherConfig,
)
from hoiclip.methods.clip_distill.model.scoring import best_rows
from hoiclip.methods.clip_distill.view import clip_view
from hoiclip.text_embeddings.table import read_text_embeddings


@dataclass(frozen=True)
class TeacherRow:
    """One way to let the teacher predict.

    Attributes:
        name: of the row in a table.
        what: in words.
        detections: which pairs there are.
        teacher: how cosines become scores.
        global_power: exponent of the score of the whole image; 0 leaves it out.
        ranked: whether its rows go through the top k and the pair NMS that a student's go through.
    """

    name: str
    what: str
    detections: DetectionsConfig
    teacher: TeacherConfig
    global_power: float
    ranked: bool = True


def teacher_rows(config: ClipDistillConfig, clip_scale: float) -> list[TeacherRow]:
    """From CLIP on crops alone to the whole teacher of `config`, whose detector they share.

    Args:
        config: of the method.
        clip_scale: factor on cosines that CLIP was trained with.
    """
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
        TeacherRow(
            "Teacher alone",
            "as CLIP on crops alone: its pairs, its crops, no null prompt, no whole image",
            every,
            crops,
            0.0,
            ranked=False,
        ),
        TeacherRow("Teacher, null prompt", "the same with the null prompt", every, null, 0.0),
        TeacherRow(
            "Teacher, padded",
            "with the null prompt and views padded to squares, no whole image",
            every,
            padded,
            0.0,
        ),
        TeacherRow(
            "Teacher, padded, whole image",
            "as the row above, times CLIP's score of the whole image",
            every,
            padded,
            power,
        ),
        TeacherRow(
            "Teacher of the student",
            "the teacher of the params, on the pairs that they detect",
            config.detections,
            config.teacher,
            power,
        ),
        TeacherRow(
            "Teacher of the student, CLIP's own scale",
            f"the same at the temperature that this CLIP was trained with, {clip_scale:.1f}",
            config.detections,
            replace(config.teacher, temperature=clip_scale),
            power,
        ),
    ]


def clip_scale(clip: Path) -> float:
    """The factor on cosines that the CLIP of a weight file was trained with (at most 100)."""
    return float(load_clip(clip).text.logit_scale.detach().exp())


def best_pairs(predictions: pa.Table, ranking: RankSettings) -> pa.Table:
    """What a student's predictions go through: the top k of each image, then pair NMS.

    Args:
        predictions: rows of `schema.PREDICTIONS`.
        ranking: as for a student.
    """
    image, hoi, score = (predictions[name].to_numpy() for name in ("image_id", "hoi", "score"))
    humans, objects = (
        schema.fixed_lists_to_numpy(predictions[name])
        for name in ("human_box_xyxy", "object_box_xyxy")
    )
    kept = best_rows(image, hoi, score, humans, objects, ranking.top_k, ranking.nms)
    return predictions.take(kept)


def predict_rows(
    rows: Sequence[TeacherRow],
    paths: DistillPaths,
    settings: DistillSettings,
    ranking: RankSettings,
    images: pa.Table,
) -> Iterator[pa.Table]:
    """Predictions of each row; images, and the files but for the caches, are those of `paths`.

    Rows that see the same share one pass of detector and CLIP.
    """
    vocabulary = Vocabulary.read(paths.vocabulary)
    classes = classes_of_object(vocabulary)
    clip = load_clip(paths.clip).visual()
    text = read_text_embeddings(paths.text_embeddings, vocabulary)
    store, passes = ImageStore(paths.images), replace(settings.method.caches, batch_size=1)
    ids = images["image_id"].to_pylist()

    @cache
    def detected(rule: DetectionsConfig) -> list[Detections]:
        detector = ObjectDetector.read(
            paths.detector, settings.detector, rule.num_queries, vocabulary
        )
        return detect_images(detector, images, store, rule, passes)

    @cache
    def scored(
        rule: DetectionsConfig, view: Literal["pad", "crop"]
    ) -> tuple[ImageCosines, list[PairCosines]]:
        pairs = [make_pairs(each, vocabulary) for each in detected(rule)]
        look = clip_view(clip, view)
        return clip_scores(clip, look, text, images, store, pairs, classes, passes)

    for row in rows:
        whole, unions = scored(row.detections, row.teacher.view)
        found = predict_by_teacher(ids, unions, whole, classes, row.teacher, row.global_power)
        yield best_pairs(found, ranking) if row.ranked else found


def score_teacher_alone(
    paths: DistillPaths,
    settings: DistillSettings,
    ranking: RankSettings,
    test: Path,
    classes: Path,
) -> Iterator[dict[str, Any]]:
    """Test metrics of each of `teacher_rows`.

    Args:
        paths: with the table and the folder of the test images.
        settings: of the method.
        ranking: what a student's predictions go through.
        test: folder of the test annotations.
        classes: classes.parquet.
    """
    vocabulary = Vocabulary.read(paths.vocabulary)
    annotations = Annotations.read(test)
    rare = schema.read_table(classes, schema.CLASSES)
    rows = teacher_rows(settings.method, clip_scale(paths.clip))
    found = predict_rows(rows, paths, settings, ranking, annotations.images)
    for row, predictions in zip(rows, found, strict=True):
        result = evaluate_hico(predictions, annotations, vocabulary, rare)
        yield {"name": row.name, "what": row.what, "metrics": metrics(result)}
