"""A sweep by one command: server, two workers, experiments of the origin, report."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import sh

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture
def sweepable(planned: Path) -> Path:
    """The planned project with what a deployment needs."""
    shutil.copytree(
        ROOT / "pipelines", planned / "pipelines", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(ROOT / "prefect.yaml", planned)
    sh(planned, "git", "add", "--all")
    sh(planned, "git", "commit", "--quiet", "--message", "Deployment")
    return planned


def _start(project: Path, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.run_sweep", *arguments],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def _sweep(project: Path, *arguments: str, code: int = 0) -> str:
    log = project.parent / "sweep.txt"
    process = _start(project, *arguments, log=log)
    try:
        assert process.wait(400) == code, log.read_text() + _log(project)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return log.read_text()


def _log(project: Path) -> str:
    file = project / ".dvc" / "tmp" / "sweep.log"
    return file.read_text() if file.exists() else ""


def test_a_sweep_compares_and_computes_nothing_twice(sweepable: Path) -> None:
    said = _sweep(sweepable, "tiny", "--only", "count=few", "--jobs", "2")
    # 3 words, two stages of factor 1 or 2 (the second adds 1) and the seed in both.
    assert "| one | few | 0, 1 | 8.00 ± 1.41 (7.00 to 9.00) |" in said
    assert "| two | few | 0, 1 | 14.00 ± 1.41 (13.00 to 15.00) |" in said
    result = json.loads((sweepable / "results/runs/tiny-two-few-1.json").read_text())
    assert result["metrics"] == {"default": {"full": 15.0}}
    assert result["labels"] == {"factor": "two", "count": "few"}
    assert result["seed"] == 1
    # Of stages that another run had done there is no time.
    runs = (sweepable / "results" / "runs").glob("*.json")
    assert any((json.loads(file.read_text())["seconds"] or 0) > 0 for file in runs)
    # Two workers may ask for the same run at once, of which the server refuses one.
    took = re.findall(r"Worker '(n\d)' submitting flow run '([0-9a-f-]+)'", _log(sweepable))
    assert {worker for worker, _ in took} == {"n0", "n1"}
    assert len({run for _, run in took}) == 4
    assert len(took) - _log(sweepable).count("Aborted submission of flow run") == 4
    shown = sh(sweepable, sys.executable, "-m", "dvc", "exp", "show", "--csv")
    for name in ("one-few-0", "one-few-1", "two-few-0", "two-few-1"):
        assert re.search(rf"tiny-{name}-[0-9a-f]{{8}}", shown), shown

    # By the files; by the origin's experiments alone; and a changed comment is no change.
    first = time.monotonic()
    said = _sweep(sweepable, "tiny", "--only", "count=few")
    assert time.monotonic() - first < 60
    assert said.count(": known") == 4
    shutil.rmtree(sweepable / "results")
    stage = sweepable / "stages" / "stage.py"
    stage.write_text("# A remark.\n" + stage.read_text())
    sh(sweepable, "git", "commit", "--quiet", "--all", "--message", "Remark")
    said = _sweep(sweepable, "tiny", "--only", "count=few")
    assert said.count(": known") == 4
    assert "| two | few | 0, 1 | 14.00 ± 1.41 (13.00 to 15.00) |" in said

    # What fails is named; here methods and seeds are no file's.
    said = _sweep(sweepable, "--seeds", "5", "--override", "numbers.count=-1", code=2)
    assert "1 of 1 experiments failed: runs-5: " in said
    assert "count is negative" in said


def test_what_cannot_be_is_told_before_anything_starts(sweepable: Path) -> None:
    began = time.monotonic()
    said = _sweep(sweepable, "tiny", "--override", "numbers.cuont=5", code=2)
    assert "error: tiny-one-few-0: " in said
    assert "Did you mean numbers.count?" in said
    assert "Server" not in said
    assert time.monotonic() - began < 60


def test_a_sweep_that_is_ended_leaves_nothing_running(sweepable: Path) -> None:
    plan = sweepable / "sweeps" / "tiny.yaml"
    plan.write_text(plan.read_text().replace("double.sleep: 0", "double.sleep: 300"))
    sh(sweepable, "git", "commit", "--quiet", "--all", "--message", "Slow")
    log = sweepable.parent / "sweep.txt"
    process = _start(sweepable, "tiny", "--jobs", "2", log=log)
    try:
        deadline = time.monotonic() + 240
        while len(started := set(re.findall(r"double runs as (\d+)", _log(sweepable)))) < 2:
            assert time.monotonic() < deadline, log.read_text() + _log(sweepable)
            time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) != 0
        assert not [each for each in started if Path("/proc", each).exists()]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
