"""COCO instances files: images and annotations by id."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO

from hoiclip.data.readers import source
from hoiclip.errors import InputError


class CocoInstances:
    """Images and annotations of one or more COCO instances files.

    Args:
        paths: the files.

    Raises:
        InputError: a file is absent or malformed.
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self._indices = [(Path(path), _index(Path(path))) for path in paths]

    def image(self, path: Path, row: int, image_id: int) -> tuple[str, int, int]:
        """File name, width and height of an image; `path` and `row` say who asks.

        Raises:
            InputError: no file has it, or its entry is malformed.
        """
        file, entry = self._find("imgs", path, row, image_id, "image_id")
        sizes = [source.integer(file, None, key, entry.get(key)) for key in ("width", "height")]
        return source.file_name(file, None, entry.get("file_name")), sizes[0], sizes[1]

    def annotation(self, path: Path, row: int, annotation_id: int) -> tuple[int, int, np.ndarray]:
        """Image id, category id and box (4,) xyxy of an annotation; `path` and `row` say who asks.

        Raises:
            InputError: no file has it, or its entry is malformed.
        """
        file, entry = self._find("anns", path, row, annotation_id, "annotation id")
        category = source.integer(file, None, "category_id", entry.get("category_id"))
        image_id = source.integer(file, None, "image_id", entry["image_id"])
        box = source.number_rows(file, "bbox", [[entry.get("bbox")]])
        return image_id, category, xywh_to_xyxy(box)[0]

    def _find(
        self, index: str, path: Path, row: int, id_: int, key: str
    ) -> tuple[Path, dict[str, Any]]:
        for file, coco in self._indices:
            if id_ in getattr(coco, index):
                return file, getattr(coco, index)[id_]
        files = ", ".join(str(file) for file, _ in self._indices)
        raise InputError(path, f"{id_} is not in {files}", row=row, key=key)


def xywh_to_xyxy(boxes_xywh: np.ndarray) -> np.ndarray:
    """COCO's (N, 4) x, y, width, height → x1, y1, x2, y2."""
    # Absurd boxes become infinite, and whoever assembles the tables reports them.
    with np.errstate(over="ignore"):
        ends = boxes_xywh[:, :2] + boxes_xywh[:, 2:]
    return np.concatenate([boxes_xywh[:, :2], ends], 1)


def _index(path: Path) -> COCO:
    document = source.mapping(path, None, "document", source.read_json_source(path))
    for key in ("images", "annotations"):
        for row, entry in source.entries(path, document, key):
            wanted = ("id",) if key == "images" else ("id", "image_id", "category_id")
            for name in wanted:
                value = source.mapping(path, row, key, entry).get(name)
                source.integer(path, row, f"{key}.{name}", value)
    coco = COCO()
    # COCO's categories are known, and files without a list of them are in use.
    coco.dataset = {"images": document["images"], "annotations": document["annotations"]}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco
