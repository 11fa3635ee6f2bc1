"""A file that holds one JSON list, entry by entry, in memory that does not grow with the file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from hoiclip.errors import InputError

CHUNK = 1 << 22
"""Characters read at a time."""

_SPACE = re.compile(r"[ \t\n\r]*")


def list_entries(path: str | Path) -> Iterator[tuple[int, Any]]:
    """Yields the numbered entries of the list.

    Raises:
        InputError: absent, not UTF-8, not JSON, cut short, or something else than one list.
    """
    path = Path(path)
    try:
        with open(path, encoding="utf-8-sig") as file:
            yield from _Entries(path, file)
    except FileNotFoundError:
        raise InputError(path, "no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"cannot be read ({error})") from None


class _Entries:
    """Iterates over the entries of an open file."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path, self._file = path, file
        self._text, self._place, self._passed = "", 0, 0
        self._whole = False
        self._decoder = json.JSONDecoder()

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        if self._next_sign() != "[":
            raise InputError(self._path, "expected a JSON list, which begins with [")
        self._place += 1
        row = 0
        if self._next_sign() == "]":
            self._place += 1
        else:
            while True:
                yield row, self._entry(row)
                row += 1
                sign = self._next_sign()
                if sign not in (",", "]"):
                    raise self._cut_short(row) if not sign else self._broken(row, "expected , or ]")
                self._place += 1
                if sign == "]":
                    break
        if self._next_sign():
            raise self._broken(row, "something follows the list")

    def _entry(self, row: int) -> Any:
        if not self._next_sign():
            raise self._cut_short(row)
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                at = self._passed + error.pos
                if self._more():
                    continue
                if at >= self._passed + len(self._text.rstrip()) or "Unterminated" in error.msg:
                    raise self._cut_short(row) from None
                raise self._broken(row, error.msg, at) from None
            except (ValueError, RecursionError) as error:
                raise self._broken(row, str(error)) from None
            # A number at the end of what was read may go on.
            if end == len(self._text) and self._more():
                continue
            self._place = end
            return value

    def _next_sign(self) -> str:
        """The next character that is not space, at which the place then is; "" at the end."""
        while True:
            self._place = _SPACE.match(self._text, self._place).end()
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._more():
                return ""

    def _more(self) -> bool:
        """Reads on, at least as much again as is unused; false at the end of the file."""
        if self._whole:
            return False
        left = self._text[self._place :]
        new = self._file.read(max(CHUNK, len(left)))
        self._passed, self._place = self._passed + self._place, 0
        self._text = left + new
        self._whole = not new
        return bool(new)

    def _cut_short(self, row: int) -> InputError:
        return InputError(
            self._path, "the file is cut short", row=row, fix="Copy it again or write it anew"
        )

    def _broken(self, row: int, problem: str, at: int | None = None) -> InputError:
        at = self._passed + self._place if at is None else at
        return InputError(self._path, f"not valid JSON ({problem} at character {at})", row=row)
