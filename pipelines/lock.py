"""`python -m pipelines.lock`: finds what a kill inside DVC leaves half written.

DVC writes dvc.lock, and the file in which it notes who reads and writes what, in place. A half
dvc.lock is told, with the cure; the other file holds nothing to keep, so that it is removed.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.lock import Lock, LockError
from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils.serialize import parse_yaml
from voluptuous import Invalid

from pipelines.errors import PipelineError


def check_lock(root: str | Path) -> None:
    """Checks that dvc.lock is whole; a project without one has run no stage yet.

    Raises:
        PipelineError: it is cut short or is no lock file.
    """
    path = Path(root, "dvc.lock")
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
            f"{path}: {problem}, as a kill inside DVC leaves it. Run: git checkout dvc.lock"
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


def main() -> int:
    """Runs the command in the current folder; returns the exit code, 2 for a half dvc.lock."""
    if remove_half_rwlock("."):
        print("note: removed .dvc/tmp/rwlock, which a kill inside DVC left half", file=sys.stderr)
    try:
        check_lock(".")
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
