"""Importing this module ends a stage's process, and its workers, once the dvc above it is gone.

A signal to dvc alone leaves the stage running, and it would go on to write outputs while the next
dvc runs it again. Stages import this module before anything slow, so that the watch covers their
imports too. By hand, where `DVC_STAGE` is not set, there is nothing to watch. Linux only.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

VARIABLE = "DVC_STAGE"
"""Set by dvc in the environment of every command of a stage, to the stage's name."""

EXIT_CODE = 143
SECONDS_BETWEEN_LOOKS = 0.5


def _read(pid: int, name: str) -> bytes:
    """A file of `/proc/PID`; empty where it is gone or belongs to somebody else."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""


def _stat(pid: int) -> list[bytes]:
    """State, parent, process group, session and so on of a process; empty where it is gone."""
    # The command's name, in brackets, may itself hold spaces and brackets.
    return _read(pid, "stat").rpartition(b")")[2].split()


def ancestors() -> Iterator[int]:
    """Process ids above this process, the nearest first."""
    pid = os.getppid()
    while pid > 0:
        yield pid
        pid = int((_stat(pid) or [b"", b"0"])[1])


def find_dvc(stage: str) -> int | None:
    """The process that started the stage: the nearest without the stage's name in its environment.

    Returns:
        Its id; None where dvc ended before this process could look, so that another process took
        its place as the parent.
    """
    mark = f"{VARIABLE}={stage}".encode()
    below = os.getpid()
    for pid in ancestors():
        if mark not in _read(pid, "environ").split(b"\0"):
            # Who adopts orphans, as init does, is in another session and no dvc. Either alone is
            # no proof: dvc may be used as a library, and a command may start a session.
            alien = b"dvc" not in _read(pid, "cmdline") and _stat(pid)[3:4] != _stat(below)[3:4]
            return None if alien else pid
        below = pid
    return None


def _end(stage: str) -> None:
    if multiprocessing.parent_process() is None:
        with suppress(OSError):
            line = f"error: stage '{stage}' ends, because the dvc that started it is gone"
            by_hand = f"By hand, run it without {VARIABLE} in the environment"
            os.write(2, f"{line}. Run dvc repro again. {by_hand}\n".encode())
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(EXIT_CODE)


def _watch(stage: str) -> None:
    dvc = find_dvc(stage)
    # A process whose parent ends gets another one, so no other process can take dvc's id here.
    while dvc is not None and dvc in ancestors():
        time.sleep(SECONDS_BETWEEN_LOOKS)
    _end(stage)


if VARIABLE in os.environ:
    threading.Thread(target=_watch, args=(os.environ[VARIABLE],), daemon=True).start()
