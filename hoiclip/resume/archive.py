"""Files of tensors and plain values that hold what was written, or are refused."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from hoiclip.core.files import atomic_file

VERSION = 4
_FIRST_LINE = "hoiclip state {}\n"
_LONGEST_LINE = 80
# A state of version 1 was a bare archive of PyTorch.
_ARCHIVE_START = b"PK\x03\x04"


class DamagedError(Exception):
    """A file does not hold what was written."""


class OtherVersionError(Exception):
    """A file is of a version that this program does not read."""


def write_archive(
    path: Path, content: dict[str, Any], before: Callable[[], object] = lambda: None
) -> None:
    """Writes tensors and plain values, all or nothing.

    A file is the line `hoiclip state VERSION`, a line with the SHA-256, in hex, of all that
    follows, and an archive of `torch.save`.

    Args:
        path: the file.
        content: as `torch.load(weights_only=True)` reads it.
        before: called when all is written and the file is about to get its name.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    archive = buffer.getbuffer()
    head = f"{_FIRST_LINE.format(VERSION)}{hashlib.sha256(archive).hexdigest()}\n"
    with atomic_file(path) as aside:
        with aside.open("wb") as file:
            file.write(head.encode())
            file.write(archive)
        before()


def read_archive(path: Path) -> dict[str, Any]:
    """What `write_archive` wrote, tensors on the CPU.

    Raises:
        DamagedError: the file is absent or does not hold what was written.
        OtherVersionError: it is of another version.
    """
    try:
        with path.open("rb") as file:
            first, digest = (file.readline(_LONGEST_LINE) for _ in range(2))
            archive = file.read()
    except OSError as error:
        raise DamagedError(f"cannot be read ({error.strerror})") from None
    named = re.fullmatch(_FIRST_LINE.format(r"(\d+)").encode(), first)
    version = int(named[1]) if named else 1 if first.startswith(_ARCHIVE_START) else None
    if version not in (VERSION, None):
        raise OtherVersionError(f"of version {version}, of which this program reads only {VERSION}")
    if version is None or digest != f"{hashlib.sha256(archive).hexdigest()}\n".encode():
        raise DamagedError("damaged: it does not hold the bytes that were written")
    try:
        found = torch.load(io.BytesIO(archive), map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch raises errors of any type.
        raise DamagedError(f"cannot be read ({type(error).__name__})") from None
    if not isinstance(found, dict):
        raise DamagedError(f"cannot be read (it holds a {type(found).__name__})")
    return found
