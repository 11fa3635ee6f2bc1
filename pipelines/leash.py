"""Ends a process group when the process that started it is gone, even by SIGKILL.

`python leash.py GROUP GRACE_SECONDS` waits on standard input, a pipe from that process: a word says
that the group has ended; the end of the pipe without one says that the process is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import time


def signal_group(group: int, number: int) -> bool:
    """Signals a process group; False when nothing of it is left."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def main() -> None:
    """Waits, then sends SIGTERM and, when the time is over, SIGKILL."""
    group, grace_seconds = int(sys.argv[1]), float(sys.argv[2])
    if sys.stdin.read():
        return
    deadline = time.monotonic() + grace_seconds
    left = signal_group(group, signal.SIGTERM)
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = signal_group(group, 0)
    if left:
        signal_group(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
