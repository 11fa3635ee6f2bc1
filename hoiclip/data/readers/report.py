"""What a reader left out, or kept although it looks wrong: one row for each case."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hoiclip import schema

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
    """

    file: Path
    _rows: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self, kind: str, rows: np.ndarray, values: Iterable[Any], *, kept: bool = False
    ) -> None:
        """Adds one finding for each of `rows`, with its value."""
        for row, value in zip(rows.tolist(), values, strict=True):
            told = {"file": str(self.file), "row": row, "kind": kind, "kept": kept}
            self._rows.append(told | {"value": json.dumps(value)})

    def table(self) -> pa.Table:
        """The findings as rows of `REPORT`, in the order in which they were made."""
        return pa.Table.from_pylist(self._rows, REPORT)

    def counts(self) -> dict[str, int]:
        """Number of findings of each kind, by name."""
        kinds = sorted({row["kind"] for row in self._rows})
        return {kind: sum(row["kind"] == kind for row in self._rows) for kind in kinds}

    def write(self, path: str | Path, provenance: dict[str, Any]) -> None:
        """Writes the findings as Parquet."""
        schema.write_table(path, self.table(), REPORT, provenance)
