"""Errors that a person who starts a run can act on."""

from __future__ import annotations

import sys


class PipelineError(Exception):
    """A run, profile or override cannot go on; the first line of its text says why."""


class TransientError(PipelineError):
    """A stage failed for a reason that may be gone at the next try; it said so by its exit code."""


def fail(error: PipelineError | OSError) -> int:
    """Prints the error on one line; exit code 2 for bad input, 1 where the machine refuses."""
    if isinstance(error, PipelineError):
        print(_printable(f"error: {error}"), file=sys.stderr)
        return 2
    where = f"{error.filename}: " if error.filename is not None else ""
    print(_printable(f"error: {where}{error.strerror or error}"), file=sys.stderr)
    return 1


def _printable(text: str) -> str:
    """A text whose control characters, but for line breaks, do nothing on a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
