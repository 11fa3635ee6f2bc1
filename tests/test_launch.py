"""Several processes of a training are started by its own stage."""

import os
import sys

import pytest

from hoiclip import launch as module
from hoiclip.errors import ParamsError
from hoiclip.launch import launch


@pytest.fixture
def started(monkeypatch):
    """Commands that took the place of the process."""
    commands = []
    monkeypatch.setattr(os, "execv", lambda program, command: commands.append((program, command)))
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", module.__spec__)
    monkeypatch.setattr(sys, "argv", ["stage", "--params", "a file.yaml"])
    return commands


@pytest.mark.parametrize("said", [None, "", "1"])
def test_one_process_is_this_one(started, monkeypatch, said):
    if said is None:
        monkeypatch.delenv(module.PROCESSES, raising=False)
    else:
        monkeypatch.setenv(module.PROCESSES, said)
    launch()
    assert started == []


def test_several_are_torchruns_with_the_same_command(started, monkeypatch):
    monkeypatch.setenv(module.PROCESSES, "3")
    launch()
    ((program, command),) = started
    assert program == command[0] == sys.executable
    assert command[1:] == [
        "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3",
        "-m", "hoiclip.launch", "--params", "a file.yaml",
    ]  # fmt: skip


def test_a_process_that_torchrun_started_starts_no_more(started, monkeypatch):
    monkeypatch.setenv(module.PROCESSES, "3")
    monkeypatch.setenv("RANK", "2")
    launch()
    assert started == []


@pytest.mark.parametrize("said", ["0", "-1", "two", "1.5", "٣x"])
def test_a_number_that_is_none_is_refused(started, monkeypatch, said):
    monkeypatch.setenv(module.PROCESSES, said)
    with pytest.raises(ParamsError, match=r"HOICLIP_PROCESSES: .* expected 1 or more"):
        launch()
