"""Values as they come from a file, checked: each function returns one or says where not."""

from __future__ import annotations

import contextlib
import difflib
import re
import reprlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hoiclip.errors import InputError

ID_LIMIT = 2**62
"""Whole numbers are smaller in size."""
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


def integer(path: str | Path, row: int | None, key: str, value: Any) -> int:
    """A whole number below 2^62 in size; text like "620" or "640.0" counts, as files have it."""
    if type(value) is str and _WHOLE.fullmatch(value):
        value = int(value.partition(".")[0])
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or abs(value) >= ID_LIMIT:
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


def number_list(path: str | Path, row: int | None, key: str, value: Any, width: int) -> list[float]:
    """`value`, a list of `width` numbers, as floats.

    Raises:
        InputError: it is something else.
    """
    if type(value) is list and len(value) == width and set(map(type, value)) <= {int, float, str}:
        return [number(path, row, key, v) for v in value]
    problem = f"{reprlib.repr(value)}, expected a list of {width} numbers"
    raise InputError(path, problem, row=row, key=key)


def like(name: str, known: Iterable[str]) -> str:
    """For messages about an unknown `name`: " (like 'NAME', which is known)", or nothing."""
    plain = {re.sub("[-_ ]+", " ", other).casefold().strip(): other for other in known}
    wanted = re.sub("[-_ ]+", " ", name).casefold().strip()
    nearest = difflib.get_close_matches(wanted, plain, n=1)
    return f" (like {plain[nearest[0]]!r}, which is known)" if nearest else ""
