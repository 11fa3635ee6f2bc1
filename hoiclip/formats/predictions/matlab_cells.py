"""The cells of Matlab detections as arrays; `matlab` runs this module in another process.

`all_boxes` of a file is a cell array, HOI classes x images, of N x 9 numbers: human box x1, y1, x2,
y2, object box, score.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hoiclip.errors import InputError
from hoiclip.formats.annotations import mat_structs

CELLS = "all_boxes"
NUMBERS = 9


class Cells(NamedTuple):
    """The cells of one file.

    Attributes:
        shape: HOI classes and images.
        cell: (N, 2) class and image of each row, from 0.
        number: (N,) place of the row in its cell.
        values: (N, 9) float64.
    """

    shape: tuple[int, int]
    cell: np.ndarray
    number: np.ndarray
    values: np.ndarray


def collect(paths: list[Path]) -> list[Cells]:
    """Reads files.

    Raises:
        InputError: malformed.
    """
    found = []
    for path in paths:
        # If the parser crashes, the last line says in which file.
        print(path.name, file=sys.stderr, flush=True)
        found.append(_cells(path, mat_structs.load(path, [CELLS])[CELLS]))
    return found


def _cells(path: Path, boxes: np.ndarray) -> Cells:
    if not isinstance(boxes, np.ndarray) or boxes.dtype != object or boxes.ndim != 2:
        raise InputError(path, "not a cell array of two dimensions", key=CELLS)
    width = boxes.shape[1]
    filled, tables = [], []
    for position, value in enumerate(boxes.ravel()):
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
            told = getattr(value, "dtype", type(value).__name__)
            raise _wrong(path, position, width, f"{told}, expected numbers")
        if value.size:
            if value.ndim != 2 or value.shape[1] != NUMBERS:
                raise _wrong(path, position, width, f"shape {value.shape}, expected N x {NUMBERS}")
            filled.append(position)
            tables.append(value)
    counts = np.array([len(table) for table in tables], np.int64)
    place = np.repeat(np.array(filled, np.int64), counts)
    number = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
    values = np.concatenate([np.zeros((0, NUMBERS)), *tables]).astype(np.float64)
    return Cells(boxes.shape, np.stack(np.divmod(place, max(width, 1)), 1), number, values)


def _wrong(path: Path, place: int, width: int, problem: str) -> InputError:
    row, column = divmod(place, width)
    return InputError(path, problem, key=f"{CELLS}{{{row + 1}, {column + 1}}}")


def write(path: str, *arguments: str) -> None:
    """Pickles what `collect` gives for the file, or for those named in the folder.

    Args:
        path: of either.
        arguments: names, and the file that is written.
    """
    *names, result = arguments
    paths = [Path(path) / name for name in names] or [Path(path)]
    mat_structs.write_answer(lambda: collect(paths), result)
