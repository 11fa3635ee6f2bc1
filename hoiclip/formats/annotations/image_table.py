"""The images table of a source: names, ids and sizes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from hoiclip.core import schema
from hoiclip.errors import InputError
from hoiclip.util.json_values import file_name


def image_table(
    path: str | Path,
    file_names: Sequence[object],
    sizes: np.ndarray,
    image_ids: np.ndarray | None = None,
) -> pa.Table:
    """Rows of `schema.IMAGES`, in the order given.

    Args:
        path: the source, for messages.
        file_names: one per image, relative to the folder of images.
        sizes: (I, 2) width and height, pixels.
        image_ids: (I,) int64; by default the number at the end of each file name, as in
            `HICO_test2015_00000001.jpg`, or positions where these numbers are not all there or not
            all different.

    Raises:
        InputError: a name or id that is there twice, a name that is not text or points out of the
            folder, a size that is not one.
    """
    names = [file_name(path, row, name) for row, name in enumerate(file_names)]
    seen: dict[str, int] = {}
    for row, name in enumerate(names):
        if name in seen:
            problem = f"{name!r} is also row {seen[name]}"
            raise InputError(path, problem, row=row, key="file_name", fix="Join the two entries")
        seen[name] = row
    bad = ~((sizes >= 1) & (sizes < 2**31)).all(1) | (sizes != np.floor(sizes)).any(1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        problem = f"{sizes[row].tolist()} is not a width and a height in pixels"
        raise InputError(path, problem, row=row, key="size")
    if image_ids is None:
        image_ids = _ids_from_names(names)
    unique, first = np.unique(image_ids, return_index=True)
    if len(unique) < len(image_ids):
        row = int(np.setdiff1d(np.arange(len(image_ids)), first)[0])
        raise InputError(path, f"{image_ids[row]} is there twice", row=row, key="image_id")
    return pa.Table.from_arrays(
        [
            pa.array(image_ids, pa.int64()),
            pa.array(names, pa.string()),
            pa.array(sizes[:, 0].astype(np.int32)),
            pa.array(sizes[:, 1].astype(np.int32)),
        ],
        schema=schema.IMAGES,
    )


def _ids_from_names(names: list[str]) -> np.ndarray:
    found = [re.search(r"(?<![0-9])[0-9]{1,18}$", PurePosixPath(name).stem) for name in names]
    ids = [int(match.group()) for match in found if match]
    if len(ids) == len(names) == len(set(ids)):
        return np.array(ids, np.int64)
    return np.arange(len(names))
