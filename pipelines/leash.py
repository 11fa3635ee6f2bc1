"""Ends a process group when the process that started it is gone, even by SIGKILL.

`python leash.py GROUP GRACE_SECONDS [dvc]` waits on standard input, a pipe from that process: a
word says that the group has ended; the end of the pipe without one says that the process is gone.
`dvc` stands where the group's leader is one, whose stage is to save what it has (`end_stage`).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_SHELLS = ("sh", "bash", "dash", "zsh")


def signal_group(group: int, number: int) -> bool:
    """Signals a process group; False when nothing of it is left."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def end_stage(group: int) -> bool:
    """Tells a group whose leader is dvc to end; False when nothing of it is left.

    Of SIGTERM dvc itself ends at once, and its stage with it; a stage that is told alone ends when
    it has saved its state, and dvc with its exit code. What a stage started, as torchrun's ranks or
    workers that load images, is its own to end.
    """
    told = False
    for process in _stages(group):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)
            told = True
    return told or signal_group(group, signal.SIGTERM)


def is_left(group: int) -> bool:
    """Whether anything is left of a group that was told; what outlives its leader is told, too."""
    stat = ""
    with suppress(OSError):
        stat = Path(f"/proc/{group}/stat").read_text().rpartition(")")[2]
    return signal_group(group, 0 if stat.split()[:1] not in ([], ["Z"]) else signal.SIGTERM)


def _stages(leader: int) -> Iterator[int]:
    """What a process has started, shells left out for what these have."""
    for child in _children(leader):
        below = list(_stages(child)) if _name(child) in _SHELLS else []
        yield from below or [child]


def _children(process: int) -> list[int]:
    found: list[int] = []
    for thread in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, thread.read_text().split())
    return found


def _name(process: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{process}/comm").read_text().strip()
    return ""


def main() -> None:
    """Waits, then sends SIGTERM and, when the time is over, SIGKILL."""
    group, grace_seconds = int(sys.argv[1]), float(sys.argv[2])
    if sys.stdin.read():
        return
    deadline = time.monotonic() + grace_seconds
    left = end_stage(group) if sys.argv[3:] else signal_group(group, signal.SIGTERM)
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = is_left(group)
    if left:
        signal_group(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
