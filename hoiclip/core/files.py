"""Writing files so that a reader never sees half of one, and hashing them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hoiclip.errors import InputError

# What PyTorch and safetensors say of a write that failed, in errors that are no OSError.
_NOT_WRITTEN = ("PytorchStreamWriter", "inline_container", "iostream", "Error while serializing")

_STARTS = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"PK\x03\x04": "an archive, as Excel's workbooks are",
    b"\x1f\x8b": "a file compressed by gzip",
    b"\xff\xd8": "an image",
    b"\x89PNG": "an image",
}
"""How files that are not UTF-8 begin."""


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yields a path beside `path`; renames it to `path` on success, deletes it on error.

    The contents are on the disk before the new name is. What killed processes left of the same
    file is removed.

    Raises:
        OSError, InputError: it cannot be written; names `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with _named(path, aside):
            yield aside
            _to_disk(aside)
            os.replace(aside, path)
        # Not every file system does this for folders.
        with suppress(OSError):
            _to_disk(path.parent)
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yields an empty folder; it replaces `path` on success and is deleted on error.

    What killed processes left of the same folder is removed.

    Raises:
        OSError, InputError: it cannot be written; names the file in it, or `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    prefix = f".{path.name}.{os.getpid()}."
    aside = Path(tempfile.mkdtemp(prefix=prefix, suffix=".part", dir=path.parent))
    aside.chmod(0o755)
    try:
        with _named(path, aside):
            yield aside
            if path.exists():
                shutil.rmtree(path)
            os.replace(aside, path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _named(path: Path, aside: Path) -> Iterator[None]:
    """Makes errors of writing `aside` name `path`, which people know."""
    try:
        yield
    except OSError as error:
        # Libraries raise OSError without a number for what they cannot decode.
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        elif isinstance(error.filename, str):
            error.filename = error.filename.replace(str(aside), str(path))
        raise
    except Exception as error:
        if any(part in str(error) for part in _NOT_WRITTEN):
            fix = "Is the disk full, or the file larger than allowed?"
            raise InputError(path, f"cannot be written ({error})", fix=fix) from None
        raise


def check_output_folder(path: str | Path) -> None:
    """Before long work whose results go into the folder `path`, which need not exist.

    Raises:
        InputError: it, or a folder above it, is a file or may not be written.
    """
    there = next(p for p in (Path(path), *Path(path).absolute().parents) if p.exists())
    if not there.is_dir():
        raise InputError(there, "is a file", fix="Name a folder for the results")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(there, "may not be written", fix="Name another folder for the results")


def _remove_leftovers(path: Path) -> None:
    """Removes unfinished versions of `path` whose process, named in theirs, no longer runs."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.(\d+)(\.\w{{8}})?\.part")
    for found in path.parent.iterdir():
        match = pattern.fullmatch(found.name)
        if match and not _runs(int(match[1])):
            if found.is_dir():
                shutil.rmtree(found, ignore_errors=True)
            else:
                found.unlink(missing_ok=True)


def _runs(pid: int) -> bool:
    """Whether there is a process of this id, also one of another user."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` as indented JSON with sorted keys, refusing NaN and infinities."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
    with atomic_file(path) as aside:
        aside.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Reads a JSON file, with or without a byte order mark; NaN and infinities are numbers.

    Raises:
        InputError: the file is absent, a folder or not readable, not UTF-8 or not JSON, nested too
            deeply, or holds an integer of more digits than Python converts.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        if not text.strip():
            raise InputError(path, "the file is empty")
        return json.loads(text)
    except FileNotFoundError:
        raise InputError(path, "no such file") from None
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise not_utf8(path) from None
    # ValueError: what is not JSON, or an integer of too many digits.
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"not valid JSON ({error})") from None


def not_utf8(path: str | Path) -> InputError:
    """The error of a file that was to be UTF-8 text, and is not; tells what it is."""
    with open(path, "rb") as file:
        head = file.read(8)
    known = (what for start, what in _STARTS.items() if head.startswith(start))
    what = next(known, "text of another encoding, or no text at all")
    return InputError(path, f"not UTF-8 text, but {what}", fix="Save it as UTF-8 text")


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_files(paths: Iterable[str | Path]) -> str:
    """One SHA-256, in hex, of several files' contents in the given order."""
    return hashlib.sha256("".join(sha256_file(path) for path in paths).encode()).hexdigest()


def file_identity(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of each file, also of those in folders, by path."""
    found = {}
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            # Python compiles modules when somebody first imports them, which changes no result.
            if file.is_file() and file.suffix != ".pyc":
                found[str(file)] = sha256_file(file)
    return found
