"""`python -m pipelines.lock`: finds what a kill inside DVC leaves half written.

DVC writes its dvc.lock files, and the file in which it notes who reads and writes what, in place.
A half dvc.lock is told, with the cure; the other file holds nothing to keep, so that it is removed.
So is git's index.lock, with which every later run would fail, once no git or DVC is at work here.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.lock import Lock, LockError
from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils.serialize import parse_yaml
from voluptuous import Invalid

from pipelines.errors import PipelineError
from pipelines.methods import chosen_method, method_names, stage_file
from pipelines.workspace import git_path, git_top

_SECONDS_TO_WAIT = 5.0
_PROGRAMS = ("git", "dvc")


def check_lock(root: str | Path) -> None:
    """Checks that dvc.lock, the root's and each method's, is whole; without one no stage ran yet.

    Raises:
        PipelineError: one is cut short or is no lock file.
    """
    for file in ("dvc.yaml", *map(stage_file, method_names(root))):
        _check(Path(root), str(Path(file).with_suffix(".lock")))


def _check(root: Path, name: str) -> None:
    path = root / name
    try:
        text = path.read_text(encoding="utf-8")
        # DVC ends it with a line break; without one, the last value may be half of one.
        problem = None if text.endswith("\n") else "it is cut short"
        COMPILED_LOCKFILE_SCHEMA(parse_yaml(text, path))
    except FileNotFoundError:
        return
    except UnicodeDecodeError:
        problem = "it is not UTF-8"
    except (DvcException, Invalid):
        problem = problem or "it is no lock file of DVC"
    if problem:
        raise PipelineError(
            f"{path}: {problem}, as a kill inside DVC leaves it. Run: git checkout {name}"
        )


def remove_half_rwlock(root: str | Path) -> bool:
    """Removes DVC's note of who reads and writes what if it is half; DVC would refuse to run.

    Returns:
        Whether it was removed.
    """
    folder = Path(root, ".dvc", "tmp")
    path = folder / RWLOCK_FILE
    if not path.exists():
        return False
    # Who writes it holds this lock, so that half of it is what a process left that was killed.
    with suppress(LockError), Lock(str(folder / RWLOCK_LOCK)):
        try:
            json.loads(path.read_bytes())
        except ValueError:
            path.unlink()
            return True
    return False


def remove_left_index_lock(root: str | Path, seconds: float = _SECONDS_TO_WAIT) -> bool:
    """Removes the lock of git's index that a kill left; DVC, which adds files to git, would fail.

    Args:
        root: a folder in the git repository.
        seconds: how long to wait for a git or DVC at work to end.

    Returns:
        Whether it was removed.

    Raises:
        PipelineError: a git or DVC is at work here, or may be, for longer than that.
    """
    try:
        path, top = git_path(root, "index.lock"), git_top(root)
    except PipelineError:  # no repository of git, or none with files
        return False
    deadline = time.monotonic() + seconds
    while path.exists():
        owner = _owner(top)
        if owner is None:
            path.unlink(missing_ok=True)
            return True
        if time.monotonic() >= deadline:
            raise PipelineError(f"{path}: {owner}. Run again once it has ended, or: rm {path}")
        time.sleep(min(0.1, seconds))
    return False


def _owner(top: Path) -> str | None:
    """A git or DVC at work in a repository, in words; None where there is none."""
    if not Path("/proc/self/cwd").exists():
        return "a git or DVC may be at work here"
    for pid, folder, words in _processes():
        names = {os.path.basename(word) for word in words[:3]}
        if names & set(_PROGRAMS) and folder.is_relative_to(top):
            return f"{' '.join(words)[:80]!r}, process {pid}, is at work here"
    return None


def _processes() -> Iterator[tuple[int, Path, list[str]]]:
    """Id, current folder and command line of each process that this user may look at."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            with suppress(OSError):
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                yield int(folder.name), Path(os.readlink(folder / "cwd")), words


def main() -> int:
    """Runs the command in the current folder; returns the exit code, 2 for a half dvc.lock, and for
    a method that does not exist, before its data are fetched."""
    if remove_half_rwlock("."):
        print("note: removed .dvc/tmp/rwlock, which a kill inside DVC left half", file=sys.stderr)
    try:
        if remove_left_index_lock("."):
            print("note: removed git's index.lock, which a kill left", file=sys.stderr)
        check_lock(".")
        chosen_method(".")
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
