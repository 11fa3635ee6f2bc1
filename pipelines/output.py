"""What a flow run prints, which must not end it when the worker that reads it is gone."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from contextlib import suppress


def outlive_reader() -> None:
    """Passes on what this process prints from now on, and drops it when nobody reads it any more.

    A worker reads the output of its flow runs through a pipe. When it is killed, the next printed
    line would end the run (rich, by which Prefect prints, exits then), and hours of training.
    """
    reader, writer = os.pipe()
    out = os.dup(1)
    for stream in (1, 2):
        os.dup2(writer, stream)
    os.close(writer)

    def forward() -> None:
        with open(out, "wb", buffering=0, closefd=False) as file:
            while data := os.read(reader, 1 << 16):
                with suppress(OSError):
                    file.write(data)

    def finish() -> None:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        # Closes the pipe's last ends for writing, so that the thread comes to its end.
        for stream in (1, 2):
            os.dup2(out, stream)
        thread.join(5)

    thread = threading.Thread(target=forward, daemon=True)
    thread.start()
    atexit.register(finish)
