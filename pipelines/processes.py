"""Child processes in groups of their own, none of which outlives the run that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipelines import leash
from pipelines.errors import PipelineError
from pipelines.told import SUPPORT, error_line, without_secrets

TAIL_LINES = 20
GRACE = "HOICLIP_GRACE_SECONDS"
"""Environment variable: seconds that a stage has to save its state and end before it is killed (90,
which leaves the run half a minute of the two that the Kubernetes template and the scripts for Slurm
give it)."""
_GRACE_SECONDS = 90.0


def grace_of_environment() -> float:
    """As the environment says.

    Raises:
        PipelineError: it says no number of at least 0.
    """
    said = os.environ.get(GRACE, "")
    try:
        seconds = float(said) if said else _GRACE_SECONDS
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise PipelineError(f"{GRACE}: {said!r}, expected seconds, at least 0")
    return seconds


class ProcessGroups:
    """Runs commands, at most `parallel` at a time, and can end all of them at once.

    Every command leads a process group, because a signal to `dvc` alone would leave the stage it
    started running and writing. A leash beside it ends the group when this process is killed.

    Args:
        parallel: how many commands may run at the same time, at least 1.
        grace_seconds: time between SIGTERM and SIGKILL; None: as the environment says (`GRACE`).

    Raises:
        PipelineError: `parallel` is below 1, or the environment says no number of seconds.
    """

    def __init__(self, parallel: int = 1, grace_seconds: float | None = None) -> None:
        if parallel < 1:
            raise PipelineError(f"parallel: {parallel} is below 1")
        if grace_seconds is None:
            grace_seconds = grace_of_environment()
        self._slots = threading.Semaphore(parallel)
        self._grace_seconds = grace_seconds
        self._lock = threading.Lock()
        self._live: set[subprocess.Popen[str]] = set()
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called; from then on nothing starts."""
        return self._stopped

    def run(
        self,
        command: Sequence[str],
        *,
        cwd: str | Path,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], object],
        limit_minutes: float | None = None,
    ) -> None:
        """Runs a command to its end and hands over each line of its stdout and stderr.

        Addresses in the lines lose user, password and query.

        Args:
            command: the command.
            cwd: where it runs.
            env: its environment; None for this process's.
            on_line: takes each line.
            limit_minutes: how long it may run; then its group is ended. None: for ever.

        Raises:
            PipelineError: it exits with another code than 0 or runs longer than it may (its last
                lines follow), or `stop` was called before it started.
        """
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        with self._slots:
            process = self._start(command, cwd, env)
            late = threading.Event()
            try:
                with self._leashed(process), self._limited(process, limit_minutes, late):
                    assert process.stdout is not None
                    for line in process.stdout:
                        told = without_secrets(line.rstrip())
                        tail.append(told)
                        on_line(told)
                    code = process.wait()
            except BaseException:
                self._end([process])
                raise
            finally:
                with self._lock:
                    self._live.discard(process)
        if code != 0:
            told = without_secrets(" ".join(command))
            last = "\n".join(line for line in tail if not line.startswith(SUPPORT)).rstrip()
            if late.is_set():
                limit = f"is not done after {limit_minutes:g} minutes, its limit, and was ended"
                raise PipelineError(f"`{told}` {limit}\n{last}")
            cause = f": {error_line(tail)}" if tail else ""
            raise PipelineError(f"`{told}` ended with exit code {code}{cause}\n{last}")

    def stop(self) -> None:
        """Ends every live process group, and lets no new one start."""
        with self._lock:
            self._stopped = True
            live = list(self._live)
        self._end(live)

    def _start(
        self, command: Sequence[str], cwd: str | Path, env: Mapping[str, str] | None
    ) -> subprocess.Popen[str]:
        # One lock over the check and the start: a process started beside `stop` would escape it.
        with self._lock:
            if self._stopped:
                raise PipelineError(f"`{' '.join(command)}` was not started: the run has ended")
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            self._live.add(process)
        return process

    @contextmanager
    def _leashed(self, process: subprocess.Popen[str]) -> Iterator[None]:
        """Meanwhile the group is ended if this process is killed."""
        arguments = [leash.__file__, str(process.pid), str(self._grace_seconds)]
        if _is_dvc(process):
            arguments.append("dvc")
        with subprocess.Popen(
            [sys.executable, "-S", "-E", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as guard:
            try:
                yield
            finally:
                guard.communicate(b"ended")

    @contextmanager
    def _limited(
        self, process: subprocess.Popen[str], minutes: float | None, late: threading.Event
    ) -> Iterator[None]:
        """Meanwhile the group is ended, and `late` set, when so many minutes are over."""

        def end() -> None:
            late.set()
            self._end([process])

        if minutes is None:
            yield
            return
        timer = threading.Timer(minutes * 60, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def _end(self, processes: Sequence[subprocess.Popen[str]]) -> None:
        deadline = time.monotonic() + self._grace_seconds
        remaining = [process for process in processes if _tell_to_end(process)]
        while remaining and time.monotonic() < deadline:
            time.sleep(0.05)
            remaining = [process for process in remaining if _is_left(process)]
        for process in remaining:
            _signal(process, signal.SIGKILL)


def _is_dvc(process: subprocess.Popen[str]) -> bool:
    return isinstance(process.args, list) and process.args[1:3] == ["-m", "dvc"]


def _tell_to_end(process: subprocess.Popen[str]) -> bool:
    process.poll()
    if _is_dvc(process):
        return leash.end_stage(process.pid)
    return _signal(process, signal.SIGTERM)


def _is_left(process: subprocess.Popen[str]) -> bool:
    # Reaps the leader if it has ended: as a zombie it would keep its group in existence.
    process.poll()
    return leash.is_left(process.pid)


def _signal(process: subprocess.Popen[str], number: int) -> bool:
    """Signals a process's whole group; False when nothing of the group is left."""
    # Reaps the leader if it has ended: as a zombie it would keep its group in existence.
    process.poll()
    return leash.signal_group(process.pid, number)
