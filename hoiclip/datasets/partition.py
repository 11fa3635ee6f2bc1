"""A partition as a source gives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hoiclip.core.files import sha256_file
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.formats.annotations.findings import ReadReport
from hoiclip.formats.annotations.source import Source


@dataclass(frozen=True, kw_only=True)
class SourcePartition:
    """What a reader gave, and what is needed to write it.

    Attributes:
        source: tables, vocabulary and report.
        images: folder of the images.
        image_rows: (I,) row of the source for each image, for messages; by default its position.
        provenance: for the footers of the tables.
    """

    source: Source
    images: Path
    provenance: dict[str, Any]
    image_rows: np.ndarray | None = None

    @property
    def annotations(self) -> Annotations:
        """The tables."""
        return self.source.annotations

    @property
    def vocabulary(self) -> Vocabulary:
        """Of the data set."""
        return self.source.vocabulary

    @property
    def report(self) -> ReadReport:
        """What the reader found."""
        return self.source.report

    def row_of(self, position: int) -> int:
        """Row of the source that an image stands in."""
        return position if self.image_rows is None else int(self.image_rows[position])


def provenance(
    source: str, form: str, partition: str, files: Sequence[Path], **more: Any
) -> dict[str, Any]:
    """Where tables come from: source, form, partition, and the SHA-256 of each file by name."""
    hashes = {path.name: sha256_file(path) for path in files}
    return {"source": source, "form": form, "partition": partition, "files": hashes, **more}
