"""Anybody's predictions against anybody's annotations, by any of the protocols."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.errors import InputError
from hoiclip.evaluation.ap.protocols import HICO, V_COCO, ProtocolName, RecallSteps
from hoiclip.evaluation.evaluation import EvaluateConfig, Evaluation
from hoiclip.evaluation.vcoco_truth import Actions
from hoiclip.formats.annotations.source import SourceOptions
from hoiclip.formats.detection import ORDER, annotations_in
from hoiclip.formats.predictions.detection import format_of
from hoiclip.formats.predictions.hoia_numbering import NumberingName
from hoiclip.formats.predictions.options import PredictionOptions
from hoiclip.formats.predictions.people import PersonDetections
from hoiclip.formats.predictions.rows import UNKNOWN_HOI, Rows
from hoiclip.formats.reading import read_annotations
from hoiclip.formats.registry import PREDICTION_FORMATS
from hoiclip.scoring.boxes import BoxConvention
from hoiclip.scoring.classes import classes_of
from hoiclip.scoring.doubts import box_doubts, people_doubts, zero_doubts
from hoiclip.scoring.task import Task


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be scored, and what the files do not say themselves.

    Attributes:
        predictions: the file of predictions, or the folder of Matlab's.
        annotations: the file or folder of annotations.
        source: how to read the annotations.
        protocol: by default `vcoco` for V-COCO's classes and `hico` for others.
        format: of the predictions; by default found out.
        numbering: of the classes in HOIA predictions; by default found out.
        boxes: of the predictions; by default `continuous` for Parquet, `inclusive` for others.
        classes: table of rare classes; see `classes.classes_of`.
        diagnosis: whether to say where the average precision goes.
        recall_steps: of the AP of HOI classes; by default the protocol's own.
    """

    predictions: Path
    annotations: Path
    source: SourceOptions
    protocol: ProtocolName | None = None
    format: str | None = None
    numbering: NumberingName | None = None
    boxes: BoxConvention | None = None
    classes: Path | None = None
    diagnosis: bool = False
    recall_steps: RecallSteps | None = None


def score(request: Request) -> Evaluation:
    """Reads, checks and scores.

    Raises:
        InputError: a file is malformed, or does not fit another or the protocol.
    """
    path = request.predictions
    format_ = request.format or _found_format(request)
    if request.numbering is not None and format_ != "hoia":
        problem = f"--numbering is of HOIA predictions, and this file is {format_}"
        raise InputError(path, problem, fix="Leave it out")
    # The numbering `hoia` is that of the annotations, so that who says it tells theirs, too.
    source = read_annotations(
        request.annotations,
        replace(request.source, usual_numbering=request.numbering == "hoia"),
    )
    has_roles = _has_roles(source.vocabulary)
    if format_ == "vcoco" and not has_roles:
        problem = "V-COCO's list, and the annotations do not have V-COCO's actions and roles"
        fix = "Give V-COCO's: vcoco_test.json --coco instances_val2014.json"
        raise InputError(path, problem, fix=fix)
    classes, note = classes_of(source.vocabulary, request.classes, source.folder)
    task = Task(
        source=source,
        classes=classes,
        config=EvaluateConfig(
            protocol=request.protocol or (V_COCO if has_roles else HICO.name),
            recall_steps=request.recall_steps,
        ),
        boxes=request.boxes or ("continuous" if format_ == "parquet" else "inclusive"),
        diagnosis=request.diagnosis,
    )
    actions = Actions.of(source.vocabulary) if task.config.is_vcoco else None
    notes = [*source.notes, *([note] if note and not task.config.is_vcoco else [])]
    if not source.annotations.interactions.num_rows:
        notes.append("the annotations hold no interaction, so that no figure is defined")
    info: dict[str, Any] = {"format": format_, "boxes": task.boxes}
    if source.numbering is not None:
        info["annotation_numbering"] = source.numbering.name
    if format_ == "vcoco":
        _check_roles_are_scored(path, task)
    options = PredictionOptions(source=source, numbering=request.numbering, actions=actions)
    read = PREDICTION_FORMATS[format_].read(path, options)
    notes += read.notes
    if read.numbering is not None:
        info["numbering"] = read.numbering
    if read.people is not None and actions is not None:
        evaluation = _score_people(read.people, task, actions, info, notes)
    elif read.rows is not None:
        evaluation = _score_rows(read.rows, read.numbering, task, info, notes)
    else:
        raise ValueError(f"{format_}: its reader gave nothing to score")
    return replace(evaluation, input_info=info, notes=tuple(notes))


def _check_roles_are_scored(path: Path, task: Task) -> None:
    if not task.config.is_vcoco:
        protocol = task.config.protocol
        problem = f"V-COCO's list names no HOI classes, which the protocol {protocol} scores"
        raise InputError(path, problem, fix="Use --protocol vcoco")
    if task.config.recall_steps is not None:
        problem = "V-COCO's list names no HOI classes, whose AP alone is taken at recall steps"
        raise InputError(path, problem, fix="Leave --recall-steps out")


def _score_people(
    people: PersonDetections, task: Task, actions: Actions, info: dict[str, Any], notes: list[str]
) -> Evaluation:
    """Scores V-COCO's list; adds to `info` and `notes`."""
    annotations = task.source.annotations
    doubts = box_doubts(annotations, people.image_id, people.human_boxes_xyxy)
    evaluation = task.score_people(people, actions)
    if evaluation.is_zero and not doubts:
        doubts = people_doubts(annotations, people)
    info |= _counts(people.image_id, annotations)
    notes += doubts
    return evaluation


def _score_rows(
    rows: Rows,
    numbering: NumberingName | None,
    task: Task,
    info: dict[str, Any],
    notes: list[str],
) -> Evaluation:
    """Scores predictions of HOI classes; adds to `info` and `notes`."""
    source = task.source
    annotations = source.annotations
    info |= _counts(rows.image_id, annotations)
    doubts = box_doubts(annotations, rows.image_id, rows.human_boxes_xyxy, rows.object_boxes_xyxy)
    notes += [*doubts, *_notes(rows, task)]
    evaluation = task.score_rows(rows)
    if evaluation.is_zero and not doubts:
        annotated = None if source.numbering is None else source.numbering.name
        key: Literal["verb", "hoi"] = "verb" if task.config.is_vcoco else "hoi"
        notes += zero_doubts(annotations, rows, key, numbering, annotated)
    return evaluation


def _counts(image_ids: np.ndarray, annotations: Annotations) -> dict[str, int]:
    images = len(annotations.images)
    without = images - len(np.unique(image_ids))
    return {"rows": len(image_ids), "images": images, "images_without_predictions": without}


def _notes(rows: Rows, task: Task) -> list[str]:
    notes = []
    if count := rows.repeated:
        notes.append(f"{count} rows repeat a pair and class of their image: false alarms")
    if count := int((rows.hoi == UNKNOWN_HOI).sum()):
        left = "left out of default and known_object" if task.config.is_vcoco else "left out"
        pairs = "a verb and object that are no HOI class together"
        notes.append(f"{count} rows name {pairs}: {left}, as no class counts them")
    return notes


def _has_roles(vocabulary: Vocabulary) -> bool:
    """Whether the vocabulary is made as V-COCO's: verbs alone, and verbs named after roles."""
    try:
        return vocabulary.has_missing_objects and bool(Actions.of(vocabulary).roles)
    except InputError:
        return False


def _found_format(request: Request) -> str:
    path = request.predictions
    try:
        return format_of(path)
    except InputError:
        kind = annotations_in(path)
        # Detections may be a MATLAB file, too.
        if kind is None or (kind == "hico_mat" and annotations_in(request.annotations)):
            raise
        problem = f"holds annotations ({kind}), not predictions"
        raise InputError(path, problem, fix=ORDER) from None
