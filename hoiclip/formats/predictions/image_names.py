"""Which annotated image a prediction is about."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hoiclip.errors import InputError
from hoiclip.util import json_values

NAME_KEYS = ("file_name", "filename")


class ImageNames:
    """Ids of a partition's images, by file name and by id.

    Args:
        images: the partition's `schema.IMAGES`.
    """

    def __init__(self, images: pa.Table) -> None:
        ids = images["image_id"].to_pylist()
        names = images["file_name"].to_pylist()
        self._by_name = dict(zip(names, ids, strict=True))
        self._ids = frozenset(ids)
        self._like = f"{names[0]!r}, {ids[0]}" if names else "none"

    def __len__(self) -> int:
        return len(self._ids)

    def of_entry(self, path: Path, row: int, entry: dict[str, Any]) -> int:
        """Image id of a JSON entry with `file_name` (or `filename`), else with `image_id`.

        Raises:
            InputError: it has neither, or the partition has no such image.
        """
        for key in NAME_KEYS:
            if key in entry:
                return self.of_names(path, [entry[key]], key, first_row=row)[0]
        if "image_id" not in entry:
            raise InputError(path, "neither file_name nor image_id", row=row)
        return self.of_id(path, row, entry["image_id"])

    def of_id(self, path: Path, row: int, value: Any) -> int:
        """`value` as the id of an image, or its file name.

        Raises:
            InputError: it is neither a whole number nor a file name, or the partition has no such
                image.
        """
        if isinstance(value, str) and value in self._by_name:
            return self._by_name[value]
        image_id = json_values.integer(path, row, "image_id", value)
        if image_id not in self._ids:
            raise self._unknown(path, row, "image_id", image_id)
        return image_id

    def of_names(
        self, path: Path, names: Sequence[Any], key: str = "file_name", first_row: int = 0
    ) -> list[int]:
        """Image id of each of `names`, the column `key` from row `first_row` on.

        Raises:
            InputError: the partition has no such image.
        """
        try:
            return [self._by_name[name] for name in names]
        except (KeyError, TypeError):
            row, name = next(
                (i, n)
                for i, n in enumerate(names)
                if not isinstance(n, str) or n not in self._by_name
            )
            raise self._unknown(path, first_row + row, key, name) from None

    def check_ids(self, path: Path, image_ids: np.ndarray) -> None:
        """Checks a column of image ids (N,).

        Raises:
            InputError: the first that the partition does not have.
        """
        known = np.isin(image_ids, np.fromiter(self._ids, np.int64, len(self._ids)))
        if not known.all():
            row = int(np.argmin(known))
            raise self._unknown(path, row, "image_id", int(image_ids[row]))

    def _unknown(self, path: Path, row: int, key: str, value: Any) -> InputError:
        problem = f"{reprlib.repr(value)} is none of the {len(self._ids)} annotated images"
        fix = f"Theirs are like {self._like}: give these images' annotations, or such names"
        return InputError(path, problem, row=row, key=key, fix=fix)
