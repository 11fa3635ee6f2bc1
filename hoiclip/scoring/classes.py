"""Which HOI classes are rare, for people who have no training annotations at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from hoiclip.catalog.vocabularies import published_rare
from hoiclip.core import schema
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.errors import InputError

UNKNOWN_COUNT = -1
"""`train_instances` where only the published list of rare classes is known."""

_BESIDE = Path("splits") / "classes.parquet"


def classes_of(
    vocabulary: Vocabulary, path: Path | None, folder: Path | None
) -> tuple[pa.Table, str | None]:
    """Rows of `schema.CLASSES`, and a note about where they come from.

    Args:
        vocabulary: the classes.
        path: `classes.parquet`; by default `splits/classes.parquet` in `folder`, else HICO-DET's
            published rare classes, else none is rare.
        folder: where the vocabulary stands, if it stands in a folder.

    Raises:
        InputError: the table is malformed or of other classes.
    """
    if path is None and folder is not None and (folder / _BESIDE).is_file():
        path = folder / _BESIDE
    if path is not None:
        classes = schema.read_table(path, schema.CLASSES)
        if classes["hoi"].to_pylist() != list(range(vocabulary.num_hois)):
            problem = f"its {len(classes)} rows are not the {vocabulary.num_hois} HOI classes"
            raise InputError(path, problem, key="hoi", fix="Give the table of this vocabulary")
        return classes, None
    note = "rare classes are those that HICO-DET publishes"
    rare = published_rare(vocabulary)
    if rare is None:
        note = "which classes are rare is unknown, so none counts as rare; --classes tells"
        rare = np.zeros(vocabulary.num_hois, bool)
    columns = [
        np.arange(len(rare), dtype=np.int32),
        np.full(len(rare), UNKNOWN_COUNT, np.int32),
        rare,
        np.ones(len(rare), bool),
    ]
    return pa.Table.from_arrays(list(map(pa.array, columns)), schema=schema.CLASSES), note
