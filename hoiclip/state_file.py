"""The state of interrupted work: one file, which holds what was saved or is refused."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch

from hoiclip.errors import InputError
from hoiclip.files import atomic_file

VERSION = 2
_FIRST_LINE = "hoiclip state {}\n"
_LONGEST_LINE = 80
_MOST_TRIES = 100
# A state of version 1 was a bare archive of PyTorch.
_ARCHIVE_START = b"PK\x03\x04"


class StateFile:
    """Where work of one identity keeps what it has; another identity has another folder.

    The file is the line `hoiclip state VERSION`, a line with the SHA-256, in hex, of all that
    follows, and an archive of `torch.save`.

    Args:
        root: folder of all such folders.
        identity: JSON value that decides the result of the work: params and input hashes.
    """

    def __init__(self, root: Path, identity: Any) -> None:
        text = json.dumps(identity, sort_keys=True)
        self._identity = hashlib.sha256(text.encode()).hexdigest()
        self.folder = root / self._identity[:16]
        self.path = self.folder / "state.pt"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes out of the folder until the block or this process ends.

        Raises:
            InputError: another process is at the same work, or this file system has no locks.
        """
        tries = (self._lock() for _ in range(_MOST_TRIES))
        lock = next((lock for lock in tries if lock is not None), None)
        if lock is None:
            raise InputError(self.folder, "cannot be locked: it is gone whenever it was made")
        with lock:
            yield

    def _lock(self) -> BinaryIO | None:
        """The file whose lock is held; None where its last owner removed it just now."""
        path = self.folder / "lock"
        with suppress(FileNotFoundError):
            self.folder.mkdir(parents=True, exist_ok=True)
            file = path.open("ab")
            try:
                # Unlike flock, and the library filelock with it, this is not inherited by worker
                # processes, which outlive a killed process for some seconds.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return file
            except (BlockingIOError, PermissionError):
                problem = "another process is at the same work, with the same params and inputs"
                fix = "Wait until it is done, or end it"
                raise InputError(self.folder, problem, fix=fix) from None
            except FileNotFoundError:
                pass
            except OSError as error:  # as of network file systems without locks
                problem = f"cannot be locked ({error.strerror})"
                fix = "Work on a file system that has locks, as a local one"
                raise InputError(path, problem, fix=fix) from None
        return None

    def save(self, state: dict[str, Any]) -> None:
        """Writes tensors and plain values, all or nothing."""
        buffer = io.BytesIO()
        torch.save({"identity": self._identity, "state": state}, buffer)
        archive = buffer.getbuffer()
        head = f"{_FIRST_LINE.format(VERSION)}{hashlib.sha256(archive).hexdigest()}\n"
        with atomic_file(self.path) as aside, aside.open("wb") as file:
            file.write(head.encode())
            file.write(archive)

    def load(self) -> Any:
        """What was saved last, its tensors on the CPU; None where nothing was.

        Raises:
            InputError: the file is damaged, of another version, or of other work.
        """
        try:
            with self.path.open("rb") as file:
                first, digest = (file.readline(_LONGEST_LINE) for _ in range(2))
                archive = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self.refused(f"cannot be read ({error.strerror})") from None
        named = re.fullmatch(_FIRST_LINE.format(r"(\d+)").encode(), first)
        version = int(named[1]) if named else 1 if first.startswith(_ARCHIVE_START) else None
        if version not in (VERSION, None):
            raise self.refused(f"of version {version}, of which this program reads only {VERSION}")
        if version is None or digest != f"{hashlib.sha256(archive).hexdigest()}\n".encode():
            raise self.refused("damaged: it does not hold the bytes that were written")
        try:
            found = torch.load(io.BytesIO(archive), map_location="cpu", weights_only=True)
            identity, state = found["identity"], found["state"]
        except Exception as error:  # PyTorch raises errors of any type.
            raise self.refused(f"cannot be read ({type(error).__name__})") from None
        if identity != self._identity:
            raise self.refused("of work with other params or inputs")
        return state

    def refused(self, problem: str) -> InputError:
        """An error about the file, with the way to go on without it."""
        fix = f"Delete {self.folder} to start this stage from its beginning"
        return InputError(self.path, problem, fix=fix)

    def delete(self) -> None:
        """Removes the folder, once the result is where it belongs."""
        shutil.rmtree(self.folder, ignore_errors=True)
