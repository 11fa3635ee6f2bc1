"""People's own images and annotations in `dataset.raw`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hoiclip.catalog.vocabularies import read_vocabulary
from hoiclip.datasets.partition import SourcePartition, provenance
from hoiclip.formats.annotations import own, own_csv
from hoiclip.formats.annotations.source import SourceOptions


@dataclass(frozen=True, kw_only=True)
class OwnConfig:
    """Files in `dataset.raw`; their layouts are in docs/data.md.

    Attributes:
        vocabulary: JSON with objects, verbs and HOI classes.
        train: annotations of the train partition, `.json` (COCO-like) or `.csv`.
        test: annotations of the test partition.
        images: folder of the images of both.
    """

    vocabulary: str
    train: str
    test: str
    images: str


def form(config: OwnConfig) -> str:
    """Name of the form in which the annotations are."""
    return "own"


def needed(config: OwnConfig) -> list[Path]:
    """Files and folders that have to be there, relative to `dataset.raw`."""
    return [Path(p) for p in (config.vocabulary, config.train, config.test, config.images)]


def optional(config: OwnConfig) -> list[Path]:
    """Files that are used where they are there: none."""
    return []


def read(
    raw: Path, config: OwnConfig, partition: Literal["train", "test"], *, drop_unknown: bool
) -> SourcePartition:
    """Reads the annotations of a partition.

    Raises:
        InputError: a file is absent or malformed.
    """
    path, classes = raw / getattr(config, partition), raw / config.vocabulary
    options = SourceOptions(vocabulary=read_vocabulary(classes), drop_unknown=drop_unknown)
    source = own.load(path, options)
    kind = path.suffix.lower().removeprefix(".")
    return SourcePartition(
        source=source,
        images=raw / config.images,
        image_rows=_first_rows(path) if kind == "csv" else None,
        provenance=provenance("own", kind, partition, [path, classes]),
    )


def _first_rows(path: Path) -> np.ndarray:
    """(I,) first row of each image in a CSV file that was read before; images in their order."""
    rows: dict[str, int] = {}
    for row, fields in enumerate(own_csv.rows(path)):
        rows.setdefault(fields["file_name"], row)
    return np.array(list(rows.values()), np.int64)
