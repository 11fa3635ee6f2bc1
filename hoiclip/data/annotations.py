"""The tables of one partition: reading, checking, writing, and grouping by image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hoiclip.core import schema
from hoiclip.core.files import atomic_folder
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.instance_rows import InstanceRows
from hoiclip.errors import InputError

OPTIONAL = ("unlabelled_people", "outside_vocabulary")
"""Tables of a partition that only some sources have."""


@dataclass(frozen=True)
class Annotations:
    """One partition (see docs/architecture.md); rows stand in the order of their source.

    Attributes:
        images: rows of `schema.IMAGES`.
        instances: rows of `schema.INSTANCES`.
        interactions: rows of `schema.INTERACTIONS`.
        unlabelled_people: rows of `schema.UNLABELLED` or `schema.PLACED_UNLABELLED`: people in
            these images, crowds included, for whom no interaction was labelled either way; None
            where they are not known.
        outside_vocabulary: rows of `schema.OUTSIDE_VOCABULARY`: interactions whose verb and object
            are no HOI class; None where there are none.
        missing_roles: whether the source can say that the object of a role is not visible; None
            where that is not stated.
    """

    images: pa.Table
    instances: pa.Table
    interactions: pa.Table
    unlabelled_people: pa.Table | None = None
    outside_vocabulary: pa.Table | None = None
    missing_roles: bool | None = None

    @classmethod
    def read(cls, folder: str | Path) -> Annotations:
        """Reads a partition's folder.

        Raises:
            InputError: a table is absent or malformed.
        """
        folder = Path(folder)
        people, outside = (folder / f"{name}.parquet" for name in OPTIONAL)
        tables = (
            schema.read_table(folder / "images.parquet", schema.IMAGES),
            schema.read_table(folder / "instances.parquet", schema.INSTANCES),
            schema.read_table(folder / "interactions.parquet", schema.INTERACTIONS),
            schema.read_unlabelled(people) if people.exists() else None,
            schema.read_table(outside, schema.OUTSIDE_VOCABULARY) if outside.exists() else None,
        )
        stated = schema.read_provenance(folder / "interactions.parquet").get("missing_roles")
        return cls(*tables, missing_roles=None if stated is None else bool(stated))

    def write(self, folder: str | Path, provenance: dict[str, Any]) -> None:
        """Writes the tables that there are; the folder appears complete or not at all.

        Args:
            folder: replaced if it exists.
            provenance: for the footer of each table. That of `images` is without its `files`, the
                hashes of annotation files: who reads images alone does not depend on a label.
        """
        people = self.unlabelled_people
        of_people = () if people is None else people.column_names
        tables = {
            "images": (self.images, schema.IMAGES),
            "instances": (self.instances, schema.INSTANCES),
            "interactions": (self.interactions, schema.INTERACTIONS),
            "unlabelled_people": (people, schema.unlabelled_schema(of_people)),
            "outside_vocabulary": (self.outside_vocabulary, schema.OUTSIDE_VOCABULARY),
        }
        with atomic_folder(folder) as aside:
            for name, (table, columns) in tables.items():
                if table is not None:
                    told = {k: v for k, v in provenance.items() if (name, k) != ("images", "files")}
                    schema.write_table(aside / f"{name}.parquet", table, columns, told)

    def check(self, folder: str | Path, vocabulary: Vocabulary) -> None:
        """Checks every row against the vocabulary and the other tables.

        Args:
            folder: where the tables come from, for messages.
            vocabulary: the data set's.

        Raises:
            InputError: the first row that is wrong, with file, row, column and value.
        """
        folder = Path(folder)
        self._check_images(folder / "images.parquet")
        self._check_instances(folder / "instances.parquet", vocabulary)
        self._check_interactions(folder / "interactions.parquet", vocabulary)

    def _check_images(self, path: Path) -> None:
        ids = self.images["image_id"].to_numpy()
        _refuse(path, "image_id", ids, _repeated(ids), "{} appears twice")
        for key in ("width", "height"):
            values = self.images[key].to_numpy()
            _refuse(path, key, values, values < 1, "{} is not a size in pixels")

    def _check_instances(self, path: Path, vocabulary: Vocabulary) -> None:
        table = self.instances
        image_ids, instance = table["image_id"].to_numpy(), table["instance"].to_numpy()
        known = np.isin(image_ids, self.images["image_id"].to_numpy())
        _refuse(path, "image_id", image_ids, ~known, "{} is not in images.parquet")
        repeated = self.instance_rows.duplicated
        _refuse(path, "instance", instance, repeated, "{} appears twice in its image")
        objects = table["object"].to_numpy()
        wrong = (objects < 0) | (objects >= vocabulary.num_objects)
        problem = f"{{}} is out of range 0..{vocabulary.num_objects - 1}"
        _refuse(path, "object", objects, wrong, problem)
        boxes = schema.fixed_lists_to_numpy(table["box_xyxy"])
        bad = ~np.isfinite(boxes).all(1) | ~(boxes[:, 2:] > boxes[:, :2]).all(1)
        _refuse(path, "box_xyxy", boxes, bad, "{} is not x1 < x2, y1 < y2")

    def _check_interactions(self, path: Path, vocabulary: Vocabulary) -> None:
        table = self.interactions
        image_ids = table["image_id"].to_numpy()
        human, rows = table["human"].to_numpy(), self.instance_rows
        human_rows = rows.find(image_ids, human)
        _refuse(path, "human", human, human_rows < 0, "{} is not an instance of its image")
        objects = self.instances["object"].to_numpy()
        not_human = objects[human_rows] != vocabulary.person
        _refuse(path, "human", human, not_human, "{} is an instance of another class than person")
        has_object = table["object_instance"].is_valid().to_numpy()
        object_instance = table["object_instance"].fill_null(0).to_numpy()
        object_rows = rows.find(image_ids, object_instance)
        unknown = has_object & (object_rows < 0)
        _refuse(
            path, "object_instance", object_instance, unknown, "{} is not an instance of its image"
        )
        hoi = table["hoi"].to_numpy()
        out = (hoi < 0) | (hoi >= vocabulary.num_hois)
        _refuse(path, "hoi", hoi, out, f"{{}} is out of range 0..{vocabulary.num_hois - 1}")
        verb = table["verb"].to_numpy()
        _refuse(
            path, "verb", verb, verb != vocabulary.verb_of_hoi[hoi], "{} is not the verb of its hoi"
        )
        expected = vocabulary.object_of_hoi[hoi]
        alone = expected == vocabulary.num_objects
        absent = ~alone & ~has_object
        _refuse(path, "object_instance", hoi, absent, "is null, but hoi {} has an object class")
        surplus = alone & has_object
        problem = "{} has another object class than its object_instance: it has none"
        _refuse(path, "hoi", hoi, surplus, problem)
        differs = ~alone & (expected != objects[object_rows])
        _refuse(path, "hoi", hoi, differs, "{} has another object class than its object_instance")
        rows_of_pair = np.stack([image_ids, human, object_rows, hoi], 1)
        _refuse(path, "hoi", hoi, _repeated(rows_of_pair), "{} appears twice for its pair")

    @property
    def has_missing_roles(self) -> bool:
        """`missing_roles` or, where that is not stated, whether a row has no object."""
        if self.missing_roles is None:
            return bool(self.interactions["object_instance"].null_count)
        return self.missing_roles

    @cached_property
    def instance_rows(self) -> InstanceRows:
        """Rows of `instances` by (image_id, instance)."""
        return InstanceRows(
            self.instances["image_id"].to_numpy(), self.instances["instance"].to_numpy()
        )

    def select(self, image_ids: np.ndarray) -> Annotations:
        """The part of the tables that belongs to `image_ids`, in the tables' order."""
        wanted = pa.array(image_ids, pa.int64())

        def of_images(table: pa.Table) -> pa.Table:
            return table.filter(pc.is_in(table["image_id"], wanted))

        people, outside = self.unlabelled_people, self.outside_vocabulary
        return Annotations(
            of_images(self.images),
            of_images(self.instances),
            of_images(self.interactions),
            None if people is None else of_images(people),
            None if outside is None else of_images(outside),
            self.missing_roles,
        )

    def pairs(self) -> AnnotatedPairs:
        """The annotated pairs, each with its HOI classes, ordered by image, human, object."""
        return AnnotatedPairs.from_annotations(self)


@dataclass(frozen=True)
class AnnotatedPairs:
    """Annotated pairs of a partition; P pairs, R (pair, HOI class) rows.

    Attributes:
        image_ids: (P,) int64, ascending.
        human_boxes_xyxy: (P, 4) float64, pixels.
        object_boxes_xyxy: (P, 4) float64; NaN where there is no object.
        objects: (P,) int64 object class; -1 where there is no object.
        pair_of_row: (R,) pair of each row.
        hoi_of_row: (R,) HOI class of each row.
    """

    image_ids: np.ndarray
    human_boxes_xyxy: np.ndarray
    object_boxes_xyxy: np.ndarray
    objects: np.ndarray
    pair_of_row: np.ndarray
    hoi_of_row: np.ndarray

    @classmethod
    def from_annotations(cls, annotations: Annotations) -> AnnotatedPairs:
        """Groups the interaction rows of equal (image, human, object instance)."""
        table = annotations.interactions
        image_ids, human = table["image_id"].to_numpy(), table["human"].to_numpy()
        objects = table["object_instance"].fill_null(-1).to_numpy()
        keys = np.stack([image_ids, human, objects], 1).astype(np.int64)
        unique, pair_of_row = np.unique(keys, axis=0, return_inverse=True)
        rows, boxes = (
            annotations.instance_rows,
            schema.fixed_lists_to_numpy(annotations.instances["box_xyxy"]),
        )
        missing = unique[:, 2] < 0
        object_rows = rows.find(unique[:, 0], unique[:, 2])
        classes = annotations.instances["object"].to_numpy().astype(np.int64)
        human_boxes = boxes[rows.find(unique[:, 0], unique[:, 1])]
        object_boxes = np.where(missing[:, None], np.nan, boxes[object_rows])
        return cls(
            unique[:, 0],
            human_boxes,
            object_boxes,
            np.where(missing, -1, classes[object_rows]),
            pair_of_row.reshape(-1),
            table["hoi"].to_numpy().astype(np.int64),
        )

    def hoi_labels(self, num_hois: int) -> np.ndarray:
        """(P, num_hois) float32 of 0/1."""
        labels = np.zeros((len(self.image_ids), num_hois), np.float32)
        labels[self.pair_of_row, self.hoi_of_row] = 1
        return labels

    def image_slices(self, image_ids: Iterable[int]) -> list[slice]:
        """Slice of pairs of each image, empty where it has none."""
        ids = np.asarray(list(image_ids), np.int64)
        starts = np.searchsorted(self.image_ids, ids, "left")
        stops = np.searchsorted(self.image_ids, ids, "right")
        return [slice(a, b) for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]


def _repeated(keys: np.ndarray) -> np.ndarray:
    """(N,) bool: rows of `keys`, (N,) or (N, K), that an earlier row equals."""
    _, first = np.unique(keys, axis=0, return_index=True)
    repeated = np.ones(len(keys), bool)
    repeated[first] = False
    return repeated


def _refuse(path: Path, key: str, values: np.ndarray, wrong: np.ndarray, problem: str) -> None:
    """An `InputError` at the first row that is `wrong`; `problem` has a place for its value."""
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        told = problem.format(values[row].tolist())
        raise InputError(path, told, row=row, key=key, fix="Mend the row and run the stage again")
