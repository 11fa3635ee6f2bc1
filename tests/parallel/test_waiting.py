"""How long processes wait for each other."""

from __future__ import annotations

from datetime import timedelta

import pytest
from torch import distributed as dist

from hoiclip.errors import ParamsError
from hoiclip.parallel import world
from hoiclip.parallel.world import LONGEST_PASS, World
from hoiclip.training.interruption import STEP_MINUTES, longest_wait


@pytest.mark.parametrize("wait", [None, timedelta(minutes=3)])
def test_processes_wait_as_long_as_they_are_told(monkeypatch, wait):
    said = []
    monkeypatch.setattr(dist, "init_process_group", lambda *_, timeout: said.append(timeout))
    monkeypatch.setattr(world.atexit, "register", lambda _: None)
    two = World(0, 2)
    two.join() if wait is None else two.join(wait)
    World().join()
    assert said == [wait or LONGEST_PASS]


def test_steps_wait_for_minutes_which_the_environment_says(monkeypatch):
    monkeypatch.delenv(STEP_MINUTES, raising=False)
    assert longest_wait() == timedelta(minutes=30) < LONGEST_PASS
    monkeypatch.setenv(STEP_MINUTES, "1.5")
    assert longest_wait() == timedelta(seconds=90)


@pytest.mark.parametrize("said", ["0", "-1", "soon", "4000"])
def test_waiting_times_that_are_none_are_refused(monkeypatch, said):
    monkeypatch.setenv(STEP_MINUTES, said)
    with pytest.raises(ParamsError, match=STEP_MINUTES):
        longest_wait()
