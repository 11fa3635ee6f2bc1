"""Errors that a person who starts a run can act on."""

from __future__ import annotations

import sys


class PipelineError(Exception):
    """A run, profile or override cannot go on; the first line of its text says why."""


def fail(error: PipelineError | OSError) -> int:
    """Prints the error on one line; exit code 2 for bad input, 1 where the machine refuses."""
    if isinstance(error, PipelineError):
        print(f"error: {error}", file=sys.stderr)
        return 2
    where = f"{error.filename}: " if error.filename is not None else ""
    print(f"error: {where}{error.strerror or error}", file=sys.stderr)
    return 1
