"""Predictions as Parquet: `schema.PREDICTIONS`, or those of its columns that a protocol reads.

`image_id` (or `file_name`), `hoi`, `human_box_xyxy`, `object_box_xyxy` and `score` are needed. An
object's box that is null says that there is none, and so do NaNs and zeros where the vocabulary
knows pairs without an object. Without `query`, rows of one image with the same two boxes are one
query. Lists and floats may be of any kind.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hoiclip.core import schema
from hoiclip.core.schema import fixed_lists_to_numpy
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.errors import InputError
from hoiclip.formats.content import Content
from hoiclip.formats.predictions.image_names import ImageNames
from hoiclip.formats.predictions.options import PredictionOptions, Predictions
from hoiclip.formats.predictions.rows import Places, Rows, number_boxes

_MAGIC = b"PAR1"
_LAST_QUERY = 2**31 - 1
_BOX = pa.list_(pa.float64(), 4)
_TEXT = (pa.string(), pa.large_string())
_FIELDS = (
    pa.field("image_id", pa.int64(), nullable=False),
    pa.field("query", pa.int64(), nullable=False),
    pa.field("hoi", pa.int32(), nullable=False),
    pa.field("human_box_xyxy", _BOX, nullable=False),
    pa.field("object_box_xyxy", _BOX),
    pa.field("score", pa.float64(), nullable=False),
)


def detect(content: Content) -> bool:
    """Whether it is a Parquet file."""
    return content.header.startswith(_MAGIC)


def load(path: Path, options: PredictionOptions) -> Predictions:
    """`read`, as every format is read.

    Raises:
        InputError: as of `read`; the classes beside the file are not the annotations'.
    """
    beside = path.parent / "vocabulary.parquet"
    if beside.is_file() and Vocabulary.read(beside).hois != options.vocabulary.hois:
        problem = f"made for the classes of {beside}, which the annotations do not have"
        raise InputError(path, problem, fix="Score it with annotations of its data set")
    return Predictions(rows=read(path, options.images, options.vocabulary))


def read(path: str | Path, images: ImageNames, vocabulary: Vocabulary) -> Rows:
    """Reads and checks a file; images that it does not name have no predictions.

    Args:
        path: the Parquet file.
        images: the annotated images.
        vocabulary: the classes.

    Returns:
        The rows, boxes as the file has them.

    Raises:
        InputError: malformed, an unknown image, a class out of range, a box that is not one, a
            score that is not finite, or an object missing where every class has one.
    """
    path = Path(path)
    columns = _columns_of(path)
    table = schema.read_table(path, pa.schema(columns))
    places = Places(path, np.arange(len(table)))
    image_id = _image_ids(path, table, images)
    hoi = table["hoi"].to_numpy().astype(np.int64)
    last = vocabulary.num_hois - 1
    places.refuse((hoi < 0) | (hoi > last), hoi, "hoi", f"is out of range 0..{last}")
    human, object_ = (fixed_lists_to_numpy(table[f"{k}_box_xyxy"]) for k in ("human", "object"))
    places.check_boxes(human, "human_box_xyxy")
    missing = table["object_box_xyxy"].is_null().to_numpy()
    if not vocabulary.has_missing_objects:
        problem = "is a class with an object, whose box is null"
        places.refuse(missing, hoi, "object_box_xyxy", problem)
    else:
        missing |= np.isnan(object_).all(axis=1) | (object_ == 0).all(axis=1)
        object_ = np.where(missing[:, None], np.nan, object_)
    rows = np.flatnonzero(~missing)
    Places(path, rows).check_boxes(object_[rows], "object_box_xyxy")
    scores = table["score"].to_numpy()
    places.check_scores(scores)
    if "query" in table.column_names:
        query = table["query"].to_numpy()
        outside = (query < 0) | (query > _LAST_QUERY)
        places.refuse(outside, query, "query", f"is out of range 0..{_LAST_QUERY}")
    else:
        query = number_boxes(np.hstack([human, object_]))
    return Rows(image_id, query, vocabulary.verb_of_hoi[hoi], hoi, human, object_, scores)


def _columns_of(path: Path) -> list[pa.Field]:
    """Those of `_FIELDS` that are to be read, with `file_name` where it names the images."""
    try:
        found = pq.read_schema(path)
    except FileNotFoundError:
        raise InputError(path, "no such file") from None
    # ValueError: names of columns that are not UTF-8.
    except (pa.ArrowException, ValueError, OSError) as error:
        raise InputError(path, f"not a readable Parquet file ({error})") from None
    names, fields = found.names, {field.name: field for field in _FIELDS}
    if "query" not in names:
        del fields["query"]
    if "image_id" not in names and "file_name" in names:
        fields["image_id"] = pa.field("file_name", pa.string(), nullable=False)
    elif names.count("image_id") == 1 and found.field("image_id").type in _TEXT:
        fields["image_id"] = pa.field("image_id", pa.string(), nullable=False)
    return list(fields.values())


def _image_ids(path: Path, table: pa.Table, images: ImageNames) -> np.ndarray:
    if "image_id" not in table.column_names:
        return np.array(images.of_names(path, table["file_name"].to_pylist()), np.int64)
    if table["image_id"].type == pa.string():
        ids = enumerate(table["image_id"].to_pylist())
        return np.array([images.of_id(path, row, value) for row, value in ids], np.int64)
    image_id = table["image_id"].to_numpy()
    images.check_ids(path, image_id)
    return image_id
