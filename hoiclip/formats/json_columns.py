"""Columns of JSON objects, checked; the fast way where they are as they should be."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from hoiclip.errors import InputError
from hoiclip.util.json_values import ID_LIMIT, integer, items, mapping, number, number_list

Where = Callable[[int], tuple[int, str]]
"""Position in a column → row of the file and key, for messages."""


def whole_numbers(path: str | Path, values: Sequence[Any], where: Where) -> np.ndarray:
    """(N,) int64 of N whole numbers below 2^62 in size.

    Raises:
        InputError: the first that is none.
    """
    if not set(map(type, values)) <= {int} or max(map(abs, values), default=0) >= ID_LIMIT:
        values = [integer(path, *where(i), value) for i, value in enumerate(values)]
    return np.array(values, np.int64)


def real_numbers(path: str | Path, values: Sequence[Any], where: Where) -> np.ndarray:
    """(N,) float64 of N numbers, which need not be finite.

    Raises:
        InputError: the first that is none.
    """
    if not set(map(type, values)) <= {float}:
        values = [number(path, *where(i), value) for i, value in enumerate(values)]
    return np.array(values, np.float64)


def number_lists(
    path: str | Path, values: Sequence[Any], where: Where, width: int = 4
) -> np.ndarray:
    """(N, width) float64 of N lists of `width` numbers, which need not be finite.

    Raises:
        InputError: the first that is none.
    """
    if set(map(type, values)) <= {list} and set(map(len, values)) <= {width}:
        # An integer beyond what a float holds overflows, and is refused below.
        with contextlib.suppress(OverflowError):
            if set(map(type, chain.from_iterable(values))) <= {int, float}:
                return np.array(values, np.float64).reshape(-1, width)
    rows = [number_list(path, *where(i), value, width) for i, value in enumerate(values)]
    return np.array(rows, np.float64).reshape(-1, width)


def column(path: str | Path, rows: Sequence[Any], key: str, within: str) -> list[list[Any]]:
    """The list under `key` of every JSON object in `rows` (which are the list `within`).

    Raises:
        InputError: the first row that is no object, or has no such list.
    """
    try:
        lists = [row[key] for row in rows]
    except (KeyError, TypeError, IndexError):
        for index, row in enumerate(rows):
            if key not in mapping(path, index, within, row):
                raise InputError(path, "missing", row=index, key=key) from None
        raise
    for index, value in enumerate(lists):
        items(path, index, key, value)
    return lists


def field(
    path: str | Path, lists: Sequence[Sequence[Any]], key: str, within: str
) -> list[list[Any]]:
    """The value under `key` of every JSON object in every list; list i is row i in messages.

    Raises:
        InputError: the first that is no object, or has no such key.
    """
    try:
        return [[value[key] for value in values] for values in lists]
    except (KeyError, TypeError, IndexError):
        for index, value in ((i, v) for i, values in enumerate(lists) for v in values):
            if key not in mapping(path, index, within, value):
                raise InputError(path, "missing", row=index, key=f"{within}.{key}") from None
        raise


def integers(path: str | Path, key: str, lists: Sequence[Sequence[Any]]) -> np.ndarray:
    """The numbers of all lists, one after the other, (R,) int64; list i is row i in messages."""
    return whole_numbers(path, list(chain.from_iterable(lists)), _in_lists(lists, key))


def number_rows(
    path: str | Path, key: str, lists: Sequence[Sequence[Any]], width: int = 4
) -> np.ndarray:
    """All entries, (R, width) float64, each a list of `width` numbers; they need not be finite."""
    return number_lists(path, list(chain.from_iterable(lists)), _in_lists(lists, key), width)


def rows_of(lists: Sequence[Sequence[Any]]) -> np.ndarray:
    """(R,) int64: the list that each entry of the concatenation comes from."""
    return np.repeat(np.arange(len(lists)), [len(values) for values in lists])


def same_lengths(path: str | Path, columns: Mapping[str, Sequence[Sequence[Any]]]) -> None:
    """Raises `InputError` at the first row in which the lists differ in length."""
    names = list(columns)
    for index, values in enumerate(zip(*columns.values(), strict=True)):
        lengths = [len(v) for v in values]
        if len(set(lengths)) > 1:
            told = ", ".join(f"{n} {length}" for n, length in zip(names, lengths, strict=True))
            raise InputError(path, f"lists differ in length: {told}", row=index)


def _in_lists(lists: Sequence[Sequence[Any]], key: str) -> Where:
    ends = np.cumsum([len(values) for values in lists])
    return lambda index: (int(np.searchsorted(ends, index, "right")), key)


@dataclass(frozen=True)
class EntryObjects:
    """The N JSON objects of a list in one entry; each method raises `InputError` at a misfit.

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

    @classmethod
    def of(cls, path: Path, row: int, entry: dict[str, Any], key: str) -> EntryObjects:
        """The list of JSON objects under `key` of entry `row`.

        Raises:
            InputError: missing, or something else.
        """
        if key not in entry:
            raise InputError(path, "missing", row=row, key=key)
        values = items(path, row, key, entry[key])
        if not set(map(type, values)) <= {dict}:
            for index, value in enumerate(values):
                mapping(path, row, f"{key}[{index}]", value)
        return cls(path, row, key, values)

    def __len__(self) -> int:
        return len(self.values)

    def integers(self, key: str, default: int | None = None) -> np.ndarray:
        """(N,) int64 whole numbers under `key`; `default`, if there is one, for a missing key."""
        if default is None:
            values = self._column(key)
        else:
            values = [value.get(key, default) for value in self.values]
        return whole_numbers(self.path, values, self._where(key))

    def numbers(self, key: str) -> np.ndarray:
        """(N,) float64 numbers under `key`; they need not be finite."""
        return real_numbers(self.path, self._column(key), self._where(key))

    def boxes(self, key: str) -> np.ndarray:
        """(N, 4) float64 boxes under `key`; they need not be finite."""
        return number_lists(self.path, self._column(key), self._where(key))

    def _column(self, key: str) -> list[Any]:
        try:
            return [value[key] for value in self.values]
        except KeyError:
            index = next(i for i, value in enumerate(self.values) if key not in value)
            row, place = self._where(key)(index)
            raise InputError(self.path, "missing", row=row, key=place) from None

    def _where(self, key: str) -> Where:
        return lambda index: (self.row, f"{self.within}[{index}].{key}")
