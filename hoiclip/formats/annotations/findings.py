"""What a reader left out, or kept although it looks wrong: one row for each case.

Kinds, all left out but `box_clipped` and `boxes_of_another_frame`:

    box_clipped                 box that leaves its image, cut to it; the value is the box before
    boxes_of_another_frame      all boxes within a pixel, or most beyond their image
    box_outside_image           box of which nothing lies inside its image
    box_degenerate              box without x1 < x2, y1 < y2
    box_absurd                  box with a coordinate that no image reaches
    box_not_finite              box with NaN or an infinity
    object_outside_vocabulary   box of an object class that the vocabulary does not have
    interaction_of_bad_box      interaction of a box that is left out
    index_of_no_box             interaction whose index points at no box
    human_is_not_a_person       interaction whose human is of another class than `person`
    hoi_outside_vocabulary      interaction whose (verb, object) is no HOI class
    stated_hoi_differs          interaction whose stated HOI class is not that of (verb, object)
    hoi_invisible               HOI class that HICO-DET marks invisible in the image
    pair_repeated               (human, object, HOI class) of an image, once more
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hoiclip.core import schema
from hoiclip.formats.annotations.hoia_numbering import Numbering

WHOLE_FILE = -1
"""Row of a finding about the whole file."""

REPORT = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("kept", pa.bool_(), nullable=False),
        pa.field("value", pa.string(), nullable=False),
    ]
)
"""Columns: source file, its 0-based row (or JSON index), what is wrong, whether the row is in the
tables all the same, and the value as JSON."""


@dataclass
class ReadReport:
    """Findings of one reader about one source file.

    Attributes:
        file: the source.
        unknown_fix: what to do about classes outside the vocabulary.
        notes: what a person should know about the file as a whole, one line each.
        numbering: how the file numbers its classes, where that differs from file to file.
    """

    file: Path
    unknown_fix: str = (
        "Read with the vocabulary of this file and its names, or leave them out: drop_unknown, "
        "--drop-unknown"
    )
    notes: list[str] = field(default_factory=list)
    numbering: Numbering | None = None
    _columns: dict[str, list[Any]] = field(
        default_factory=lambda: {name: [] for name in REPORT.names[1:]}
    )

    def add(
        self, kind: str, rows: np.ndarray, values: Iterable[Any], *, kept: bool = False
    ) -> None:
        """Adds one finding for each of `rows`, with its value.

        Raises:
            ValueError: `rows` and `values` differ in length; nothing is added.
        """
        told = [json.dumps(value) for value in values]
        if len(told) != len(rows):
            raise ValueError(f"{len(rows)} rows, but {len(told)} values")
        self._columns["row"] += rows.tolist()
        self._columns["kind"] += [kind] * len(told)
        self._columns["kept"] += [kept] * len(told)
        self._columns["value"] += told

    def table(self) -> pa.Table:
        """The findings as rows of `REPORT`, in the order in which they were made."""
        # The name of a file need not be valid UTF-8, a string of a table must be.
        name = os.fsencode(self.file).decode(errors="backslashreplace")
        names = [name] * len(self._columns["row"])
        return pa.Table.from_pydict({"file": names} | self._columns, REPORT)

    def counts(self) -> dict[str, int]:
        """Number of findings of each kind, by name."""
        return dict(sorted(Counter(self._columns["kind"]).items()))

    def write(self, path: str | Path, provenance: dict[str, Any]) -> None:
        """Writes the findings as Parquet."""
        schema.write_table(path, self.table(), REPORT, provenance)
