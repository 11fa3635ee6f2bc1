"""COCO instances files: images and annotations by id."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools.coco import COCO

from hoiclip.core.files import read_json
from hoiclip.errors import InputError
from hoiclip.formats import json_columns
from hoiclip.util import json_values

PERSON_ID = 1
"""COCO's category id of people."""

_KEPT = ("file_name", "bbox", "area", "ignore")
"""Fields beside the numbers; the rest, outlines above all, is large and of no use here."""


class CocoAnnotation(NamedTuple):
    """A box of COCO's.

    Attributes:
        id: its id.
        image_id: of its image.
        category_id: of its class.
        box_xyxy: (4,).
        place: where it stands among the annotations of all files.
        is_scored_person: a person whom V-COCO's evaluator looks at, crowds included: neither marked
            `ignore` nor of area 0.
    """

    id: int
    image_id: int
    category_id: int
    box_xyxy: np.ndarray
    place: int
    is_scored_person: bool


class CocoInstances:
    """Images and annotations of one or more COCO instances files.

    Args:
        paths: the files.

    Raises:
        InputError: a file is absent or malformed, or has an id twice.
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self._indices = [(Path(path), _index(Path(path))) for path in paths]
        annotations = (entry for _, coco in self._indices for entry in coco.dataset["annotations"])
        for place, entry in enumerate(annotations):
            entry["place"] = place

    def image(self, path: Path, row: int | None, image_id: int) -> tuple[str, int, int]:
        """File name, width and height of an image; `path` and `row` say who asks.

        Raises:
            InputError: no file has it.
        """
        entry = self._find("imgs", path, row, image_id, "image_id")
        return entry["file_name"], entry["width"], entry["height"]

    def annotation(self, path: Path, row: int, annotation_id: int) -> CocoAnnotation:
        """An annotation; `path` and `row` say who asks.

        Raises:
            InputError: no file has it.
        """
        return _annotation(self._find("anns", path, row, annotation_id, "annotation id"))

    def annotations(self, image_id: int) -> list[CocoAnnotation]:
        """All annotations of an image, crowds included, in the order of the files."""
        entries = [entry for _, coco in self._indices for entry in coco.imgToAnns.get(image_id, [])]
        # Files may share an image.
        return [_annotation(entry) for entry in {entry["id"]: entry for entry in entries}.values()]

    def _find(self, index: str, path: Path, row: int | None, id_: int, key: str) -> dict[str, Any]:
        for _, coco in self._indices:
            if id_ in getattr(coco, index):
                return getattr(coco, index)[id_]
        files = ", ".join(str(file) for file, _ in self._indices)
        raise InputError(path, f"{id_} is not in {files}", row=row, key=key)


def _annotation(entry: dict[str, Any]) -> CocoAnnotation:
    scored = entry.get("ignore") != 1 and entry.get("area", 1) > 0
    return CocoAnnotation(
        entry["id"],
        entry["image_id"],
        entry["category_id"],
        entry["bbox"],
        entry["place"],
        scored and entry["category_id"] == PERSON_ID,
    )


def xywh_to_xyxy(boxes_xywh: np.ndarray) -> np.ndarray:
    """COCO's (N, 4) x, y, width, height → x1, y1, x2, y2."""
    # Absurd boxes become infinite, and whoever assembles the tables reports them.
    with np.errstate(over="ignore"):
        ends = boxes_xywh[:, :2] + boxes_xywh[:, 2:]
    return np.concatenate([boxes_xywh[:, :2], ends], 1)


def _index(path: Path) -> COCO:
    document = json_values.mapping(path, None, "document", read_json(path))
    coco = COCO()
    # COCO's categories are known, and files without a list of them are in use.
    coco.dataset = {
        "images": _listed(path, document, "images", ("id", "width", "height")),
        "annotations": _listed(path, document, "annotations", ("id", "image_id", "category_id")),
    }
    for row, image in enumerate(coco.dataset["images"]):
        image["file_name"] = json_values.file_name(path, row, image.get("file_name"))
    annotations = coco.dataset["annotations"]
    boxes = json_columns.number_rows(path, "bbox", [[entry.get("bbox")] for entry in annotations])
    for row, (entry, box) in enumerate(zip(annotations, xywh_to_xyxy(boxes), strict=True)):
        entry["bbox"] = box
        if "area" in entry:
            entry["area"] = json_values.number(path, row, "area", entry["area"])
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _listed(
    path: Path, document: dict[str, Any], key: str, numbers: Sequence[str]
) -> list[dict[str, Any]]:
    """The JSON objects of the list `key`, with whole numbers under `numbers` and unique ids."""
    entries: list[dict[str, Any]] = []
    rows: dict[int, int] = {}
    for row, value in json_values.entries(path, document, key):
        value = json_values.mapping(path, row, key, value)
        entry = {name: value[name] for name in _KEPT if name in value}
        for name in numbers:
            entry[name] = json_values.integer(path, row, f"{key}.{name}", value.get(name))
        if rows.setdefault(entry["id"], row) != row:
            problem = f"{entry['id']} is also row {rows[entry['id']]}"
            raise InputError(path, problem, row=row, key=f"{key}.id")
        entries.append(entry)
    return entries
