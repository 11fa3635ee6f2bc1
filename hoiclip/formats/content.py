"""What a file or folder holds, as far as formats look at it to recognise their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from hoiclip.errors import InputError

_HEADER = 4096
_SPACE = b"\xef\xbb\xbf \t\r\n"


class Content:
    """A file or folder; each attribute is read when it is asked for.

    Args:
        path: of either.
        entries: numbered entries of the JSON list in a file.
    """

    def __init__(self, path: Path, entries: Callable[[Path], Iterator[tuple[int, Any]]]) -> None:
        self.path, self._entries = path, entries

    @cached_property
    def is_folder(self) -> bool:
        """Whether it is a folder; there is nothing of a file in it then."""
        return self.path.is_dir()

    @property
    def suffix(self) -> str:
        """Of the name, lower case, with the dot."""
        return self.path.suffix.lower()

    @cached_property
    def header(self) -> bytes:
        """The first 4096 bytes.

        Raises:
            InputError: absent, or cannot be read.
        """
        return self._read(_HEADER)

    @cached_property
    def data(self) -> bytes:
        """All bytes.

        Raises:
            InputError: absent, or cannot be read.
        """
        return self._read(-1)

    @cached_property
    def sign(self) -> bytes:
        """The first byte that is no space; empty for an empty file."""
        return self.data.lstrip(_SPACE)[:1]

    def has_keys(self, *keys: str) -> bool:
        """Whether it is one JSON object in which all of the keys stand somewhere."""
        return self.sign == b"{" and all(f'"{key}"'.encode() in self.data for key in keys)

    @cached_property
    def first_entry(self) -> dict[str, Any] | None:
        """The first entry of its JSON list; empty if that is no object, None for an empty list.

        Raises:
            InputError: what `entries` raises.
        """
        for _, entry in islice(self._entries(self.path), 1):
            return entry if isinstance(entry, dict) else {}
        return None

    def _read(self, size: int) -> bytes:
        if self.is_folder:
            return b""
        try:
            with open(self.path, "rb") as file:
                return file.read(size)
        except FileNotFoundError:
            raise InputError(self.path, "no such file or folder") from None
        except OSError as error:
            raise InputError(self.path, f"cannot be read ({error.strerror})") from None
