"""The state of interrupted work: one file, which holds what was saved or is refused.

Work is known by its key: data, method and settings. Its code is compared apart from it, for most
changes of code change no result, and a person may say so.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from hoiclip.core.files import read_json, write_json
from hoiclip.errors import InputError
from hoiclip.progress import say
from hoiclip.resume.archive import DamagedError, OtherVersionError, read_archive, write_archive
from hoiclip.resume.source_code import changed_files
from hoiclip.util.ranges import quoted

ACCEPT_CODE = "HOICLIP_ACCEPT_CODE"
"""Environment variable; where it is 1, work goes on although its code has changed since."""

KEY_NAME = "key.json"
_STATE_NAME = "state.pt"
_OLDER_NAME = "older.pt"
_ENDED = ".ended"
_MOST_NAMED = 5
_SHA256 = re.compile("[0-9a-f]{64}")
_MOST_TRIES = 100


class StateFile:
    """Where work keeps what it has; work with another key has another folder.

    Two generations are kept, the newest and the one before it, each a file of
    `hoiclip.resume.archive`. A readable copy of the key stands beside them.

    Args:
        root: folder of all such folders.
        key: JSON mapping of what the work is: its data, method and settings. Settings that only
            say how it is worked, as the number of processes, do not belong here.
        code: of `hoiclip.resume.source_code.loaded_code`.

    Attributes:
        accepted: files whose code had changed when the work went on all the same (`ACCEPT_CODE`),
            now or in an earlier sitting; sorted. Known after `load`.
    """

    def __init__(self, root: Path, key: Mapping[str, Any], code: Mapping[str, str]) -> None:
        text = json.dumps(key, sort_keys=True)
        self._root, self._key, self._code = root, json.loads(text), dict(code)
        self.folder = root / hashlib.sha256(text.encode()).hexdigest()[:16]
        self.path, self.older = self.folder / _STATE_NAME, self.folder / _OLDER_NAME
        self.accepted: list[str] = []

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
        content = {
            "key": json.dumps(self._key),
            "code": self._code,
            "accepted": self.accepted,
            "state": state,
        }
        if not (self.folder / KEY_NAME).exists():
            write_json(self.folder / KEY_NAME, self._key)
        write_archive(self.path, content, before=self._make_older)

    def _make_older(self) -> None:
        with suppress(FileNotFoundError):
            # A kill from here until the new one has its name leaves the older one alone.
            self.path.replace(self.older)

    def load(self) -> Any:
        """What was saved last, its tensors on the CPU; None where there is nothing to go on from.

        That is where nothing was saved, or by other code. One line says by which files the code
        differs, or how the nearest work with a state differs from this. Where the newest file is
        damaged or absent, the one before it is taken, and a line says so.

        Raises:
            InputError: both are damaged, or the file is of another version or of other work.
        """
        if not self.path.exists() and not self.older.exists():
            self._tell_of_others()
            return None
        try:
            return self._load(self.path)
        except DamagedError as error:
            problem = str(error)
        try:
            state = self._load(self.older)
        except DamagedError:
            raise self.refused(problem) from None
        say(f"{self.path}: {problem}; taken is the state before it")
        return state

    def _load(self, path: Path) -> Any:
        try:
            found = read_archive(path)
        except OtherVersionError as error:
            raise self.refused(str(error)) from None
        try:
            key, state = json.loads(found["key"]), found["state"]
            changed = changed_files(self._code, found["code"])
            accepted = sorted({*found["accepted"], *changed})
        except Exception as error:  # Values may be of any type.
            raise DamagedError(f"cannot be read ({type(error).__name__})") from None
        if key != self._key:
            raise self.refused(f"of other work: {_some(differences(self._key, key))}")
        if changed and os.environ.get(ACCEPT_CODE) != "1":
            say(
                f"{self.path}: starting anew, for the code has changed since: {_some(changed)}. "
                f"{ACCEPT_CODE}=1 in the environment goes on all the same"
            )
            return None
        if changed:
            say(f"{self.path}: taken although the code has changed since: {_some(changed)}")
        self.accepted = accepted
        return state

    def _tell_of_others(self) -> None:
        """Says in one line why the state of other work, if there is any, is none of this."""
        nearest: tuple[list[str], Path] | None = None
        unread = None
        for path in sorted(self._root.glob(f"*/{_STATE_NAME}")):
            if path.parent.suffix == _ENDED:
                continue
            try:
                found = differences(self._key, read_json(path.with_name(KEY_NAME)))
            except InputError:
                unread = path
                continue
            if nearest is None or len(found) < len(nearest[0]):
                nearest = (found, path)
        if nearest:
            say(f"starting anew: {nearest[1]} is of other work: {_some(nearest[0])}")
        elif unread:
            say(f"starting anew: {unread} is of an earlier version, which this one does not read")

    def refused(self, problem: str) -> InputError:
        """An error about the file, with the way to go on without it."""
        fix = f"Delete {self.folder} to start this stage from its beginning"
        return InputError(self.path, problem, fix=fix)

    def delete(self) -> None:
        """Removes the folder, once the result is where it belongs; all or nothing."""
        ended = self.folder.with_suffix(_ENDED)
        for left_by_a_kill in self._root.glob(f"*{_ENDED}"):
            shutil.rmtree(left_by_a_kill, ignore_errors=True)
        with suppress(OSError):
            self.folder.rename(ended)
        shutil.rmtree(ended, ignore_errors=True)


def differences(key: Any, other: Any) -> list[str]:
    """How two keys differ, as `train.lr 0.0005, was 0.001`, sorted by name; `other` was before."""
    new, old = (dict(_leaves(each)) for each in (key, other))
    found = []
    for name in sorted({*new, *old}):
        if name not in new:
            found.append(f"{name} absent, was {_shown(old[name])}")
        elif name not in old:
            found.append(f"{name} {_shown(new[name])}, was absent")
        elif new[name] != old[name]:
            both = _shown(new[name]), _shown(old[name])
            found.append(
                f"{name} {both[0]}, was {both[1]}" if len({*both}) > 1 else f"{name} changed"
            )
    return found


def _leaves(key: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Values of nested mappings by their dotted names."""
    if not isinstance(key, dict):
        yield name, key
        return
    for part, value in key.items():
        yield from _leaves(value, f"{name}.{part}" if name else part)


def _shown(value: Any) -> str:
    """A value as it stands in a line; all hashes alike, for nobody compares them by eye."""
    return "another file" if isinstance(value, str) and _SHA256.fullmatch(value) else quoted(value)


def _some(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return "; ".join(names[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
