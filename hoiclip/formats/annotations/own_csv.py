"""Rows of people's own CSV files.

A header names the columns, in any order: `file_name`, `width`, `height`; `human_x1`, `human_y1`,
`human_x2`, `human_y2`; `object` (a class name), `object_x1`, `object_y1`, `object_x2`, `object_y2`,
all five empty where there is no object; `verb`. Boxes are the schema's. A row whose columns after
`height` are all empty stands for an image without pairs. Columns are told apart by commas,
semicolons (decimals may then have a comma), tabs or bars; Excel's line `sep=;` may stand first.
"""

from __future__ import annotations

import csv
import re
import reprlib
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from hoiclip.core.files import not_utf8
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.errors import InputError
from hoiclip.formats.annotations.image_table import image_table
from hoiclip.formats.annotations.source_rows import (
    NO_OBJECT,
    UNKNOWN,
    SourceBoxes,
    SourceInteractions,
    named,
)
from hoiclip.formats.content import Content
from hoiclip.util import json_values

_IMAGE = ("file_name", "width", "height")
_HUMAN = ("human_x1", "human_y1", "human_x2", "human_y2")
_OBJECT = ("object_x1", "object_y1", "object_x2", "object_y2")
_PAIR = (*_HUMAN, "object", *_OBJECT, "verb")
COLUMNS = (*_IMAGE, *_PAIR)
SUFFIXES = (".csv", ".tsv")
_SEPARATORS = ",;\t|"


def read_rows(
    path: Path, vocabulary: Vocabulary
) -> tuple[pa.Table, SourceBoxes, SourceInteractions]:
    """Images table, boxes and interactions of a file, read row by row.

    Raises:
        InputError: malformed, with the 0-based row after the header.
    """
    collected = _Collected(path, vocabulary)
    for row, fields in enumerate(rows(path)):
        collected.add(row, fields)
    return collected.tables()


class _Collected:
    """Images, boxes and interactions of the rows met so far."""

    def __init__(self, path: Path, vocabulary: Vocabulary) -> None:
        self._path, self._vocabulary = path, vocabulary
        self._verb_ids = {verb.name: index for index, verb in enumerate(vocabulary.verbs)}
        self._object_ids = {name: index for index, name in enumerate(vocabulary.objects)}
        self._positions: dict[str, int] = {}
        self._sizes: list[tuple[int, int]] = []
        self._stated: set[tuple[str, ...]] = set()
        self._boxes, self._values, self._interactions = array("q"), array("d"), array("q")
        self._unknown: dict[int, str] = {}

    def add(self, row: int, fields: dict[str, str]) -> None:
        """Adds a row's image, and its pair if there is one."""
        image = self._image(row, fields)
        if not any(map(fields.__getitem__, _PAIR)):
            return
        verb = self._text(row, fields, "verb")
        if verb not in self._verb_ids:
            known = json_values.like(verb, self._verb_ids)
            problem = f"{verb!r} is not a verb of the vocabulary{known}"
            raise InputError(self._path, problem, row=row, key="verb")
        person = self._vocabulary.person
        human, object_ = self._box(row, fields, image, person, _HUMAN), NO_OBJECT
        if any(map(fields.__getitem__, ("object", *_OBJECT))):
            name = self._text(row, fields, "object")
            class_ = self._object_ids.get(name, UNKNOWN)
            object_ = self._box(row, fields, image, class_, _OBJECT)
            if class_ == UNKNOWN:
                self._unknown[object_] = name
        self._interactions.extend((human, object_, self._verb_ids[fields["verb"]], UNKNOWN, row))

    def tables(self) -> tuple[pa.Table, SourceBoxes, SourceInteractions]:
        """Everything added."""
        sizes = np.array(self._sizes, np.float64).reshape(-1, 2)
        images = image_table(self._path, list(self._positions), sizes)
        image, object_, row = np.array(self._boxes, np.int64).reshape(-1, 3).T
        values = np.array(self._values, np.float64).reshape(-1, 4)
        interactions = np.array(self._interactions, np.int64).reshape(-1, 5).T
        unknown = named(self._unknown, self._vocabulary)
        boxes = SourceBoxes(image, object_, values, row, unknown)
        return images, boxes, SourceInteractions(*interactions)

    def _text(self, row: int, fields: dict[str, str], key: str) -> str:
        if not fields[key]:
            fix = "Fill it in, or leave all columns of what is not there empty"
            raise InputError(self._path, "empty", row=row, key=key, fix=fix)
        return fields[key]

    def _image(self, row: int, fields: dict[str, str]) -> int:
        stated = tuple(map(fields.__getitem__, _IMAGE))
        if stated not in self._stated:
            name = json_values.file_name(self._path, row, fields["file_name"])
            width, height = (
                json_values.integer(self._path, row, key, fields[key])
                for key in ("width", "height")
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
            self._values.append(json_values.number(self._path, row, name, fields[name]))
        self._boxes.extend((image, object_, row))
        return len(self._boxes) // 3 - 1


def rows(path: Path) -> Iterator[dict[str, str]]:
    """Fields by column of every line after the header that is not empty.

    Raises:
        InputError: absent, no CSV, or of other columns.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            # Excel's way to state it.
            stated = re.fullmatch(r"sep=(.)\s*", first)
            if not stated:
                file.seek(0)
            sign = stated[1] if stated else _separator(first)
            lines = (line for line in csv.reader(file, delimiter=sign, strict=True) if line)
            header = [name.strip() for name in next(lines, [])]
            _check_header(path, header)
            for row, line in enumerate(lines):
                if len(line) != len(header):
                    problem = f"{len(line)} fields, the header has {len(header)}"
                    fix = f"Is a {sign!r} within a field? Put the field in quotes"
                    raise InputError(path, problem, row=row, fix=fix)
                fields = dict(zip(header, map(str.strip, line), strict=True))
                if sign == ";":
                    for name in (*_HUMAN, *_OBJECT):
                        fields[name] = fields[name].replace(",", ".")
                yield fields
    except FileNotFoundError:
        raise InputError(path, "no such file") from None
    except UnicodeDecodeError:
        raise not_utf8(path) from None
    except (OSError, csv.Error) as error:
        raise InputError(path, f"not a readable CSV file ({error})") from None


def has_rows(content: Content) -> bool:
    """Whether the file begins as one with these columns does."""
    return b"human_x1" in content.header.partition(b"\n")[0]


def _separator(header: str) -> str:
    return max(_SEPARATORS, key=header.count)


def _check_header(path: Path, header: Sequence[str]) -> None:
    if sorted(header) == sorted(COLUMNS):
        return
    strange = sorted(set(header) ^ set(COLUMNS) - {""}) or ["a column that is there twice"]
    problem = f"columns differ from those expected in {', '.join(strange)}"
    if not header:
        problem = "the file is empty"
    elif not set(header) & set(COLUMNS):
        told = reprlib.repr(", ".join(header))
        problem = f"its first line names no column that is expected: {told}"
    elif "" in header:
        problem = f"column {header.index('') + 1} of the header has no name"
    else:
        unknown = (name for name in header if name not in COLUMNS)
        problem += "".join(f"; {name!r}{like}" for name in unknown if (like := _like(name)))
    raise InputError(path, problem, fix=f"Expected: {','.join(COLUMNS)}")


def _like(name: str) -> str:
    return json_values.like(name, COLUMNS)
