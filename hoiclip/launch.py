"""Starts a training or a pass over images in several processes, where the environment asks."""

from __future__ import annotations

import os
import sys

from hoiclip.errors import ParamsError

PROCESSES = "HOICLIP_PROCESSES"
"""Environment variable: processes of a stage on this machine, a CUDA device each where there are
such (1). On several machines start torchrun on each, which sets `RANK`."""


def launch() -> None:
    """Puts torchrun in this process's place, with the same command, where several are asked for.

    No result's name depends on it: DVC hashes neither the number of processes nor the environment.

    Raises:
        ParamsError: the environment says no number of at least 1.
    """
    said = os.environ.get(PROCESSES, "") or "1"
    if not said.isdigit() or int(said) < 1:
        raise ParamsError(f"{PROCESSES}: {said!r}, expected 1 or more")
    if int(said) == 1 or "RANK" in os.environ:
        return
    spec = sys.modules["__main__"].__spec__
    if spec is None:
        raise ParamsError(f"{PROCESSES}: {said}, but several are started for `python -m` alone")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", said]
    sys.stderr.flush()
    command = [sys.executable, *torchrun, "-m", spec.name, *sys.argv[1:]]
    os.execv(sys.executable, command)
