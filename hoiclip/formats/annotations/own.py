"""People's own annotations with their own vocabulary: COCO-style JSON, or CSV (see `own_csv`).

The JSON is a COCO instances file (`images`, `annotations` with `bbox` as x, y, width, height,
`categories`) with one more list, `interactions`: {`human`: annotation id, `object`: annotation id
or null, `verb`: name}. Categories and verbs are matched to the vocabulary by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hoiclip.catalog.vocabularies import read_vocabulary
from hoiclip.core.files import read_json
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.errors import InputError
from hoiclip.formats import json_columns
from hoiclip.formats.annotations import own_csv
from hoiclip.formats.annotations.assemble import assemble
from hoiclip.formats.annotations.coco import xywh_to_xyxy
from hoiclip.formats.annotations.findings import ReadReport
from hoiclip.formats.annotations.image_table import image_table
from hoiclip.formats.annotations.source import Source, SourceOptions
from hoiclip.formats.annotations.source_rows import (
    NO_OBJECT,
    UNKNOWN,
    SourceBoxes,
    SourceInteractions,
    named,
)
from hoiclip.formats.content import Content
from hoiclip.util import json_values


def detect(content: Content) -> bool:
    """Whether it is named as CSV, or a JSON object with this layout's keys."""
    if content.is_folder:
        return False
    return content.suffix in own_csv.SUFFIXES or content.has_keys("interactions", "categories")


def load(path: Path, options: SourceOptions) -> Source:
    """`read`, as every format is read.

    Raises:
        InputError: as of `read`.
        ValueError: the options have no vocabulary, which the registry says is needed.
    """
    classes = options.classes
    if classes is None:
        raise ValueError("people's own annotations need a vocabulary")
    return Source.of(read(path, classes, drop_unknown=options.drop_unknown))


def read(
    path: str | Path, vocabulary: str | Path | Vocabulary, *, drop_unknown: bool = False
) -> tuple[Annotations, Vocabulary, ReadReport]:
    """Reads a partition.

    Args:
        path: a file that ends in `.json`, `.csv` or `.tsv`.
        vocabulary: the classes, or JSON with them (layout: `vocabularies`); the same for all
            partitions.
        drop_unknown: see `assemble`.

    Raises:
        InputError: malformed, with file and row.
    """
    path, classes = Path(path), vocabulary
    if not isinstance(classes, Vocabulary):
        classes = read_vocabulary(classes)
    report = ReadReport(path)
    if path.suffix.lower() in own_csv.SUFFIXES:
        images, boxes, interactions = own_csv.read_rows(path, classes)
    elif path.suffix.lower() == ".json":
        images, boxes, interactions = _read_json(path, classes)
    else:
        raise InputError(path, f"ends in {path.suffix!r}", fix="Give a .json, .csv or .tsv file")
    tables = assemble(images, boxes, interactions, classes, report, drop_unknown=drop_unknown)
    return tables, classes, report


def _read_json(
    path: Path, vocabulary: Vocabulary
) -> tuple[pa.Table, SourceBoxes, SourceInteractions]:
    document = json_values.mapping(path, None, "document", read_json(path))
    images = _Listed(path, document, "images")
    sizes = np.stack([images.numbers("width"), images.numbers("height")], 1).astype(np.float64)
    image_ids = images.numbers("id")
    table = image_table(path, images.values("file_name"), sizes, image_ids)
    categories = _Listed(path, document, "categories")
    names = [json_values.text(path, i, "name", v) for i, v in enumerate(categories.values("name"))]
    annotations = _Listed(path, document, "annotations")
    category = annotations.find("category_id", categories.rows_by_id())
    object_ids = {name: index for index, name in enumerate(vocabulary.objects)}
    object_of_category = np.array([object_ids.get(name, UNKNOWN) for name in names], np.int64)
    values = json_columns.number_rows(path, "bbox", [[box] for box in annotations.values("bbox")])
    object_ = object_of_category[category]
    unknown = {int(i): names[category[i]] for i in np.flatnonzero(object_ == UNKNOWN)}
    boxes = SourceBoxes(
        annotations.find("image_id", images.rows_by_id()),
        object_,
        xywh_to_xyxy(values),
        np.arange(len(values)),
        named(unknown, vocabulary),
    )
    return table, boxes, _interactions(path, document, annotations.rows_by_id(), boxes, vocabulary)


def _interactions(
    path: Path,
    document: dict[str, Any],
    annotations: dict[int, int],
    boxes: SourceBoxes,
    vocabulary: Vocabulary,
) -> SourceInteractions:
    listed = _Listed(path, document, "interactions")
    verb_ids = {verb.name: index for index, verb in enumerate(vocabulary.verbs)}
    verbs = [
        json_values.text(path, i, "verb", value) for i, value in enumerate(listed.values("verb"))
    ]
    for row, name in enumerate(verbs):
        if name not in verb_ids:
            problem = f"{name!r} is not a verb of the vocabulary{json_values.like(name, verb_ids)}"
            raise InputError(path, problem, row=row, key="verb")
    human, object_ = listed.find("human", annotations), listed.find("object", annotations)
    apart = (object_ != NO_OBJECT) & (boxes.image[human] != boxes.image[object_])
    if apart.any():
        row = int(np.flatnonzero(apart)[0])
        raise InputError(path, "human and object are of two images", row=row, key="interactions")
    rows = np.arange(len(human))
    verb = np.array([verb_ids[name] for name in verbs], np.int64)
    return SourceInteractions(human, object_, verb, np.full(len(human), UNKNOWN), rows)


class _Listed:
    """One list of JSON objects of the document."""

    def __init__(self, path: Path, document: dict[str, Any], key: str) -> None:
        self._path, self._key = path, key
        self._rows = [[value] for _, value in json_values.entries(path, document, key)]

    def values(self, key: str) -> list[Any]:
        """The value under `key` of each."""
        return [value for (value,) in json_columns.field(self._path, self._rows, key, self._key)]

    def numbers(self, key: str) -> np.ndarray:
        """The whole number under `key` of each, int64."""
        lists = [[value] for value in self.values(key)]
        return json_columns.integers(self._path, f"{self._key}.{key}", lists)

    def rows_by_id(self) -> dict[int, int]:
        """Row of each `id`."""
        rows: dict[int, int] = {}
        for row, id_ in enumerate(self.numbers("id").tolist()):
            if rows.setdefault(id_, row) != row:
                problem = f"{id_} is also row {rows[id_]}"
                raise InputError(self._path, problem, row=row, key=f"{self._key}.id")
        return rows

    def find(self, key: str, rows: dict[int, int]) -> np.ndarray:
        """Row in another list that the id under `key` names; `NO_OBJECT` for a null `object`."""
        found = []
        for row, value in enumerate(self.values(key)):
            if value is None and key == "object":
                found.append(NO_OBJECT)
                continue
            id_ = json_values.integer(self._path, row, f"{self._key}.{key}", value)
            if id_ not in rows:
                problem = f"there is no {id_}"
                raise InputError(self._path, problem, row=row, key=f"{self._key}.{key}")
            found.append(rows[id_])
        return np.array(found, np.int64)
