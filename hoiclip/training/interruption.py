"""When a training saves its state between epochs: now and then, and when it is told to stop."""

from __future__ import annotations

import os
import signal
import threading
import time
from datetime import timedelta
from types import FrameType
from typing import Any

import torch

from hoiclip.errors import ParamsError, StoppedError
from hoiclip.parallel.world import LONGEST_PASS, World

SAVE_MINUTES = "HOICLIP_SAVE_MINUTES"
"""Environment variable: least minutes between two saves within an epoch (10)."""
IMAGES_AT_ONCE = "HOICLIP_IMAGES_AT_ONCE"
"""Environment variable: images that a process takes through the network at once; its share of a
batch goes in so many parts. Not set: all of its share."""

STEP_MINUTES = "HOICLIP_STEP_MINUTES"
"""Environment variable: most minutes that a process of a training waits for another (30)."""


class Interruption:
    """Tells all processes alike when the state is to be saved, and whether to stop then.

    Within its block SIGTERM, which a cluster sends before it takes a machine away, does not end the
    process, but the training after its step.

    Args:
        world: the processes.
        seconds: least time between two saves.
    """

    def __init__(self, world: World, seconds: float) -> None:
        self.world, self.seconds = world, seconds
        self.last = time.monotonic()
        self.told = False
        self.stopping = False

    def __enter__(self) -> Interruption:
        self._before: Any = None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._tell)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _tell(self, number: int, frame: FrameType | None) -> None:
        self.told = True

    def due(self, by_time: bool) -> bool:
        """Whether to save after this step: any process was told to stop, or it is time.

        Args:
            by_time: whether this is a step at which losses are read, so that saving waits for
                nothing further.
        """
        late = by_time and time.monotonic() - self.last >= self.seconds
        said = self.world.sum(torch.tensor([float(self.told), float(late and self.world.is_main)]))
        self.stopping = bool(said[0])
        return bool(said.any())

    def saved(self, step: int) -> None:
        """Goes on after a save, or stops.

        Raises:
            StoppedError: a process was told to stop.
        """
        self.last = time.monotonic()
        if self.stopping:
            raise StoppedError(f"told to stop after step {step}; run it again to go on from there")


def seconds_between_saves() -> float:
    """As the environment says.

    Raises:
        ParamsError: it says no number.
    """
    return 60 * _number(SAVE_MINUTES, 10.0)


def longest_wait() -> timedelta:
    """How long processes of a training wait for each other, as the environment says: it holds
    compilation and the saving of a state, but one that hangs must not keep all GPUs for days.

    Raises:
        ParamsError: it says no number above 0.
    """
    minutes = _number(STEP_MINUTES, 30.0)
    if not 0 < minutes <= LONGEST_PASS / timedelta(minutes=1):
        said = os.environ[STEP_MINUTES]
        raise ParamsError(f"{STEP_MINUTES}: {said!r}, expected minutes above 0, at most two days")
    return timedelta(minutes=minutes)


def most_per_process() -> int | None:
    """As the environment says.

    Raises:
        ParamsError: it says no number of at least 1.
    """
    if IMAGES_AT_ONCE not in os.environ:
        return None
    most = _number(IMAGES_AT_ONCE, 0.0)
    if most < 1 or most != int(most):
        raise ParamsError(f"{IMAGES_AT_ONCE}: {os.environ[IMAGES_AT_ONCE]!r}, expected 1 or more")
    return int(most)


def _number(name: str, otherwise: float) -> float:
    said = os.environ.get(name, "")
    try:
        value = float(said) if said else otherwise
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ParamsError(f"{name}: {said!r}, expected a number of at least 0")
    return value
