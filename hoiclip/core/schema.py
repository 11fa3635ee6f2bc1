"""The tables that stages exchange: columns, reading, writing, provenance.

Boxes are continuous, 0-based, xyxy in pixels of the image as EXIF shows it. Ids are 0-based.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hoiclip.core.files import atomic_file
from hoiclip.errors import InputError

PROVENANCE_KEY = b"hoiclip"


def _box(type_: pa.DataType) -> pa.DataType:
    return pa.list_(type_, 4)


def _required(name: str, type_: pa.DataType) -> pa.Field:
    return pa.field(name, type_, nullable=False)


IMAGES = pa.schema(
    [
        _required("image_id", pa.int64()),
        _required("file_name", pa.string()),
        _required("width", pa.int32()),
        _required("height", pa.int32()),
    ]
)
INSTANCES = pa.schema(
    [
        _required("image_id", pa.int64()),
        _required("instance", pa.int32()),
        _required("object", pa.int32()),
        _required("box_xyxy", _box(pa.float64())),
    ]
)
INTERACTIONS = pa.schema(
    [
        _required("image_id", pa.int64()),
        _required("human", pa.int32()),
        pa.field("object_instance", pa.int32()),
        _required("verb", pa.int32()),
        _required("hoi", pa.int32()),
    ]
)
VOCABULARY = pa.schema(
    [
        _required("kind", pa.string()),
        _required("id", pa.int32()),
        _required("name", pa.string()),
        pa.field("phrase", pa.string()),
        pa.field("phrase_alone", pa.string()),
        pa.field("verb", pa.int32()),
        pa.field("object", pa.int32()),
    ]
)
UNLABELLED = pa.schema(
    [
        _required("image_id", pa.int64()),
        _required("box_xyxy", _box(pa.float64())),
    ]
)
PLACED_UNLABELLED = UNLABELLED.append(_required("instances_ahead", pa.int32()))
"""The same, where it is known among the image's instances where they stand in the source."""
OUTSIDE_VOCABULARY = pa.schema(
    [
        _required("image_id", pa.int64()),
        _required("human", pa.int32()),
        pa.field("object_instance", pa.int32()),
        _required("verb", pa.int32()),
    ]
)
FINDINGS = pa.schema(
    [
        _required("partition", pa.string()),
        _required("file", pa.string()),
        _required("row", pa.int64()),
        _required("kind", pa.string()),
        _required("kept", pa.bool_()),
        _required("value", pa.string()),
    ]
)
CLASSES = pa.schema(
    [
        _required("hoi", pa.int32()),
        _required("train_instances", pa.int32()),
        _required("rare", pa.bool_()),
        _required("seen", pa.bool_()),
    ]
)
PREDICTIONS = pa.schema(
    [
        _required("image_id", pa.int64()),
        _required("query", pa.int32()),
        _required("hoi", pa.int32()),
        _required("human_box_xyxy", _box(pa.float32())),
        pa.field("object_box_xyxy", _box(pa.float32())),
        _required("score", pa.float32()),
        _required("hoi_score", pa.float32()),
        _required("object_score", pa.float32()),
        _required("clip_score", pa.float32()),
    ]
)
PER_CLASS = pa.schema(
    [
        _required("hoi", pa.int32()),
        _required("name", pa.string()),
        _required("train_instances", pa.int32()),
        _required("rare", pa.bool_()),
        _required("seen", pa.bool_()),
        _required("test_instances", pa.int64()),
        pa.field("ap_default", pa.float64()),
        pa.field("ap_known_object", pa.float64()),
        pa.field("max_recall", pa.float64()),
    ]
)
HISTORY = pa.schema(
    [
        _required("step", pa.int64()),
        _required("epoch", pa.float64()),
        _required("name", pa.string()),
        _required("value", pa.float64()),
    ]
)
PER_VERB = pa.schema(
    [
        ("verb", pa.string()),
        ("hoi_classes", pa.int64()),
        ("positives", pa.int64()),
        ("ap", pa.float64()),
        ("ap_scenario_1", pa.float64()),
        ("ap_scenario_2", pa.float64()),
    ]
)
CURVES = pa.schema(
    [
        _required("recall", pa.float64()),
        pa.field("full", pa.float64()),
        pa.field("rare", pa.float64()),
        pa.field("non_rare", pa.float64()),
    ]
)


UNION_SCORES = pa.schema(
    [
        _required("image_id", pa.int64()),
        _required("human", pa.int32()),
        pa.field("object", pa.int32()),
        _required("cosine", pa.list_(pa.float32())),
        _required("null", pa.float32()),
    ]
)
"""CLIP's cosines of the union crop of a pair of detections: with the HOI classes of the object,
ascending, and with its null prompt."""


def detections_schema(width: int) -> pa.Schema:
    """Schema of the cache of detections, each with a feature of `width` numbers."""
    return pa.schema(
        [
            _required("image_id", pa.int64()),
            _required("detection", pa.int32()),
            _required("object", pa.int32()),
            _required("score", pa.float32()),
            _required("box_xyxy", _box(pa.float32())),
            _required("feature", pa.list_(pa.float16(), width)),
        ]
    )


def image_scores_schema(num_hois: int, num_objects: int) -> pa.Schema:
    """Schema of CLIP's cosines of whole images with all HOI classes and all null prompts."""
    return pa.schema(
        [
            _required("image_id", pa.int64()),
            _required("cosine", pa.list_(pa.float32(), num_hois)),
            _required("null", pa.list_(pa.float32(), num_objects)),
        ]
    )


def text_embeddings_schema(width: int) -> pa.Schema:
    """Schema of the text-embedding cache for embeddings of `width` numbers."""
    return pa.schema(
        [
            _required("kind", pa.string()),
            _required("id", pa.int32()),
            _required("prompt", pa.string()),
            _required("embedding", pa.list_(pa.float32(), width)),
        ]
    )


def verb_vectors_schema(width: int) -> pa.Schema:
    """Schema of the verb-vector cache for vectors of `width` numbers."""
    return pa.schema(
        [
            _required("representation", pa.string()),
            _required("verb", pa.int32()),
            _required("source", pa.string()),
            _required("pairs", pa.int64()),
            _required("vector", pa.list_(pa.float32(), width)),
        ]
    )


def write_table(
    path: str | Path, table: pa.Table, schema: pa.Schema, provenance: dict[str, Any]
) -> None:
    """Writes `table` in `schema` with `provenance` (JSON) in the footer; all or nothing.

    Raises:
        ValueError: a column is missing, of another type, or null where it may not be.
    """
    absent = [name for name in schema.names if name not in table.column_names]
    if absent:
        raise ValueError(f"column {absent[0]} is missing")
    table = table.select(schema.names).cast(schema)
    for field in schema:
        if not field.nullable and table[field.name].null_count:
            raise ValueError(f"column {field.name} holds null")
    footer = {PROVENANCE_KEY: json.dumps(provenance, sort_keys=True).encode()}
    with atomic_file(path) as aside:
        pq.write_table(table.replace_schema_metadata(footer), aside, compression="zstd")


def read_table(path: str | Path, schema: pa.Schema | None = None) -> pa.Table:
    """Reads a Parquet table and, where `schema` is given, checks and casts its columns.

    Raises:
        InputError: absent file, not Parquet, a column missing, of another type, or null where it
            may not be (with the first such row).
    """
    try:
        table = pq.ParquetFile(path).read()
    except FileNotFoundError:
        raise InputError(path, "no such file", fix="Run the stage that writes it") from None
    # ValueError: names of columns that are not UTF-8.
    except (pa.ArrowException, ValueError, OSError) as error:
        raise InputError(path, f"not a readable Parquet file ({error})") from None
    if schema is None:
        return table
    for field in schema:
        if field.name not in table.column_names:
            raise InputError(
                path, "column is missing", key=field.name, fix="See docs/architecture.md"
            )
        column = table[field.name]
        if not field.nullable and column.null_count:
            row = int(np.flatnonzero(column.is_null().to_numpy())[0])
            raise InputError(path, "null where a value is needed", row=row, key=field.name)
        try:
            column.cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
            raise InputError(
                path, f"type {column.type}, expected {field.type}", key=field.name
            ) from None
    return table.select(schema.names).cast(schema)


def unlabelled_schema(columns: Sequence[str]) -> pa.Schema:
    """`PLACED_UNLABELLED` where `columns` are its, else `UNLABELLED`."""
    placed = PLACED_UNLABELLED.names[-1] in columns
    return PLACED_UNLABELLED if placed else UNLABELLED


def read_unlabelled(path: str | Path) -> pa.Table:
    """Reads a table of `unlabelled_schema`.

    Raises:
        InputError: see `read_table`.
    """
    return read_table(path, unlabelled_schema(read_table(path).column_names))


def read_provenance(path: str | Path) -> dict[str, Any]:
    """The provenance that `write_table` put into the footer; empty for foreign files.

    Raises:
        InputError: the file is not readable, or its provenance not valid JSON.
    """
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, ValueError, OSError) as error:
        raise InputError(path, f"not a readable Parquet file ({error})") from None
    try:
        found = json.loads(metadata.get(PROVENANCE_KEY, b"{}"))
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"its footer is not valid JSON ({error})") from None
    return found if isinstance(found, dict) else {}


def fixed_lists_to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    """A column of N fixed-size lists of length K as an array (N, K); a null list becomes NaNs."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    width = array.type.list_size
    if array.null_count == 0:
        values: np.ndarray = array.flatten().to_numpy(zero_copy_only=False)
        return values.reshape(-1, width)
    out = np.full((len(array), width), np.nan, array.type.value_type.to_pandas_dtype())
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    out[valid] = array.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return out


def numpy_to_fixed_lists(values: np.ndarray, null: np.ndarray | None = None) -> pa.Array:
    """An array (N, K) as N fixed-size lists; rows where `null` (N,) is true become null."""
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    mask = None if null is None else pa.array(null)
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=mask)
