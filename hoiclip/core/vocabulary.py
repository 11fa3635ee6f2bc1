"""Objects, verbs and HOI classes of a data set; every size in the project is read from here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hoiclip.core import schema
from hoiclip.errors import InputError

PERSON = "person"
NO_INTERACTION = "no_interaction"


RARE_BELOW = 10
"""An HOI class with fewer training instances is rare (Chao et al., WACV 2018)."""


@dataclass(frozen=True)
class Verb:
    """A verb (or V-COCO action-role).

    Attributes:
        name: identifier, e.g. `sit_on`.
        phrase: text between "a person" and the object, e.g. "sitting on"; None for a verb that
            stands for the absence of an interaction, and for verbs without an object.
        phrase_alone: text where no object follows, e.g. "walking"; None if there is none.
    """

    name: str
    phrase: str | None
    phrase_alone: str | None = None


@dataclass(frozen=True)
class Hoi:
    """An HOI class: a verb and an object class, or a verb alone (`object` None)."""

    verb: int
    object: int | None


@dataclass(frozen=True)
class Vocabulary:
    """Objects, verbs and HOI classes, each in canonical order; an id is a position."""

    objects: tuple[str, ...]
    verbs: tuple[Verb, ...]
    hois: tuple[Hoi, ...]

    def __post_init__(self) -> None:
        for what, names in (("object", self.objects), ("verb", [v.name for v in self.verbs])):
            if len(set(names)) != len(names):
                raise ValueError(f"{what} names are not unique")
        if PERSON not in self.objects:
            raise ValueError(f"the objects do not include {PERSON!r}, the class of every human")
        if len(set(self.hois)) != len(self.hois):
            raise ValueError("HOI classes are not unique")
        for index, hoi in enumerate(self.hois):
            if not 0 <= hoi.verb < len(self.verbs):
                raise ValueError(f"HOI class {index}: verb {hoi.verb} is out of range")
            if hoi.object is not None and not 0 <= hoi.object < len(self.objects):
                raise ValueError(f"HOI class {index}: object {hoi.object} is out of range")

    @property
    def num_objects(self) -> int:
        """Number of object classes, `person` included, 'nothing' not."""
        return len(self.objects)

    @property
    def num_verbs(self) -> int:
        """Number of verbs."""
        return len(self.verbs)

    @property
    def num_hois(self) -> int:
        """Number of HOI classes."""
        return len(self.hois)

    @cached_property
    def person(self) -> int:
        """Object id of humans."""
        return self.objects.index(PERSON)

    @cached_property
    def verb_of_hoi(self) -> np.ndarray:
        """(num_hois,) int64: verb of each HOI class."""
        return np.array([hoi.verb for hoi in self.hois], np.int64)

    @cached_property
    def object_of_hoi(self) -> np.ndarray:
        """(num_hois,) int64: object of each HOI class; `num_objects` stands for 'no object'."""
        missing = self.num_objects
        return np.array([missing if h.object is None else h.object for h in self.hois], np.int64)

    @cached_property
    def verb_to_hoi(self) -> np.ndarray:
        """(num_verbs, num_hois) float32 of 0/1: 1 where the HOI class has the verb."""
        same: np.ndarray = np.arange(self.num_verbs)[:, None] == self.verb_of_hoi[None]
        return same.astype(np.float32)

    @cached_property
    def has_missing_objects(self) -> bool:
        """Whether some HOI class has no object, as in V-COCO."""
        return any(hoi.object is None for hoi in self.hois)

    @cached_property
    def hoi_ids(self) -> dict[tuple[int, int | None], int]:
        """(verb, object or None) → HOI class."""
        return {(hoi.verb, hoi.object): index for index, hoi in enumerate(self.hois)}

    @cached_property
    def hoi_of(self) -> np.ndarray:
        """(num_verbs, num_objects + 1) int64: HOI class of verb and object, -1 where there is none.

        The last column is of verbs without an object.
        """
        hoi_of = np.full((self.num_verbs, self.num_objects + 1), -1, np.int64)
        hoi_of[self.verb_of_hoi, self.object_of_hoi] = np.arange(self.num_hois)
        return hoi_of

    def hoi_name(self, hoi: int) -> str:
        """Human-readable name, e.g. `sit_on bench`."""
        verb, object_ = self.hois[hoi].verb, self.hois[hoi].object
        name = self.verbs[verb].name
        return name if object_ is None else f"{name} {self.objects[object_]}"

    def to_table(self) -> pa.Table:
        """The vocabulary as rows of `schema.VOCABULARY`."""
        rows: list[dict[str, Any]] = [
            {"kind": "object", "id": i, "name": name} for i, name in enumerate(self.objects)
        ]
        rows += [
            {
                "kind": "verb",
                "id": i,
                "name": v.name,
                "phrase": v.phrase,
                "phrase_alone": v.phrase_alone,
            }
            for i, v in enumerate(self.verbs)
        ]
        rows += [
            {"kind": "hoi", "id": i, "name": self.hoi_name(i), "verb": h.verb, "object": h.object}
            for i, h in enumerate(self.hois)
        ]
        return pa.Table.from_pylist(rows, schema=schema.VOCABULARY)

    def to_json(self) -> dict[str, Any]:
        """JSON form, for the header of a checkpoint."""
        return {
            "objects": list(self.objects),
            "verbs": [[v.name, v.phrase, v.phrase_alone] for v in self.verbs],
            "hois": [[h.verb, h.object] for h in self.hois],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Vocabulary:
        """Inverse of `to_json`.

        Raises:
            ValueError: `value` is of another form, or contradicts itself.
        """
        try:
            objects = tuple(value["objects"])
            verbs = tuple(Verb(*verb) for verb in value["verbs"])
            hois = tuple(Hoi(*hoi) for hoi in value["hois"])
        except (TypeError, LookupError):
            raise ValueError("vocabulary: expected lists of objects, verbs and hois") from None
        phrases = [text for verb in verbs for text in (verb.phrase, verb.phrase_alone)]
        for text in (*objects, *(verb.name for verb in verbs), *filter(None, phrases)):
            if not isinstance(text, str):
                raise ValueError(f"vocabulary: {text!r}, expected a text")
        for hoi in hois:
            if type(hoi.verb) is not int or not (hoi.object is None or type(hoi.object) is int):
                raise ValueError(f"vocabulary: {hoi}, expected whole numbers")
        return cls(objects, verbs, hois)

    @classmethod
    def read(cls, path: str | Path) -> Vocabulary:
        """Reads `vocabulary.parquet`.

        Raises:
            InputError: ids are not 0..n-1 in order, or a row contradicts another.
        """
        rows: dict[str, list[dict[str, Any]]] = {"object": [], "verb": [], "hoi": []}
        for index, row in enumerate(schema.read_table(path, schema.VOCABULARY).to_pylist()):
            if row["kind"] not in rows:
                raise InputError(path, f"unknown kind {row['kind']!r}", row=index, key="kind")
            if row["id"] != len(rows[row["kind"]]):
                expected = len(rows[row["kind"]])
                raise InputError(path, f"id {row['id']}, expected {expected}", row=index, key="id")
            if row["kind"] == "hoi" and row["verb"] is None:
                raise InputError(path, "an HOI class without a verb", row=index, key="verb")
            rows[row["kind"]].append(row)
        try:
            return cls(
                tuple(row["name"] for row in rows["object"]),
                tuple(
                    Verb(row["name"], row["phrase"], row["phrase_alone"]) for row in rows["verb"]
                ),
                tuple(Hoi(row["verb"], row["object"]) for row in rows["hoi"]),
            )
        except ValueError as error:
            raise InputError(path, str(error)) from None

    def write(self, path: str | Path, provenance: dict[str, Any]) -> None:
        """Writes `vocabulary.parquet`."""
        schema.write_table(path, self.to_table(), schema.VOCABULARY, provenance)
