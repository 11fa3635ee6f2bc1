"""Values as they come from a source file, checked: each function returns them or says where not."""

from __future__ import annotations

import contextlib
import difflib
import re
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from hoiclip.errors import InputError

_ID_LIMIT = 2**62
_WHOLE = re.compile(r"\s*[-+]?[0-9]{1,19}(\.0*)?\s*")
_NUMBER = re.compile(
    r"\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?\s*|\s*[-+]?(nan|inf|infinity)\s*", re.I
)


def mapping(path: str | Path, row: int | None, key: str, value: Any) -> dict[str, Any]:
    """`value` if it is a JSON object, else an `InputError`."""
    if not isinstance(value, dict):
        raise InputError(path, f"{reprlib.repr(value)}, expected an object", row=row, key=key)
    return value


def text(path: str | Path, row: int | None, key: str, value: Any) -> str:
    """`value` if it is text that UTF-8 can hold and not empty, else an `InputError`."""
    if not isinstance(value, str) or not value:
        raise InputError(path, f"{reprlib.repr(value)}, expected text", row=row, key=key)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(path, f"{value!r} is not valid Unicode", row=row, key=key) from None
    return value


def file_name(path: str | Path, row: int | None, value: object) -> str:
    """`value` if it names a file inside the folder of images.

    Raises:
        InputError: not text, empty, absolute, with `..`, a backslash or a control character.
    """
    name = text(path, row, "file_name", value)
    parts = name.split("/")
    wrong = not parts[0] or parts[-1] in ("", ".") or ".." in parts
    if wrong or "\\" in name or re.search(r"[\x00-\x1f\x7f]", name):
        problem = f"{name!r} is not the name of a file inside the folder of images"
        raise InputError(path, problem, row=row, key="file_name")
    return name


def items(path: str | Path, row: int | None, key: str, value: Any) -> list[Any]:
    """`value` if it is a list, else an `InputError`."""
    if not isinstance(value, list):
        raise InputError(path, f"{reprlib.repr(value)}, expected a list", row=row, key=key)
    return value


def entries(path: str | Path, document: dict[str, Any], key: str) -> Iterator[tuple[int, Any]]:
    """Numbered entries of the list under `key`; an `InputError` where there is no such list."""
    if key not in document:
        raise InputError(path, "missing", key=key)
    return enumerate(items(path, None, key, document[key]))


def column(path: str | Path, rows: Sequence[Any], key: str, within: str) -> list[list[Any]]:
    """The list under `key` of every JSON object in `rows` (which are the list `within`)."""
    try:
        lists = [row[key] for row in rows]
    except (KeyError, TypeError, IndexError):
        lists = [
            mapping(path, index, within, row).get(key, _absent(path, index, key, row))
            for index, row in enumerate(rows)
        ]
    for index, value in enumerate(lists):
        if type(value) is not list:
            items(path, index, key, value)
    return lists


def _absent(path: str | Path, index: int, key: str, row: Any) -> None:
    if isinstance(row, dict) and key not in row:
        raise InputError(path, "missing", row=index, key=key)


def field(
    path: str | Path, lists: Sequence[Sequence[Any]], key: str, within: str
) -> list[list[Any]]:
    """The value under `key` of every JSON object in every list; list i is row i in messages."""
    try:
        return [[value[key] for value in values] for values in lists]
    except (KeyError, TypeError, IndexError):
        for index, value in ((i, v) for i, values in enumerate(lists) for v in values):
            if key not in mapping(path, index, within, value):
                raise InputError(path, "missing", row=index, key=f"{within}.{key}") from None
        raise


def integer(path: str | Path, row: int | None, key: str, value: Any) -> int:
    """A whole number below 2^62 in size; text like "620" or "640.0" counts, as files have it."""
    if type(value) is str and _WHOLE.fullmatch(value):
        value = int(value.partition(".")[0])
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or abs(value) >= _ID_LIMIT:
        raise _no_number(path, value, "a whole number", row, key)
    return value


def number(path: str | Path, row: int | None, key: str, value: Any) -> float:
    """A number, which need not be finite; text like "620" or "0.83" counts, as files have it.

    Raises:
        InputError: it is something else, or an integer that no float holds.
    """
    if type(value) is str and _NUMBER.fullmatch(value):
        return float(value)
    with contextlib.suppress(OverflowError):
        if type(value) in (int, float):
            return float(value)
    raise _no_number(path, value, "a number", row, key)


def _no_number(
    path: str | Path, value: Any, expected: str, row: int | None, key: str
) -> InputError:
    told = f"{reprlib.repr(value)}, expected {expected}"
    fix = None
    if isinstance(value, str) and not value.strip():
        told = f"empty, expected {expected}"
    elif isinstance(value, str) and not _NUMBER.fullmatch(value):
        told += " (text, not a number)"
        if _NUMBER.fullmatch(value.replace(",", ".", 1)):
            fix = "Decimals stand behind a point"
    return InputError(path, told, row=row, key=key, fix=fix)


def like(name: str, known: Iterable[str]) -> str:
    """For messages about an unknown `name`: " (like 'NAME', which is known)", or nothing."""
    plain = {re.sub("[-_ ]+", " ", other).casefold().strip(): other for other in known}
    wanted = re.sub("[-_ ]+", " ", name).casefold().strip()
    nearest = difflib.get_close_matches(wanted, plain, n=1)
    return f" (like {plain[nearest[0]]!r}, which is known)" if nearest else ""


def integers(path: str | Path, key: str, lists: Sequence[Sequence[Any]]) -> np.ndarray:
    """The numbers of all lists, one after the other, (R,) int64; list i is row i in messages."""
    flat = list(chain.from_iterable(lists))
    if not {type(value) for value in flat} <= {int} or max(map(abs, flat), default=0) >= _ID_LIMIT:
        flat = [integer(path, i, key, v) for i, values in enumerate(lists) for v in values]
    return np.array(flat, np.int64)


def number_rows(
    path: str | Path, key: str, lists: Sequence[Sequence[Any]], width: int = 4
) -> np.ndarray:
    """All entries, (R, width) float64, each a list of `width` numbers; they need not be finite."""
    flat = list(chain.from_iterable(lists))
    if set(map(type, flat)) <= {list} and set(map(len, flat)) <= {width}:
        # An integer beyond what a float holds overflows, and is refused below.
        with contextlib.suppress(OverflowError):
            if set(map(type, chain.from_iterable(flat))) <= {int, float}:
                return np.array(flat, np.float64).reshape(-1, width)
    flat = [_numbers(path, i, key, v, width) for i, values in enumerate(lists) for v in values]
    return np.array(flat, np.float64).reshape(-1, width)


def _numbers(path: str | Path, row: int, key: str, value: Any, width: int) -> list[float]:
    if type(value) is list and len(value) == width and set(map(type, value)) <= {int, float, str}:
        return [number(path, row, key, v) for v in value]
    problem = f"{reprlib.repr(value)}, expected a list of {width} numbers"
    raise InputError(path, problem, row=row, key=key)


def rows_of(lists: Sequence[Sequence[Any]]) -> np.ndarray:
    """(R,) int64: the list that each entry of the concatenation comes from."""
    return np.repeat(np.arange(len(lists)), [len(values) for values in lists])


def same_lengths(path: str | Path, columns: dict[str, Sequence[Sequence[Any]]]) -> None:
    """Raises `InputError` at the first row in which the lists differ in length."""
    names = list(columns)
    for index, values in enumerate(zip(*columns.values(), strict=True)):
        lengths = [len(v) for v in values]
        if len(set(lengths)) > 1:
            told = ", ".join(f"{n} {length}" for n, length in zip(names, lengths, strict=True))
            raise InputError(path, f"lists differ in length: {told}", row=index)
