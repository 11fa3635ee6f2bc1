"""Values of one JSON entry, checked; the fast way where they are as they should be."""

from __future__ import annotations

import contextlib
import reprlib
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from hoiclip.errors import InputError
from hoiclip.formats import json_columns
from hoiclip.formats.json_columns import number

_LARGEST = 2**62


def objects(path: Path, row: int, entry: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The list of JSON objects under `key` of entry `row`.

    Raises:
        InputError: missing, or something else.
    """
    if key not in entry:
        raise InputError(path, "missing", row=row, key=key)
    values = json_columns.items(path, row, key, entry[key])
    if not set(map(type, values)) <= {dict}:
        for index, value in enumerate(values):
            json_columns.mapping(path, row, f"{key}[{index}]", value)
    return values


@dataclass(frozen=True)
class FieldsOf:
    """The fields of a list of N JSON objects; each method raises `InputError` at the first misfit.

    Attributes:
        path: the file.
        row: the entry of the file that the list is in.
        within: the list's key.
        values: the list.
    """

    path: Path
    row: int
    within: str
    values: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.values)

    def integers(self, key: str, default: int | None = None) -> np.ndarray:
        """(N,) int64 whole numbers under `key`; `default`, if there is one, for a missing key."""
        if default is None:
            values = self._column(key)
        else:
            values = [value.get(key, default) for value in self.values]
        if set(map(type, values)) <= {int} and all(-_LARGEST < v < _LARGEST for v in values):
            return np.array(values, np.int64)
        return np.array(
            [
                json_columns.integer(self.path, self.row, self._place(i, key), value)
                for i, value in enumerate(values)
            ],
            np.int64,
        )

    def numbers(self, key: str) -> np.ndarray:
        """(N,) float64 numbers under `key`; they need not be finite."""
        values = self._column(key)
        if set(map(type, values)) <= {float}:
            return np.array(values, np.float64)
        places = [self._place(i, key) for i in range(len(values))]
        rows = zip(places, values, strict=True)
        return np.array([number(self.path, self.row, p, v) for p, v in rows], np.float64)

    def boxes(self, key: str) -> np.ndarray:
        """(N, 4) float64 boxes under `key`; they need not be finite."""
        values = self._column(key)
        if set(map(type, values)) <= {list} and set(map(len, values)) <= {4}:
            flat = list(chain.from_iterable(values))
            # An integer beyond what a float holds is an OverflowError, and told below.
            with contextlib.suppress(OverflowError):
                if set(map(type, flat)) <= {int, float}:
                    return np.array(flat, np.float64).reshape(-1, 4)
        places = [self._place(i, key) for i in range(len(values))]
        rows = zip(places, values, strict=True)
        checked = [number_list(self.path, self.row, p, v, 4) for p, v in rows]
        return np.array(checked, np.float64).reshape(-1, 4)

    def _column(self, key: str) -> list[Any]:
        try:
            return [value[key] for value in self.values]
        except KeyError:
            index = next(i for i, value in enumerate(self.values) if key not in value)
            place = self._place(index, key)
            raise InputError(self.path, "missing", row=self.row, key=place) from None

    def _place(self, index: int, key: str) -> str:
        return f"{self.within}[{index}].{key}"


def number_list(path: Path, row: int, key: str, value: Any, width: int) -> list[float]:
    """`value`, which is a list of `width` numbers, as floats.

    Raises:
        InputError: it is something else.
    """
    if type(value) is not list or len(value) != width:
        problem = f"{reprlib.repr(value)}, expected a list of {width} numbers"
        raise InputError(path, problem, row=row, key=key)
    return [number(path, row, key, v) for v in value]
