"""The method's caches as tables: detections, and CLIP's cosines of images and unions.

Each says in its footer what it was made of; a reader names what it is to be made of, and refuses
another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hoiclip.core import schema
from hoiclip.errors import InputError
from hoiclip.methods.clip_distill.caches.classes import ObjectClasses
from hoiclip.methods.clip_distill.caches.detections import Detections
from hoiclip.methods.clip_distill.caches.pairs import NO_OBJECT, ImagePairs, pairs_of

Origin = Mapping[str, Any]
"""What a cache is made of, by name: JSON values, of files their SHA-256."""

_FIX = "Run the stage that writes it"


@dataclass(frozen=True)
class PairCosines:
    """CLIP's cosines of the union crops of P pairs of one image.

    Attributes:
        pairs: the pairs.
        cosines: (P, K) float32 with the HOI classes of each pair's object, ascending, then zeros.
        null: (P,) float32 with the object's null prompt.
    """

    pairs: ImagePairs
    cosines: np.ndarray
    null: np.ndarray


@dataclass(frozen=True)
class ImageCosines:
    """CLIP's cosines of N whole images.

    Attributes:
        cosines: (N, C) float32 with all HOI classes.
        null: (N, O) float32 with the null prompt of each object.
    """

    cosines: np.ndarray
    null: np.ndarray


def detections_table(image_ids: Sequence[int], found: Sequence[Detections]) -> pa.Table:
    """Detections of one or more images as rows, image by image."""
    width = found[0].features.shape[1]
    columns = {
        "image_id": np.repeat(np.asarray(image_ids, np.int64), [len(each) for each in found]),
        "detection": np.concatenate([np.arange(len(each)) for each in found]),
        "object": np.concatenate([each.objects for each in found]),
        "score": np.concatenate([each.scores for each in found]),
        "box_xyxy": _lists(np.concatenate([each.boxes_xyxy for each in found])),
        "feature": _lists(np.concatenate([each.features for each in found]).astype(np.float16)),
    }
    return pa.table(columns).cast(schema.detections_schema(width))


def union_scores_table(
    image_ids: Sequence[int], scored: Sequence[PairCosines], classes: ObjectClasses
) -> pa.Table:
    """Cosines of the pairs of one or more images as rows, image by image; a list is as long as the
    object has classes."""
    pairs = [each.pairs for each in scored]
    mask = np.concatenate([classes.mask[each.objects] for each in pairs])
    offsets = np.concatenate([[0], mask.sum(1).cumsum()]).astype(np.int32)
    cosines = np.concatenate([each.cosines for each in scored])[mask]
    object_ = np.concatenate([each.object for each in pairs])
    columns = {
        "image_id": np.repeat(np.asarray(image_ids, np.int64), [len(each) for each in pairs]),
        "human": np.concatenate([each.human for each in pairs]),
        "object": pa.array(object_, mask=object_ == NO_OBJECT),
        "cosine": pa.ListArray.from_arrays(pa.array(offsets), pa.array(cosines)),
        "null": np.concatenate([each.null for each in scored]),
    }
    return pa.table(columns).cast(schema.UNION_SCORES)


def image_scores_table(image_ids: Sequence[int], scored: ImageCosines) -> pa.Table:
    """Cosines of whole images as rows."""
    columns = {
        "image_id": np.asarray(image_ids, np.int64),
        "cosine": _lists(scored.cosines),
        "null": _lists(scored.null),
    }
    sizes = (scored.cosines.shape[1], scored.null.shape[1])
    return pa.table(columns).cast(schema.image_scores_schema(*sizes))


def read_detections(
    path: str | Path, image_ids: Sequence[int], num_objects: int, origin: Origin
) -> list[Detections]:
    """Detections of each image, in the order of `image_ids`; of some, none.

    Args:
        path: the cache.
        image_ids: all images that it is about.
        num_objects: of the vocabulary.
        origin: what it has to be made of.

    Raises:
        InputError: absent, malformed, of another origin, of another image, or out of order.
    """
    check_origin(path, origin)
    table = schema.read_table(path)
    width = _list_size(path, table, "feature")
    table = schema.read_table(path, schema.detections_schema(width))
    starts = _starts(path, table, image_ids)
    objects = table["object"].to_numpy().astype(np.int64)
    _check_range(path, "object", objects, np.full(len(objects), num_objects))
    first = np.repeat(starts[:-1], np.diff(starts))
    wrong = np.flatnonzero(table["detection"].to_numpy() != np.arange(len(table)) - first)
    if len(wrong):
        raise InputError(
            path, "not counted from 0 in its image", row=int(wrong[0]), key="detection", fix=_FIX
        )
    whole = Detections(
        schema.fixed_lists_to_numpy(table["box_xyxy"]),
        table["score"].to_numpy(),
        objects,
        schema.fixed_lists_to_numpy(table["feature"]).astype(np.float32),
    )
    return [whole[start:end] for start, end in pairwise(starts)]


def read_union_scores(
    path: str | Path,
    image_ids: Sequence[int],
    detections: Sequence[Detections],
    classes: ObjectClasses,
    num_objects: int,
    origin: Origin,
) -> list[PairCosines]:
    """Pairs and their cosines of each image, in the order of `image_ids`; of some, none.

    Args:
        path: the cache.
        image_ids: all images that it is about.
        detections: of each of them.
        classes: of the vocabulary.
        num_objects: of the vocabulary.
        origin: what it has to be made of.

    Raises:
        InputError: as `read_detections`; or a pair names a detection that its image has not, or
            has another number of cosines than its object has classes.
    """
    check_origin(path, origin)
    table = schema.read_table(path, schema.UNION_SCORES)
    starts = _starts(path, table, image_ids)
    counts = np.repeat([len(each) for each in detections], np.diff(starts))
    human = table["human"].to_numpy().astype(np.int64)
    object_ = table["object"].fill_null(NO_OBJECT).to_numpy().astype(np.int64)
    _check_range(path, "human", human, counts)
    _check_range(path, "object", object_ + 1, counts + 1)
    null = table["null"].to_numpy()
    lists = table["cosine"].combine_chunks()
    values = lists.flatten().to_numpy(zero_copy_only=False)
    lengths = np.asarray(lists.value_lengths())
    found, bounds = [], np.concatenate([[0], lengths.cumsum()]).astype(np.int64)
    for image, (start, end) in enumerate(pairwise(starts)):
        pairs = pairs_of(detections[image], human[start:end], object_[start:end], num_objects)
        mask = classes.mask[pairs.objects]
        wrong = np.flatnonzero(lengths[start:end] != mask.sum(1))
        if len(wrong):
            raise InputError(
                path,
                "another number of cosines than the object has HOI classes",
                row=int(start + wrong[0]),
                key="cosine",
                fix=_FIX,
            )
        cosines = np.zeros(mask.shape, np.float32)
        cosines[mask] = values[bounds[start] : bounds[end]]
        found.append(PairCosines(pairs, cosines, null[start:end]))
    return found


def read_image_scores(
    path: str | Path, image_ids: Sequence[int], num_hois: int, num_objects: int, origin: Origin
) -> ImageCosines:
    """Cosines of whole images, in the order of `image_ids`.

    Args:
        path: the cache.
        image_ids: all images that it is about.
        num_hois: C.
        num_objects: O, 'no object' among them where some HOI class has none.
        origin: what it has to be made of.

    Raises:
        InputError: as `read_detections`, or an image is missing.
    """
    check_origin(path, origin)
    table = schema.read_table(path, schema.image_scores_schema(num_hois, num_objects))
    if table["image_id"].to_pylist() != list(image_ids):
        raise InputError(path, "not one row for each image in order", key="image_id", fix=_FIX)
    columns = (schema.fixed_lists_to_numpy(table[name]) for name in ("cosine", "null"))
    return ImageCosines(*columns)


def check_origin(path: str | Path, origin: Origin) -> None:
    """Checks that the footer says what `origin` says.

    Raises:
        InputError: names the first difference.
    """
    found = schema.read_provenance(path) if Path(path).exists() else origin
    for name, value in origin.items():
        if found.get(name) != value:
            raise InputError(path, f"made of another {name}", fix=_FIX)


def _lists(values: np.ndarray) -> pa.Array:
    return schema.numpy_to_fixed_lists(values)


def _list_size(path: str | Path, table: pa.Table, column: str) -> int:
    type_ = table[column].type if column in table.column_names else None
    if type_ is None or not pa.types.is_fixed_size_list(type_):
        raise InputError(path, "no column of fixed-size lists", key=column, fix=_FIX)
    return type_.list_size


def _starts(path: str | Path, table: pa.Table, image_ids: Sequence[int]) -> np.ndarray:
    """(N + 1,) first row of each image, and the end."""
    place_of = {image_id: place for place, image_id in enumerate(image_ids)}
    places = np.array([place_of.get(i, -1) for i in table["image_id"].to_pylist()], np.int64)
    wrong = np.flatnonzero(places < np.maximum.accumulate(places)) if len(places) else places
    wrong = np.union1d(wrong, np.flatnonzero(places < 0))
    if len(wrong):
        raise InputError(
            path, "an unknown image, or out of order", row=int(wrong[0]), key="image_id", fix=_FIX
        )
    return np.searchsorted(places, np.arange(len(image_ids) + 1))


def _check_range(path: str | Path, key: str, values: np.ndarray, limits: np.ndarray) -> None:
    """Checks 0 <= values < limits."""
    wrong = np.flatnonzero((values < 0) | (values >= limits))
    if len(wrong):
        raise InputError(path, "out of range", row=int(wrong[0]), key=key, fix=_FIX)
