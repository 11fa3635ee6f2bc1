"""The entries of a predictions file, out of the wrappings that projects release them in.

Read are a JSON list; an object with the list under `preds`, as HOICLIP, GEN-VLKT and CDN keep it
beside `gts`; either as Python prints it; and each of these as one JSON string.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hoiclip.core.files import not_utf8
from hoiclip.errors import InputError
from hoiclip.formats.json_stream import CHUNK, Text, entries_of
from hoiclip.formats.predictions.python_text import PythonText

WRAPPED = "preds"
"""Key of the predictions in an object that holds more."""
LONGEST_STRING = 1 << 30
"""Characters; HICO-DET's test set, printed by NumPy 2, has a quarter of them."""

_HEAD = 4096
_STRINGS = 2
"""How often a list may be made a string."""
_TO_UNWRAP = "Unwrap it where it was written: json.dump(results['preds'], file)"


def prediction_entries(path: str | Path) -> Iterator[tuple[int, Any]]:
    """Yields the numbered entries of the list.

    Raises:
        InputError: absent, not UTF-8, cut short, or something else than one of the wrappings.
    """
    path = Path(path)
    try:
        with open(path, encoding="utf-8-sig") as file:
            yield from _unwrapped(path, file, _STRINGS)
    except FileNotFoundError:
        raise InputError(path, "no such file") from None
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise not_utf8(path) from None


class _Ahead:
    """Text whose start is known before it is read."""

    def __init__(self, text: Text, head: str) -> None:
        self._text, self.head, self._left = text, head, head

    def read(self, size: int) -> str:
        """The start first, then the rest."""
        left, self._left = self._left[:size], self._left[size:]
        return left or self._text.read(size)


def _unwrapped(path: Path, text: Text, strings: int) -> Iterator[tuple[int, Any]]:
    ahead = _Ahead(text, text.read(_HEAD))
    if ahead.head.lstrip()[:1] == '"':
        if not strings:
            raise InputError(path, "a string in a string in a string", fix=_TO_UNWRAP)
        yield from _unwrapped(path, _Held(_string(path, ahead)), strings - 1)
        return
    quote = re.search("[\"']", ahead.head)
    python = quote is not None and quote[0] == "'"
    yield from entries_of(path, PythonText(path, ahead) if python else ahead, WRAPPED)


class _Held:
    """Text in memory, in a quarter of what `io.StringIO` takes."""

    def __init__(self, text: str) -> None:
        self._text, self._place = text, 0

    def read(self, size: int) -> str:
        """The next `size` characters."""
        self._place += size
        return self._text[self._place - size : self._place]


def _string(path: Path, text: Text) -> str:
    pieces, length = [], 0
    while piece := text.read(CHUNK):
        pieces.append(piece)
        length += len(piece)
        if length > LONGEST_STRING:
            problem = f"one string of more than {LONGEST_STRING} characters"
            raise InputError(path, problem, fix=_TO_UNWRAP)
    try:
        return json.loads("".join(pieces))
    except json.JSONDecodeError as error:
        if "Unterminated" in error.msg:
            raise InputError(path, "the file is cut short", fix="Copy it again") from None
        raise InputError(path, f"not valid JSON ({error})", fix=_TO_UNWRAP) from None
