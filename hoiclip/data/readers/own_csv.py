"""Rows of people's own CSV files.

A header names the columns, in any order: `file_name`, `width`, `height`; `human_x1`, `human_y1`,
`human_x2`, `human_y2`; `object` (a class name), `object_x1`, `object_y1`, `object_x2`, `object_y2`,
all five empty where there is no object; `verb`. Boxes are the schema's. A row whose columns after
`height` are all empty stands for an image without pairs.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Sequence
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
_PAIR = (*_HUMAN, "object", *_OBJECT, "verb")
COLUMNS = (*_IMAGE, *_PAIR)


def read_rows(
    path: Path, vocabulary: Vocabulary
) -> tuple[pa.Table, SourceBoxes, SourceInteractions]:
    """Images table, boxes and interactions of a file, read row by row.

    Raises:
        InputError: malformed, with the 0-based row after the header.
    """
    collected = _Collected(path, vocabulary)
    for row, fields in enumerate(_rows(path)):
        collected.add(row, fields)
    return collected.tables()


class _Collected:
    """Images, boxes and interactions of the rows met so far."""

    def __init__(self, path: Path, vocabulary: Vocabulary) -> None:
        self._path, self._person = path, vocabulary.person
        self._verb_ids = {verb.name: index for index, verb in enumerate(vocabulary.verbs)}
        self._object_ids = {name: index for index, name in enumerate(vocabulary.objects)}
        self._positions: dict[str, int] = {}
        self._sizes: list[tuple[int, int]] = []
        self._stated: set[tuple[str, str, str]] = set()
        self._boxes, self._values, self._interactions = array("q"), array("d"), array("q")

    def add(self, row: int, fields: dict[str, str]) -> None:
        """Adds a row's image, and its pair if there is one."""
        image = self._image(row, fields)
        if not any(map(fields.__getitem__, _PAIR)):
            return
        if fields["verb"] not in self._verb_ids:
            problem = f"{fields['verb']!r} is not a verb of the vocabulary"
            raise InputError(self._path, problem, row=row, key="verb")
        human, object_ = self._box(row, fields, image, self._person, _HUMAN), NO_OBJECT
        if any(map(fields.__getitem__, ("object", *_OBJECT))):
            class_ = self._object_ids.get(fields["object"], UNKNOWN)
            object_ = self._box(row, fields, image, class_, _OBJECT)
        self._interactions.extend((human, object_, self._verb_ids[fields["verb"]], UNKNOWN, row))

    def tables(self) -> tuple[pa.Table, SourceBoxes, SourceInteractions]:
        """Everything added."""
        sizes = np.array(self._sizes, np.float64).reshape(-1, 2)
        images = image_table(self._path, list(self._positions), sizes)
        image, object_, row = np.array(self._boxes, np.int64).reshape(-1, 3).T
        values = np.array(self._values, np.float64).reshape(-1, 4)
        interactions = np.array(self._interactions, np.int64).reshape(-1, 5).T
        return images, SourceBoxes(image, object_, values, row), SourceInteractions(*interactions)

    def _image(self, row: int, fields: dict[str, str]) -> int:
        stated = tuple(map(fields.__getitem__, _IMAGE))
        if stated not in self._stated:
            name = source.file_name(self._path, row, fields["file_name"])
            width, height = (
                source.integer(self._path, row, key, fields[key]) for key in ("width", "height")
            )
            position = self._positions.setdefault(name, len(self._sizes))
            if position == len(self._sizes):
                self._sizes.append((width, height))
            if self._sizes[position] != (width, height):
                earlier = self._sizes[position]
                problem = f"{name!r} is {(width, height)}, but {earlier} in an earlier row"
                raise InputError(self._path, problem, row=row, key="width, height")
            self._stated.add(stated)
        return self._positions[fields["file_name"]]

    def _box(
        self, row: int, fields: dict[str, str], image: int, object_: int, names: Sequence[str]
    ) -> int:
        for name in names:
            try:
                self._values.append(float(fields[name]))
            except ValueError:
                problem = f"{fields[name]!r}, expected a number"
                raise InputError(self._path, problem, row=row, key=name) from None
        self._boxes.extend((image, object_, row))
        return len(self._boxes) // 3 - 1


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """Fields by column of every line after the header that is not empty."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = (line for line in csv.reader(file, strict=True) if line)
            header = next(lines, [])
            if sorted(header) != sorted(COLUMNS):
                strange = sorted(set(header) ^ set(COLUMNS)) or ["a column that is there twice"]
                problem = f"columns differ from those expected in {', '.join(strange)}"
                raise InputError(path, problem, fix=f"Expected: {','.join(COLUMNS)}")
            for row, line in enumerate(lines):
                if len(line) != len(header):
                    problem = f"{len(line)} fields, the header has {len(header)}"
                    raise InputError(path, problem, row=row)
                yield dict(zip(header, map(str.strip, line), strict=True))
    except FileNotFoundError:
        raise InputError(path, "no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(path, f"not a readable CSV file ({error})") from None
