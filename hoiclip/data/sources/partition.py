"""A partition as a source gives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hoiclip.data.annotations import Annotations
from hoiclip.data.image_checks import stored_size
from hoiclip.data.images import ImageStore
from hoiclip.errors import InputError
from hoiclip.files import sha256_file
from hoiclip.formats.annotations.findings import ReadReport
from hoiclip.formats.annotations.image_table import ImageSize
from hoiclip.vocabulary import Vocabulary

UNKNOWN_SIZE = 2**31 - 1
"""Width and height of an image whose size neither its source nor its header tells."""


@dataclass(frozen=True, kw_only=True)
class SourcePartition:
    """Tables that a reader gave, and what is needed to write them.

    Attributes:
        annotations: the tables.
        vocabulary: of the data set.
        report: what the reader found.
        images: folder of the images.
        image_rows: (I,) row of the source for each image, for messages.
        provenance: for the footers of the tables.
        unlabelled_people: rows of `schema.UNLABELLED`, where the source knows them.
    """

    annotations: Annotations
    vocabulary: Vocabulary
    report: ReadReport
    images: Path
    image_rows: np.ndarray
    provenance: dict[str, Any]
    unlabelled_people: pa.Table | None = None


def provenance(
    source: str, form: str, partition: str, files: Sequence[Path], **more: Any
) -> dict[str, Any]:
    """Where tables come from: source, form, partition, and the SHA-256 of each file by name."""
    hashes = {path.name: sha256_file(path) for path in files}
    return {"source": source, "form": form, "partition": partition, "files": hashes, **more}


def stored_sizes(folder: Path) -> ImageSize:
    """Sizes of the stored pixels of the images in `folder`, for sources that do not state them.

    The published annotations without sizes are boxes of the stored pixels. An image that is missing
    or unreadable has the size `UNKNOWN_SIZE`; who writes the images finds that out and tells.

    Raises:
        InputError: there is no such folder.
    """
    store = ImageStore(folder)

    def size(file_name: str) -> tuple[int, int]:
        try:
            return stored_size(store.read_bytes(file_name))
        except (InputError, OSError):
            return UNKNOWN_SIZE, UNKNOWN_SIZE

    return size
