"""HICO-DET, or people's own data, from `instances_*.json` as HICO-DET's: one entry per (pair, HOI
class), boxes 1-based.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hoiclip.catalog.vocabularies import SHIPPED, hico_det
from hoiclip.core.files import read_json
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.errors import InputError
from hoiclip.formats import json_columns
from hoiclip.formats.annotations.assemble import assemble
from hoiclip.formats.annotations.classes import listed_ids, mapped, names_of
from hoiclip.formats.annotations.findings import ReadReport
from hoiclip.formats.annotations.image_table import image_table
from hoiclip.formats.annotations.source import Source, SourceOptions
from hoiclip.formats.annotations.source_rows import SourceInteractions, boxes_of_pairs
from hoiclip.formats.content import Content
from hoiclip.util import json_values

ONE_BASED_INCLUSIVE = np.array([-1.0, -1.0, 0.0, 0.0])
"""Added to 1-based inclusive xyxy boxes, gives the schema's."""
_MOST_HOIS = 2**20
_OTHER_CLASSES = "Where its classes are not HICO-DET's, give them: --vocabulary FILE.json"


def detect(content: Content) -> bool:
    """Whether it is a JSON object with this layout's keys."""
    return content.has_keys("correspondence", "filenames")


def load(path: Path, options: SourceOptions) -> Source:
    """`read`, as every format is read."""
    classes = None if options.vocabulary in SHIPPED else options.classes
    return Source.of(read(path, classes, drop_unknown=options.drop_unknown), expected=options)


def read(
    path: str | Path, vocabulary: Vocabulary | None = None, *, drop_unknown: bool = False
) -> tuple[Annotations, Vocabulary, ReadReport]:
    """Reads a partition.

    Args:
        path: the JSON file.
        vocabulary: the classes, in any order; by default HICO-DET's.
        drop_unknown: see `assemble`.

    Raises:
        InputError: malformed, or made for classes that the vocabulary does not have.
    """
    fix = _OTHER_CLASSES if vocabulary is None else None
    path, vocabulary = Path(path), vocabulary or hico_det()
    document = json_values.mapping(path, None, "document", read_json(path))
    objects, verbs = (
        listed_ids(path, key, names_of(path, document, key), names, fix)
        for key, names in (
            ("objects", vocabulary.objects),
            ("verbs", [verb.name for verb in vocabulary.verbs]),
        )
    )
    hois = _hois(path, document, objects, verbs, vocabulary)
    rows = [value for _, value in json_values.entries(path, document, "annotation")]
    names = [value for _, value in json_values.entries(path, document, "filenames")]
    sizes = [[value] for _, value in json_values.entries(path, document, "size")]
    if not len(rows) == len(names) == len(sizes):
        lengths = f"{len(names)}, {len(rows)}, {len(sizes)}"
        raise InputError(path, f"filenames, annotation and size differ in length: {lengths}")
    images = image_table(path, names, json_columns.number_rows(path, "size", sizes, width=2))
    lists = {
        key: json_columns.column(path, rows, key, "annotation")
        for key in ("boxes_h", "boxes_o", "hoi", "object", "verb")
    }
    json_columns.same_lengths(path, lists)
    human_boxes, object_boxes = (
        json_columns.number_rows(path, key, lists[key]) + ONE_BASED_INCLUSIVE
        for key in ("boxes_h", "boxes_o")
    )
    image = json_columns.rows_of(lists["hoi"])
    object_ = mapped(path, "object", lists["object"], objects)
    boxes, human, other = boxes_of_pairs(
        image, vocabulary.person, object_, human_boxes, object_boxes
    )
    stated = mapped(path, "hoi", lists["hoi"], hois)
    verb = mapped(path, "verb", lists["verb"], verbs)
    interactions = SourceInteractions(human, other, verb, stated, image)
    report = ReadReport(path)
    tables = assemble(images, boxes, interactions, vocabulary, report, drop_unknown=drop_unknown)
    return tables, vocabulary, report


def _hois(
    path: Path,
    document: dict[str, Any],
    objects: np.ndarray,
    verbs: np.ndarray,
    vocabulary: Vocabulary,
) -> np.ndarray:
    """HOI class of the vocabulary that each number of the file's stands for; `num_hois` for one
    that the vocabulary does not have. A file that lists none has the vocabulary's.
    """
    published = vocabulary == hico_det()
    hois = np.arange(vocabulary.num_hois)
    lists = [[value] for _, value in json_values.entries(path, document, "correspondence")]
    rows = json_columns.number_rows(path, "correspondence", lists, width=3)
    if len(rows) and not published:
        hois = np.full(_MOST_HOIS, vocabulary.num_hois)
    limits = np.array([len(hois), len(objects), len(verbs)])
    sound = ((rows >= 0) & (rows < limits) & (rows == np.floor(rows))).all(axis=1)
    for row, values in enumerate(rows.tolist()):
        class_ = None
        if sound[row]:
            hoi, object_, verb = map(int, values)
            pair = (int(verbs[verb]), int(objects[object_]))
            class_ = vocabulary.hoi_ids.get(pair, vocabulary.num_hois)
        if class_ is None or (published and class_ != hoi):
            whose = "HICO-DET's" if published else "a class as"
            problem = f"{values} is not {whose} [hoi, object, verb]"
            fix = _OTHER_CLASSES if published else None
            raise InputError(path, problem, row=row, key="correspondence", fix=fix)
        hois[hoi] = class_
    return hois
