"""From the schema's tables, checked, to arrays in a protocol's box convention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from hoiclip.core.schema import fixed_lists_to_numpy
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.errors import InputError
from hoiclip.evaluation.ap.matching import Pairs
from hoiclip.evaluation.ap.protocols import Offset

BoxFrame = Literal["schema", "protocol"]
"""Whose boxes predictions have: the schema's, or already those that the protocol compares."""


def offset_of(boxes: BoxFrame, offset_xyxy: Offset) -> Offset:
    """What is added to predicted boxes so that they become the protocol's.

    Args:
        boxes: whose they are.
        offset_xyxy: from the schema's boxes to the protocol's.

    Raises:
        ValueError: unknown convention.
    """
    if boxes not in ("schema", "protocol"):
        raise ValueError(f"unknown box frame {boxes!r}, expected 'schema' or 'protocol'")
    return offset_xyxy if boxes == "schema" else (0, 0, 0, 0)


@dataclass(frozen=True)
class ImageIndex:
    """Image id → position in the images table.

    Attributes:
        ids: (I,) image ids in rising order.
        positions: (I,) where they stand in the images table.
    """

    ids: np.ndarray
    positions: np.ndarray

    @classmethod
    def of(cls, images: pa.Table) -> ImageIndex:
        """Indexes an images table.

        Raises:
            InputError: an image id occurs twice.
        """
        ids = images["image_id"].to_numpy()
        positions = np.argsort(ids, kind="stable")
        ids = ids[positions]
        if (twice := np.flatnonzero(ids[1:] == ids[:-1])).size:
            row = int(positions[twice[0] + 1])
            raise InputError("images", f"{ids[twice[0]]} occurs twice", row=row, key="image_id")
        return cls(ids, positions)

    def __call__(self, image_ids: np.ndarray, table: str) -> np.ndarray:
        """(N,) positions of `image_ids`, a column of `table`.

        Raises:
            InputError: an id is not in the images table.
        """
        place = np.minimum(np.searchsorted(self.ids, image_ids), len(self.ids) - 1)
        known = self.ids[place] == image_ids if len(self.ids) else np.zeros(len(image_ids), bool)
        _check(known, table, "image_id", image_ids, "is not in the images table of the partition")
        return self.positions[place]


def detections_of(
    predictions: pa.Table,
    index: ImageIndex,
    vocabulary: Vocabulary,
    offset_xyxy: Offset,
) -> tuple[Pairs, np.ndarray]:
    """Predictions by image and query, and their scores (N,) as the table has them.

    Boxes become float64, so that nothing of a float64 table is rounded.

    Raises:
        InputError: see `hico.evaluate_hico`.
    """
    table = "predictions"
    image = index(predictions["image_id"].to_numpy(), table)
    hoi = _hoi_ids(predictions, table, vocabulary)
    query = predictions["query"].to_numpy()
    scores = predictions["score"].to_numpy()
    human = fixed_lists_to_numpy(predictions["human_box_xyxy"])
    object_ = fixed_lists_to_numpy(predictions["object_box_xyxy"])
    missing = predictions["object_box_xyxy"].is_null().to_numpy()
    has_object = (vocabulary.object_of_hoi != vocabulary.num_objects)[hoi]
    _check(np.isfinite(scores), table, "score", scores, "is not finite")
    _check(np.isfinite(human).all(axis=1), table, "human_box_xyxy", human, "is not finite")
    # A query that says 'no object' has no object's box, whatever classes it is given.
    _check(
        ~(missing & has_object) | vocabulary.has_missing_objects,
        table,
        "object_box_xyxy",
        hoi,
        "is a class with an object: null box",
    )
    finite = missing | np.isfinite(object_).all(axis=1)
    _check(finite, table, "object_box_xyxy", object_, "is not finite")
    offset = np.asarray(offset_xyxy, np.float64)
    human, object_ = human + offset, object_ + offset
    place = (image << 32) + query
    if (np.diff(place) >= 0).all():
        return Pairs(image, hoi, human, object_, query), scores
    order = np.argsort(place, kind="stable")
    return Pairs(image, hoi, human, object_, query).take(order), scores[order]


def ground_truth_of(
    annotations: Annotations, index: ImageIndex, vocabulary: Vocabulary, offset_xyxy: Offset
) -> Pairs:
    """Interactions with the boxes of their instances, in the order of the table.

    Raises:
        InputError: see `hico.evaluate_hico`.
    """
    rows = annotations.interactions
    hoi = _hoi_ids(rows, "interactions", vocabulary)
    return annotated_pairs(annotations.instances, rows, hoi, index, offset_xyxy)


def annotated_pairs(
    instances: pa.Table, rows: pa.Table, group: np.ndarray, index: ImageIndex, offset_xyxy: Offset
) -> Pairs:
    """Pairs of humans and objects with the boxes of their instances, in the order of the table.

    Args:
        instances: `schema.INSTANCES`.
        rows: columns `image_id`, `human` and `object_instance`, as of `schema.INTERACTIONS`.
        group: (R,) what stands for the class of each pair.
        index: of the images.
        offset_xyxy: added to the boxes.

    Raises:
        InputError: a row names an image or instance that does not exist.
    """
    table = "interactions"
    image = index(rows["image_id"].to_numpy(), table)
    instance_image = index(instances["image_id"].to_numpy(), "instances")
    keys = (instance_image << 32) + instances["instance"].to_numpy()
    order = np.argsort(keys)
    keys = keys[order]
    boxes = fixed_lists_to_numpy(instances["box_xyxy"]) + np.asarray(offset_xyxy)
    # One row of NaNs more: the box of a missing object.
    boxes = np.vstack([boxes[order], np.full((1, 4), np.nan)])

    def places(key: str) -> np.ndarray:
        missing = rows[key].is_null().to_numpy()
        numbers = rows[key].fill_null(0).to_numpy()
        wanted = (image << 32) + numbers
        place = np.searchsorted(keys, wanted)
        known = np.append(keys, -1)[place] == wanted
        _check(missing | known, table, key, numbers, "is not an instance of the image")
        return np.where(missing, len(keys), place)

    humans, objects = places("human"), places("object_instance")
    pair = humans * (len(keys) + 1) + objects
    return Pairs(image, group, boxes[humans], boxes[objects], pair)


def class_groups(classes: pa.Table, num_hois: int) -> dict[str, np.ndarray]:
    """Columns train_instances, rare and seen of `classes`, each (num_hois,).

    Raises:
        InputError: the rows are not the HOI classes in order.
    """
    hoi = classes["hoi"].to_numpy()
    if len(hoi) != num_hois:
        raise InputError("classes", f"{len(hoi)} rows, but the vocabulary has {num_hois} classes")
    _check(hoi == np.arange(num_hois), "classes", "hoi", hoi, "is out of order")
    return {name: classes[name].to_numpy() for name in ("train_instances", "rare", "seen")}


def _hoi_ids(table: pa.Table, name: str, vocabulary: Vocabulary) -> np.ndarray:
    hoi = table["hoi"].to_numpy().astype(np.int64)
    known = (hoi >= 0) & (hoi < vocabulary.num_hois)
    _check(known, name, "hoi", hoi, f"is not among the {vocabulary.num_hois} HOI classes")
    return hoi


def _check(good: np.ndarray, table: str, key: str, values: np.ndarray, problem: str) -> None:
    """Raises InputError for the first row that is not good."""
    if not good.all():
        row = int(np.argmin(good))
        raise InputError(table, f"{values[row]} {problem}", row=row, key=key)
