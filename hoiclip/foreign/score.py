"""Anybody's predictions against anybody's annotations, by any of the protocols."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from hoiclip.errors import InputError
from hoiclip.evaluation.protocols import V_COCO, ProtocolName, RecallSteps
from hoiclip.evaluation.vcoco_truth import Actions
from hoiclip.foreign.boxes import BoxConvention
from hoiclip.foreign.classes import classes_of
from hoiclip.foreign.doubts import box_doubts, people_doubts, zero_doubts
from hoiclip.foreign.scored import Scored, score_people, score_rows
from hoiclip.foreign.truths import Truths
from hoiclip.formats.annotations.detection import ORDER, annotations_in
from hoiclip.formats.annotations.reading import read_annotations
from hoiclip.formats.annotations.source import Source, SourceOptions
from hoiclip.formats.predictions import hoia, matlab, parquet, vcoco_list
from hoiclip.formats.predictions.detection import PredictionFormat, format_of
from hoiclip.formats.predictions.hoia_numbering import NumberingName
from hoiclip.formats.predictions.image_names import ImageNames
from hoiclip.vocabulary import Vocabulary


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
    format: PredictionFormat | None = None
    numbering: NumberingName | None = None
    boxes: BoxConvention | None = None
    classes: Path | None = None
    diagnosis: bool = False
    recall_steps: RecallSteps | None = None


def score(request: Request) -> Scored:
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
    vocabulary = source.vocabulary
    if format_ == "vcoco" and not _has_roles(vocabulary):
        problem = "V-COCO's list, and the annotations do not have V-COCO's actions and roles"
        fix = "Give V-COCO's: vcoco_test.json --coco instances_val2014.json"
        raise InputError(path, problem, fix=fix)
    protocol = request.protocol or (V_COCO if _has_roles(vocabulary) else "hico")
    if format_ == "parquet":
        _check_made_for(vocabulary, path)
    classes, note = classes_of(vocabulary, request.classes, source.folder)
    actions = Actions.of(vocabulary) if protocol == V_COCO else None
    truths = Truths(source, classes, protocol, actions)
    boxes: BoxConvention = request.boxes or ("continuous" if format_ == "parquet" else "inclusive")
    told = {"format": format_, "boxes": boxes}
    names = ImageNames(source.annotations.images)
    if source.numbering is not None:
        told["annotation_numbering"] = source.numbering.name
    notes = [*source.notes, *([note] if note and protocol != V_COCO else [])]
    if not source.annotations.interactions.num_rows:
        notes.append("the annotations hold no interaction, so that no figure is defined")
    if format_ == "vcoco":
        if actions is None:
            problem = f"V-COCO's list names no HOI classes, which the protocol {protocol} scores"
            raise InputError(path, problem, fix="Use --protocol vcoco")
        if request.recall_steps is not None:
            problem = "V-COCO's list names no HOI classes, whose AP alone is taken at recall steps"
            raise InputError(path, problem, fix="Leave --recall-steps out")
        people = vcoco_list.read(path, names, actions)
        doubts = box_doubts(truths, people.image_id, people.human_boxes_xyxy)
        notes += doubts
        scored = score_people(people, boxes, truths, told, notes, diagnosis=request.diagnosis)
        if scored.is_zero and not doubts:
            doubts = people_doubts(truths, people)
            scored = replace(scored, notes=(*scored.notes, *doubts))
        return scored
    if format_ == "parquet":
        rows = parquet.read(path, names, vocabulary)
    elif format_ == "matlab":
        rows, note = matlab.read(path, _columns_of(source), vocabulary)
        notes += [] if note is None else [note]
    else:
        rows, numbering = hoia.read(path, names, vocabulary, request.numbering, source.numbering)
        told["numbering"] = numbering
    doubts = box_doubts(truths, rows.image_id, rows.human_boxes_xyxy, rows.object_boxes_xyxy)
    notes += doubts
    options = {"diagnosis": request.diagnosis, "recall_steps": request.recall_steps}
    scored = score_rows(rows, boxes, truths, told, notes, **options)
    if scored.is_zero and not doubts:
        doubts = zero_doubts(truths, rows, told.get("numbering"))
        scored = replace(scored, notes=(*scored.notes, *doubts))
    return scored


def _check_made_for(vocabulary: Vocabulary, predictions: Path) -> None:
    """Raises `InputError` where the classes beside the predictions are not the annotations'."""
    beside = predictions.parent / "vocabulary.parquet"
    if beside.is_file() and Vocabulary.read(beside).hois != vocabulary.hois:
        problem = f"made for the classes of {beside}, which the annotations do not have"
        raise InputError(predictions, problem, fix="Score it with annotations of its data set")


def _columns_of(source: Source) -> pa.Table:
    """The images as Matlab detections count them.

    Of HICO-DET's own files and of `instances` these are the images as they stand there; other files
    order them as they like, and HICO-DET orders them by name.
    """
    images = source.annotations.images
    return images if source.kind in ("hico_mat", "hico_instances") else images.sort_by("file_name")


def _has_roles(vocabulary: Vocabulary) -> bool:
    """Whether the vocabulary is made as V-COCO's: verbs alone, and verbs named after roles."""
    try:
        return vocabulary.has_missing_objects and bool(Actions.of(vocabulary).roles)
    except InputError:
        return False


def _found_format(request: Request) -> PredictionFormat:
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
