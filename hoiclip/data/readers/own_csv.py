"""Rows of people's own CSV files.

A header names the columns, in any order: `file_name`, `width`, `height`; `human_x1`, `human_y1`,
`human_x2`, `human_y2`; `object` (a class name), `object_x1`, `object_y1`, `object_x2`, `object_y2`,
all five empty where there is no object; `verb`. Boxes are the schema's. A row whose columns after
`height` are all empty stands for an image without pairs.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa

from hoiclip.data.readers import source
from hoiclip.data.readers.image_table import image_table
from hoiclip.data.readers.rows import NO_OBJECT, UNKNOWN, SourceBoxes, SourceInteractions
from hoiclip.errors import InputError
from hoiclip.vocabulary import Vocabulary

_IMAGE = ("file_name", "width", "height")
_HUMAN = ("human_x1", "human_y1", "human_x2", "human_y2")
_OBJECT = ("object_x1", "object_y1", "object_x2", "object_y2")
COLUMNS = (*_IMAGE, *_HUMAN, "object", *_OBJECT, "verb")


def read_rows(
    path: Path, vocabulary: Vocabulary
) -> tuple[pa.Table, SourceBoxes, SourceInteractions]:
    """Images table, boxes and interactions of a file.

    Raises:
        InputError: malformed, with the 0-based row after the header.
    """
    rows = _rows(path)
    images = _images(path, rows)
    positions = {name: i for i, name in enumerate(images["file_name"].to_pylist())}
    verb_ids = {verb.name: index for index, verb in enumerate(vocabulary.verbs)}
    object_ids = {name: index for index, name in enumerate(vocabulary.objects)}
    boxes: list[tuple[int, int, int]] = []
    values: list[list[float]] = []
    interactions: list[tuple[int, int, int, int, int]] = []

    def add(row: int, object_: int, names: tuple[str, ...]) -> int:
        boxes.append((positions[rows[row]["file_name"]], object_, row))
        values.append([_number(path, row, name, rows[row][name]) for name in names])
        return len(boxes) - 1

    for row, fields in enumerate(rows):
        if not any(fields[name] for name in COLUMNS[len(_IMAGE) :]):
            continue
        if fields["verb"] not in verb_ids:
            problem = f"{fields['verb']!r} is not a verb of the vocabulary"
            raise InputError(path, problem, row=row, key="verb")
        human, object_ = add(row, vocabulary.person, _HUMAN), NO_OBJECT
        if any(fields[name] for name in ("object", *_OBJECT)):
            object_ = add(row, object_ids.get(fields["object"], UNKNOWN), _OBJECT)
        interactions.append((human, object_, verb_ids[fields["verb"]], UNKNOWN, row))
    image, object_, row = np.array(boxes, np.int64).reshape(-1, 3).T
    return (
        images,
        SourceBoxes(image, object_, np.array(values, np.float64).reshape(-1, 4), row),
        SourceInteractions(*np.array(interactions, np.int64).reshape(-1, 5).T),
    )


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = [line for line in csv.reader(file, strict=True) if line]
    except FileNotFoundError:
        raise InputError(path, "no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(path, f"not a readable CSV file ({error})") from None
    header = lines[0] if lines else []
    if sorted(header) != sorted(COLUMNS):
        strange = sorted(set(header) ^ set(COLUMNS)) or ["a column that is there twice"]
        problem = f"columns differ from those expected in {', '.join(strange)}"
        raise InputError(path, problem, fix=f"Expected: {','.join(COLUMNS)}")
    for row, line in enumerate(lines[1:]):
        if len(line) != len(header):
            problem = f"{len(line)} fields, the header has {len(header)}"
            raise InputError(path, problem, row=row)
    return [dict(zip(header, (f.strip() for f in line), strict=True)) for line in lines[1:]]


def _images(path: Path, rows: list[dict[str, str]]) -> pa.Table:
    sizes: dict[str, tuple[int, int]] = {}
    for row, fields in enumerate(rows):
        name = source.file_name(path, row, fields["file_name"])
        size = tuple(source.integer(path, row, key, fields[key]) for key in ("width", "height"))
        if sizes.setdefault(name, size) != size:
            problem = f"{name!r} is {size}, but {sizes[name]} in an earlier row"
            raise InputError(path, problem, row=row, key="width, height")
    array = np.array(list(sizes.values()), np.float64).reshape(-1, 2)
    return image_table(path, list(sizes), array)


def _number(path: Path, row: int, key: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise InputError(path, f"{value!r}, expected a number", row=row, key=key) from None
