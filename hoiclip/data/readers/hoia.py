"""HICO-DET or V-COCO in the "HOIA" JSON that PPDM, QPIC, CDN, GEN-VLKT and HOICLIP read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hoiclip.data.annotations import Annotations
from hoiclip.data.readers import source
from hoiclip.data.readers.assembly import assemble
from hoiclip.data.readers.image_table import ImageSize, image_table
from hoiclip.data.readers.report import ReadReport
from hoiclip.data.readers.rows import (
    NO_OBJECT,
    UNKNOWN,
    SourceBoxes,
    SourceInteractions,
    positions,
)
from hoiclip.data.readers.vocabularies import COCO_IDS
from hoiclip.errors import InputError
from hoiclip.files import read_json
from hoiclip.vocabulary import Vocabulary

ZERO_BASED_INCLUSIVE = np.array([0.0, 0.0, 1.0, 1.0])
"""Added to 0-based inclusive xyxy boxes, gives the schema's."""
_FIRST_HOI = 1
_TOLD = 200
"""Characters of another library's message."""


@dataclass(frozen=True)
class Numbering:
    """How a file numbers its classes.

    Attributes:
        objects: id of each object class in the file, in the vocabulary's order.
        first_verb: id of the first verb.
    """

    objects: Sequence[int]
    first_verb: int


HICO_DET = Numbering(COCO_IDS, first_verb=1)
V_COCO = Numbering(COCO_IDS, first_verb=0)


def read(
    path: str | Path,
    vocabulary: Vocabulary,
    image_size: ImageSize,
    *,
    numbering: Numbering = HICO_DET,
    valid_pairs: str | Path | None = None,
    drop_unknown: bool = False,
) -> tuple[Annotations, Vocabulary, ReadReport]:
    """Reads a partition.

    An interaction whose index points at no box is left out and reported; the rest of its image
    stays. Where an interaction does not state `hoi_category_id`, it follows from verb and object.

    Args:
        path: the JSON file.
        vocabulary: the classes, in the order of the numbering.
        image_size: sizes, which the file does not state.
        numbering: of the file's classes.
        valid_pairs: `corre_hico.npy`, verbs x objects of 0/1, to be held against the vocabulary.
        drop_unknown: see `assemble`.

    Raises:
        InputError: malformed, a verb that the vocabulary does not have, other valid pairs than the
            vocabulary's.
    """
    path = Path(path)
    if valid_pairs is not None:
        _check_valid_pairs(valid_pairs, vocabulary)
    rows = source.items(path, None, "document", read_json(path))
    boxes_of = source.column(path, rows, "annotations", "image")
    pairs_of = source.column(path, rows, "hoi_annotation", "image")
    names = [source.file_name(path, i, row.get("file_name")) for i, row in enumerate(rows)]
    sizes = [image_size(name) for name in names]
    images = image_table(path, names, np.array(sizes, np.float64).reshape(-1, 2))
    report = ReadReport(path)
    boxes = _boxes(path, boxes_of, numbering)
    counts = np.array([len(values) for values in boxes_of], np.int64)
    interactions = _interactions(path, pairs_of, counts, vocabulary, numbering, report)
    tables = assemble(images, boxes, interactions, vocabulary, report, drop_unknown=drop_unknown)
    return tables, vocabulary, report


def _boxes(path: Path, boxes_of: list[list[Any]], numbering: Numbering) -> SourceBoxes:
    image = source.rows_of(boxes_of)
    values = source.field(path, boxes_of, "bbox", "annotations")
    ids = source.integers(
        path, "category_id", source.field(path, boxes_of, "category_id", "annotations")
    )
    known = np.array(numbering.objects, np.int64)
    order = np.argsort(known)
    place = np.searchsorted(known[order], ids).clip(max=len(known) - 1)
    object_ = np.where(known[order][place] == ids, order[place], UNKNOWN)
    return SourceBoxes(
        image, object_, source.number_rows(path, "bbox", values) + ZERO_BASED_INCLUSIVE, image
    )


def _interactions(
    path: Path,
    pairs_of: list[list[Any]],
    counts: np.ndarray,
    vocabulary: Vocabulary,
    numbering: Numbering,
    report: ReadReport,
) -> SourceInteractions:
    image = source.rows_of(pairs_of)

    def numbers(key: str) -> np.ndarray:
        return source.integers(path, key, source.field(path, pairs_of, key, "hoi_annotation"))

    subject, object_, verb = (numbers(key) for key in ("subject_id", "object_id", "category_id"))
    verb = verb - numbering.first_verb
    wrong = (verb < 0) | (verb >= vocabulary.num_verbs)
    if wrong.any():
        index = int(np.flatnonzero(wrong)[0])
        last = numbering.first_verb + vocabulary.num_verbs - 1
        problem = f"{verb[index] + numbering.first_verb} is not a verb"
        fix = f"Verbs are {numbering.first_verb}..{last}"
        raise InputError(path, problem, row=int(image[index]), key="category_id", fix=fix)
    key = "hoi_category_id"
    stated = [[pair.get(key, _FIRST_HOI) for pair in pairs] for pairs in pairs_of]
    hoi = source.integers(path, key, stated) - _FIRST_HOI
    # No class at all, so that it contradicts verb and object.
    hoi[hoi < 0] = vocabulary.num_hois
    hoi[np.array([key not in pair for pairs in pairs_of for pair in pairs], bool)] = UNKNOWN
    alone = (object_ == -1) & vocabulary.has_missing_objects
    human, other = positions(subject, image, counts), positions(object_, image, counts)
    astray = (human < 0) | (~alone & (other < 0))
    told = zip(subject[astray].tolist(), object_[astray].tolist(), strict=True)
    report.add("index_of_no_box", image[astray], told)
    other[alone] = NO_OBJECT
    return SourceInteractions(human, other, verb, hoi, image).select(~astray)


def _check_valid_pairs(path: str | Path, vocabulary: Vocabulary) -> None:
    try:
        with open(path, "rb") as file:
            valid = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # NumPy lets errors of many types out of a damaged file.
        raise InputError(path, f"not a readable array ({str(error)[:_TOLD]})") from None
    expected = np.zeros((vocabulary.num_verbs, vocabulary.num_objects))
    for hoi in vocabulary.hois:
        if hoi.object is not None:
            expected[hoi.verb, hoi.object] = 1
    if valid.dtype.kind not in "biuf":
        raise InputError(path, f"an array of {valid.dtype}, expected numbers")
    if valid.shape != expected.shape:
        raise InputError(path, f"shape {valid.shape}, expected {expected.shape} (verbs, objects)")
    if (valid != expected).any():
        verb, object_ = np.argwhere(valid != expected)[0].tolist()
        problem = f"{valid[verb, object_]} for {vocabulary.objects[object_]}"
        raise InputError(path, problem, row=verb, key=vocabulary.verbs[verb].name)
