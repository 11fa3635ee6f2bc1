"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

from hoiclip.printable import printable

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 10.0
# Of processes that work together, as torchrun starts them, the first speaks.
_SILENT = os.environ.get("RANK", "0") != "0"


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yields `items`, showing how far it is on standard error.

    Args:
        items: what is worked through.
        what: label.
        total: number of items where `items` has no length.
    """
    if _SILENT:
        yield from items
        return
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        yield from tqdm(items, desc=what, total=total, leave=False)
        return
    started = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            say(f"{what}: {done}/{total or '?'} after {now - started:.0f} s")


def say(line: str) -> None:
    """Prints one line on standard error without breaking a bar; `printable`."""
    if not _SILENT:
        tqdm.write(printable(line), file=sys.stderr)
        sys.stderr.flush()
