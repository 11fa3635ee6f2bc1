"""Anybody's predictions against anybody's annotations, by any of the protocols."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from hoiclip.errors import InputError
from hoiclip.evaluation.vcoco_truth import Actions
from hoiclip.foreign import hoia, matlab, parquet, vcoco_list
from hoiclip.foreign.annotations import Source, SourceOptions, read_annotations
from hoiclip.foreign.boxes import BoxConvention
from hoiclip.foreign.classes import classes_of
from hoiclip.foreign.images import ImageNames
from hoiclip.foreign.numbering import NumberingName
from hoiclip.foreign.prediction_formats import PredictionFormat, format_of
from hoiclip.foreign.scored import Scored, score_people, score_rows
from hoiclip.foreign.truths import V_COCO, Truths
from hoiclip.vocabulary import Vocabulary

ProtocolName = Literal["hico", "hoiclip", "pocket", "vcoco"]


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


def score(request: Request) -> Scored:
    """Reads, checks and scores.

    Raises:
        InputError: a file is malformed, or does not fit another or the protocol.
    """
    path = request.predictions
    format_ = request.format or format_of(path)
    if request.numbering is not None and format_ != "hoia":
        problem = f"--numbering is of HOIA predictions, and this file is {format_}"
        raise InputError(path, problem, fix="Leave it out")
    source = read_annotations(request.annotations, request.source)
    vocabulary = source.vocabulary
    protocol = request.protocol or (V_COCO if _has_roles(vocabulary) else "hico")
    if format_ == "parquet":
        _check_made_for(vocabulary, path)
    classes, note = classes_of(vocabulary, request.classes, source.folder)
    actions = Actions.of(vocabulary) if protocol == V_COCO else None
    truths = Truths(source, classes, protocol, actions)
    boxes: BoxConvention = request.boxes or ("continuous" if format_ == "parquet" else "inclusive")
    told = {"format": format_, "boxes": boxes}
    names = ImageNames(source.annotations.images)
    notes = [n for n in (source.note, None if protocol == V_COCO else note) if n is not None]
    if format_ == "vcoco":
        if actions is None:
            problem = f"V-COCO's list names no HOI classes, which the protocol {protocol} scores"
            raise InputError(path, problem, fix="Use --protocol vcoco")
        people = vcoco_list.read(path, names, actions)
        return score_people(people, boxes, truths, told, notes, diagnosis=request.diagnosis)
    if format_ == "parquet":
        rows = parquet.read(path, names, vocabulary)
    elif format_ == "matlab":
        rows, note = matlab.read(path, _columns_of(source), vocabulary)
        notes += [] if note is None else [note]
    else:
        rows, numbering = hoia.read(path, names, vocabulary, request.numbering)
        told["numbering"] = numbering
    return score_rows(rows, boxes, truths, told, notes, diagnosis=request.diagnosis)


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
