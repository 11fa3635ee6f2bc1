"""HICO-DET or V-COCO in the "HOIA" JSON that PPDM, QPIC, CDN, GEN-VLKT and HOICLIP read."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from hoiclip.catalog.vocabularies import hico_det, vcoco
from hoiclip.core.files import read_json
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.errors import InputError
from hoiclip.formats import json_columns
from hoiclip.formats.annotations import hoia_numbering
from hoiclip.formats.annotations.assemble import assemble
from hoiclip.formats.annotations.findings import ReadReport
from hoiclip.formats.annotations.hoia_evidence import PairNumbers, doubt, find, with_first_hoi
from hoiclip.formats.annotations.hoia_numbering import Numbering, named_numbering, usual
from hoiclip.formats.annotations.image_sizes import ImageSize, sizes_for
from hoiclip.formats.annotations.image_table import image_table
from hoiclip.formats.annotations.source import Source, SourceOptions
from hoiclip.formats.annotations.source_rows import (
    NO_OBJECT,
    UNKNOWN,
    SourceBoxes,
    SourceInteractions,
    positions,
)
from hoiclip.formats.content import Content
from hoiclip.formats.json_stream import list_entries
from hoiclip.util import json_values

ZERO_BASED_INCLUSIVE = np.array([0.0, 0.0, 1.0, 1.0])
"""Added to 0-based inclusive xyxy boxes, gives the schema's."""
HICO_DET, V_COCO = hoia_numbering.HICO_DET, hoia_numbering.V_COCO
"""Numberings of the published files."""
_TOLD = 200
"""Characters of another library's message."""


def detect(content: Content) -> bool:
    """Whether it is a JSON list of HOIA annotations."""
    return content.sign == b"[" and "hoi_annotation" in (content.first_entry or ())


def load(path: Path, options: SourceOptions) -> Source:
    """`read`, as every format is read; the first file name tells HICO-DET from V-COCO.

    Raises:
        InputError: as of `read`; the classes are unknown.
    """
    vocabulary = options.classes or _published(path)
    name = options.numbering
    read_ = read(
        path,
        vocabulary,
        sizes_for(path, options),
        numbering=None if name is None else named_numbering(path, name, vocabulary),
        hint=usual(vocabulary) if options.usual_numbering else None,
        valid_pairs=options.valid_pairs,
        drop_unknown=options.drop_unknown,
    )
    return Source.of(read_, says_missing_roles=True)


def _published(path: Path) -> Vocabulary:
    for _, entry in list_entries(path):
        name = entry.get("file_name") if isinstance(entry, dict) else None
        for start, vocabulary in (("HICO_", hico_det), ("COCO_", vcoco)):
            if isinstance(name, str) and name.rsplit("/", 1)[-1].startswith(start):
                return vocabulary()
        break
    problem = "its first file name tells neither HICO-DET nor V-COCO"
    raise InputError(path, problem, fix="Give --vocabulary")


def read(
    path: str | Path,
    vocabulary: Vocabulary,
    image_size: ImageSize,
    *,
    numbering: Numbering | None = HICO_DET,
    hint: Numbering | None = None,
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
        numbering: of the file's classes; null finds it out, see `hoia_evidence.find`.
        hint: of the numbering, where several fit.
        valid_pairs: `corre_hico.npy`, verbs x objects of 0/1, to be held against the vocabulary.
        drop_unknown: see `assemble`.

    Raises:
        InputError: malformed, a verb that the vocabulary does not have, other valid pairs than the
            vocabulary's, no numbering that is certain.
    """
    path = Path(path)
    if valid_pairs is not None:
        _check_valid_pairs(valid_pairs, vocabulary)
    rows = json_values.items(path, None, "document", read_json(path))
    boxes_of = json_columns.column(path, rows, "annotations", "image")
    pairs_of = json_columns.column(path, rows, "hoi_annotation", "image")
    names = [json_values.file_name(path, i, row.get("file_name")) for i, row in enumerate(rows)]
    sizes = [image_size(name) for name in names]
    images = image_table(path, names, np.array(sizes, np.float64).reshape(-1, 2))
    report = ReadReport(path)
    listed = _Listed(path, boxes_of, pairs_of, has_missing_objects=vocabulary.has_missing_objects)
    numbers = listed.pair_numbers()
    if numbering is None:
        numbering, note = find(path, numbers, vocabulary, hint)
        report.notes += [note] if note else []
    else:
        numbering = with_first_hoi(numbers, vocabulary, numbering)
    if doubtful := doubt(numbers, vocabulary, numbering):
        report.notes.append(doubtful)
        report.unknown_fix = f"{doubtful}: state --annotation-numbering, or give the file's own "
        report.unknown_fix += "vocabulary"
    report.numbering = numbering
    interactions = listed.interactions(vocabulary, numbering, report)
    boxes = listed.boxes(numbering)
    tables = assemble(images, boxes, interactions, vocabulary, report, drop_unknown=drop_unknown)
    return tables, vocabulary, report


class _Listed:
    """Boxes and pairs as the file has them, image after image.

    Attributes:
        ids: (N,) `category_id` of each box.
        human: (R,) position of each pair's subject among all boxes; -1 where it points at none.
        object: (R,) likewise; `NO_OBJECT` where `alone`.
        alone: (R,) bool: the pair says that it has no object.
        verb: (R,) `category_id` of each pair.
        hoi: (R,) `hoi_category_id`; 0 where not `stated`.
        stated: (R,) bool.
        image: (R,) row of each pair.
    """

    def __init__(
        self,
        path: Path,
        boxes_of: list[list[Any]],
        pairs_of: list[list[Any]],
        *,
        has_missing_objects: bool,
    ) -> None:
        self._path, self._boxes_of = path, boxes_of
        within, key = "annotations", "category_id"
        self.ids = json_columns.integers(path, key, json_columns.field(path, boxes_of, key, within))
        self.image = json_columns.rows_of(pairs_of)

        def numbers(key: str) -> np.ndarray:
            return json_columns.integers(
                path, key, json_columns.field(path, pairs_of, key, "hoi_annotation")
            )

        self._subject, self._object = numbers("subject_id"), numbers("object_id")
        self.verb = numbers("category_id")
        key = "hoi_category_id"
        stated = [[key in pair for pair in pairs] for pairs in pairs_of]
        self.stated = np.array(list(chain.from_iterable(stated)), bool)
        self.hoi = json_columns.integers(path, key, [[p.get(key, 0) for p in q] for q in pairs_of])
        counts = np.array([len(values) for values in boxes_of], np.int64)
        self.alone = (self._object == -1) & has_missing_objects
        self.human = positions(self._subject, self.image, counts)
        self.object = positions(self._object, self.image, counts)
        self.astray = (self.human < 0) | (~self.alone & (self.object < 0))
        self.object[self.alone] = NO_OBJECT

    def pair_numbers(self) -> PairNumbers:
        """Class numbers of the pairs that point at boxes."""
        ids = np.append(self.ids, 0)
        columns = (
            ids[self.human], ids[self.object], self.alone, self.verb, self.hoi, self.stated,
            self.image,
        )  # fmt: skip
        return PairNumbers(*(column[~self.astray] for column in columns))

    def boxes(self, numbering: Numbering) -> SourceBoxes:
        """All boxes, their classes translated."""
        image = json_columns.rows_of(self._boxes_of)
        values = json_columns.field(self._path, self._boxes_of, "bbox", "annotations")
        object_ = numbering.object_classes(self.ids)
        unknown = np.flatnonzero(object_ == UNKNOWN).tolist()
        return SourceBoxes(
            image,
            object_,
            json_columns.number_rows(self._path, "bbox", values) + ZERO_BASED_INCLUSIVE,
            image,
            {position: f"category_id {self.ids[position]}" for position in unknown},
        )

    def interactions(
        self, vocabulary: Vocabulary, numbering: Numbering, report: ReadReport
    ) -> SourceInteractions:
        """The pairs that point at boxes, their classes translated; the others are reported."""
        verb = self.verb - numbering.first_verb
        wrong = (verb < 0) | (verb >= vocabulary.num_verbs)
        if wrong.any():
            index = int(np.flatnonzero(wrong)[0])
            last = numbering.first_verb + vocabulary.num_verbs - 1
            problem = f"{self.verb[index]} is not a verb"
            fix = f"Verbs are {numbering.first_verb}..{last} with the numbering {numbering.name}"
            fix += "; is it another one, or another vocabulary?"
            row = int(self.image[index])
            raise InputError(self._path, problem, row=row, key="category_id", fix=fix)
        hoi = self.hoi - numbering.first_hoi
        # No class at all, so that it contradicts verb and object.
        hoi[hoi < 0] = vocabulary.num_hois
        hoi[~self.stated] = UNKNOWN
        told = zip(
            self._subject[self.astray].tolist(), self._object[self.astray].tolist(), strict=True
        )
        report.add("index_of_no_box", self.image[self.astray], told)
        listed = SourceInteractions(self.human, self.object, verb, hoi, self.image)
        return listed.select(~self.astray)


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
