"""One JSON list of a file, entry by entry, in memory that does not grow with the file."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from hoiclip.core.files import not_utf8
from hoiclip.errors import InputError

CHUNK = 1 << 22
"""Characters read at a time."""
LONGEST_ENTRY = 1 << 28
"""Characters; an entry of V-COCO's annotations has a thousandth of it."""

_MOST_KEYS = 1000
"""Keys before the one that is looked for."""
_AHEAD = 64
"""Characters after the place of an error that may be missing rather than wrong."""
_SPACE = re.compile(r"[ \t\n\r]*")


class Text(Protocol):
    """Something to read text of."""

    def read(self, size: int, /) -> str:
        """Some of the text that follows, about `size` characters; "" at the end."""


def list_entries(path: str | Path) -> Iterator[tuple[int, Any]]:
    """Yields the numbered entries of the list.

    Raises:
        InputError: absent, not UTF-8, not JSON, cut short, or something else than one list.
    """
    path = Path(path)
    try:
        with open(path, encoding="utf-8-sig") as file:
            yield from entries_of(path, file)
    except FileNotFoundError:
        raise InputError(path, "no such file") from None
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise not_utf8(path) from None


def entries_of(path: Path, file: Text, key: str | None = None) -> Iterator[tuple[int, Any]]:
    """Yields the numbered entries of the list in an open file.

    Args:
        path: the file's name, for messages.
        file: what to read.
        key: if the file holds an object, the key that the list is under.

    Raises:
        InputError: not JSON, cut short, or something else than one list.
    """
    yield from _Entries(path, file, key)


class _Entries:
    """Iterates over the entries of an open file."""

    def __init__(self, path: Path, file: Text, key: str | None) -> None:
        self._path, self._file, self._key = path, file, key
        self._text, self._place, self._passed = "", 0, 0
        self._whole = False
        self._decoder = json.JSONDecoder()

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        within = self._key is not None and self._next_sign() == "{"
        if within:
            self._find_key()
        if self._next_sign() != "[":
            problem = "expected a JSON list, which begins with ["
            if not self._next_sign():
                problem = f"the file is empty, {problem}"
            raise InputError(self._path, problem)
        self._place += 1
        row = 0
        if self._next_sign() == "]":
            self._place += 1
        else:
            while True:
                yield row, self._value(row)
                row += 1
                sign = self._next_sign()
                if sign not in (",", "]"):
                    raise self._cut_short(row) if not sign else self._broken(row, "expected , or ]")
                self._place += 1
                if sign == "]":
                    break
        if not within and self._next_sign():
            raise self._broken(row, "something follows the list")

    def _find_key(self) -> None:
        """From the start of an object to the value under the key."""
        keys: list[str] = []
        sign = ","
        while sign == "," and len(keys) < _MOST_KEYS:
            self._place += 1
            if self._next_sign() != '"':
                break
            keys.append(self._value(None))
            if self._next_sign() != ":":
                raise self._broken(None, "expected :")
            self._place += 1
            if keys[-1] == self._key:
                return
            self._value(None)
            sign = self._next_sign()
        problem = f"an object with the keys {reprlib.repr(keys)}, expected a JSON list, which "
        problem += f"begins with [, or an object with the list under {self._key}"
        fix = None
        if sign == "}":
            self._place += 1
            if self._next_sign() == "{":
                fix = "One object a line (JSON Lines)? Put [ ] around them and commas between them"
        raise InputError(self._path, problem, fix=fix)

    def _value(self, row: int | None) -> Any:
        if not self._next_sign():
            raise self._cut_short(row)
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                at = self._passed + error.pos
                unsure = "Unterminated" in error.msg or error.pos + _AHEAD > len(self._text)
                if unsure and len(self._text) - self._place > LONGEST_ENTRY:
                    problem = f"longer than {LONGEST_ENTRY} characters"
                    raise InputError(self._path, problem, row=row) from None
                if unsure and self._more():
                    continue
                if at >= self._passed + len(self._text.rstrip()) or "Unterminated" in error.msg:
                    raise self._cut_short(row) from None
                raise self._broken(row, error.msg, at) from None
            except (ValueError, RecursionError) as error:
                raise self._broken(row, str(error)) from None
            # A number at the end of what was read may go on, also after `.`, `e` or `e-`.
            length = end - self._place
            if end + 2 >= len(self._text) and self._more():
                continue
            self._place += length
            return value

    def _next_sign(self) -> str:
        """The next character that is not space, at which the place then is; "" at the end."""
        while True:
            if space := _SPACE.match(self._text, self._place):
                self._place = space.end()
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

    def _cut_short(self, row: int | None) -> InputError:
        return InputError(
            self._path, "the file is cut short", row=row, fix="Copy it again or write it anew"
        )

    def _broken(self, row: int | None, problem: str, at: int | None = None) -> InputError:
        at = self._passed + self._place if at is None else at
        return InputError(self._path, f"not valid JSON ({problem} at character {at})", row=row)
