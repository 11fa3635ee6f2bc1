"""Three kills on the smallest pipeline that trains; `make kills` does many on the smoke profile."""

import os
import subprocess
import sys
import time
from pathlib import Path

import kill_runs
import pytest
from kill_clone import Repro, groups_of, kill_run, train_stage

SMALLEST = (
    "dataset.toy.train_images=24",
    "dataset.toy.test_images=12",
    "dataset.workers=1",
    "train.epochs=2",
    "train.batch_size=4",
    "train.lr_drop_epoch=1",
)
# As torchrun does: what it starts has a session of its own, and goes on without it.
STARTS_A_SESSION = """
import subprocess, sys, time
sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
print(subprocess.Popen(sleeper, start_new_session=True).pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(not (kill_runs.ROOT / ".git").exists(), reason="clones the last commit")
def test_three_kills_change_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    kills = ["--kills", "2", "--training-kills", "1", "--beyond", "1", "--jobs", "1"]
    settings = [option for setting in SMALLEST for option in ("--set", setting)]
    code = kill_runs.main(
        [*kills, "--target", train_stage("hoiclip"), "--log", str(log), *settings]
    )
    said = log.read_text()
    assert code == 0, said
    assert "kills: 2 of 2 random, 1 of 1 in training" in said
    assert "the same metrics, hashes and files" in said


def start_in(folder: Path) -> tuple[subprocess.Popen, int]:
    """A process that has started another in a session of its own, and the other's id."""
    process = subprocess.Popen(
        [sys.executable, "-c", STARTS_A_SESSION], env={"PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE, start_new_session=True, text=True,
    )  # fmt: skip
    return process, int(process.stdout.readline())


def test_a_kill_reaches_all_sessions_of_its_run_and_no_other(tmp_path: Path) -> None:
    (process, below), (other, below_other) = map(start_in, (tmp_path / "run1", tmp_path / "run11"))
    try:
        while groups_of(tmp_path / "run1") != {process.pid, below}:
            time.sleep(0.01)
        assert kill_run(process, tmp_path / "run1")
        with pytest.raises(ProcessLookupError):
            os.kill(below, 0)
        assert groups_of(tmp_path / "run11") == {other.pid, below_other}
    finally:
        kill_run(other, tmp_path / "run11")


def test_a_run_that_ended_was_not_killed(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"], start_new_session=True)
    process.wait()
    assert not kill_run(process, tmp_path)


def test_methods_are_those_with_stages() -> None:
    assert kill_runs.METHODS == ["clip_distill", "gen_vlkt", "hoiclip"]
    for method in kill_runs.METHODS:
        repro = Repro(kill_runs.parse(["--method", method]).method)
        assert (kill_runs.ROOT / repro.train.removesuffix(":train")).exists()
        assert all((kill_runs.ROOT / lock).exists() for lock in repro.locks)


def test_by_default_the_default_method_runs_in_one_process() -> None:
    options = kill_runs.parse([])
    assert (options.method, options.processes) == ("hoiclip", 1)
    assert kill_runs.parse(["--processes", "2"]).processes == 2


@pytest.mark.parametrize("wrong", [("--method", "none"), ("--processes", "0")])
def test_other_methods_and_no_process_are_refused(
    wrong: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        kill_runs.parse(wrong)
    assert f"argument {wrong[0]}: invalid" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "section"),
    [("hoiclip", "train"), ("gen_vlkt", "train"), ("clip_distill", "clip_distill.train")],
)
def test_a_short_training_is_that_of_the_method(method: str, section: str) -> None:
    assert kill_runs.three_epochs(method) == (f"{section}.epochs=3", f"{section}.lr_drop_epoch=2")
