"""The cache of verb vectors, as training reads it; `hoiclip.verb_vectors.arithmetic` makes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from hoiclip.core import schema
from hoiclip.errors import InputError


def read_verb_vectors(path: str | Path, representation: str, num_verbs: int) -> np.ndarray:
    """Vectors (num_verbs, D) float32 of one representation.

    Raises:
        InputError: the file does not hold each verb once, in order, for this representation.
    """
    table = schema.read_table(path)
    if "vector" not in table.column_names or not pa.types.is_fixed_size_list(table["vector"].type):
        raise InputError(path, "no column of fixed-size lists", key="vector")
    table = schema.read_table(path, schema.verb_vectors_schema(table["vector"].type.list_size))
    chosen = np.array(table["representation"].to_pylist()) == representation
    if not np.array_equal(table["verb"].to_numpy()[chosen], np.arange(num_verbs)):
        raise InputError(
            path,
            f"{chosen.sum()} rows of {representation!r}, not verbs 0 to {num_verbs - 1} in order",
            key="verb",
            fix="Run the verb_vectors stage for this vocabulary",
        )
    return schema.fixed_lists_to_numpy(table["vector"])[chosen]
