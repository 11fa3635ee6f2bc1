"""What one clone had begun when it was killed, another goes on with; two never do it at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import sh

from pipelines import stages
from pipelines.failures import is_at_work_elsewhere
from pipelines.graph import stage_graph
from pipelines.processes import ProcessGroups
from pipelines.workspace import cloned, dvc, environment, make_workspace

ROOT = Path(__file__).parents[2]

# Keeps its state as a training does; hangs after its first step until it is told not to.
TRAIN = """\
import time
from pathlib import Path
import hoiclip.ancestry
from hoiclip.errors import HoiclipError
from hoiclip.resume.state_file import StateFile
from hoiclip.stage_main import guarded

def main():
    file = StateFile(Path(".checkpoints"), {"train": 1}, {})
    with file.locked():
        done = (file.load() or {"steps": 0})["steps"]
        print(f"going on after step {done}" if done else "begins", flush=True)
        while done < 3:
            done += 1
            file.save({"steps": done})
            print("step", done, flush=True)
            while Path("HANG").exists():
                time.sleep(0.05)
        Path("out.txt").write_text(str(done))
        file.delete()

raise SystemExit(guarded(main))
"""


@pytest.fixture
def trains(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose one stage is such a training."""
    (project / "stages" / "train.py").write_text(TRAIN.replace("HANG", str(tmp_path / "hang")))
    stage = "stages:\n  train:\n    cmd: python -m stages.train\n    outs: [out.txt]\n"
    (project / "dvc.yaml").write_text(stage)
    sh(project, "git", "add", "--all")
    sh(project, "git", "commit", "--quiet", "--message", "Training")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return project


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        dvc("repro", "train"), cwd=folder, env=environment(folder), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_next_clone_goes_on_with_what_a_killed_one_had_begun(
    trains: Path, tmp_path: Path
) -> None:
    (tmp_path / "hang").touch()
    with cloned(trains) as first:
        run = start(first)
        until(lambda: list(first.glob(".checkpoints/*/state.pt")))
        os.killpg(run.pid, signal.SIGKILL)
        assert "going on" not in run.communicate()[0]
    (tmp_path / "hang").unlink()
    with cloned(trains) as second:
        said = start(second).communicate(timeout=100)[0]
        assert "going on after step 1" in said
        assert (second / "out.txt").read_text() == "3"
        # The states are no part of a run, whose files are all added to its experiment.
        sh(second, "git", "add", "--all")
        assert ".checkpoints" not in sh(second, "git", "status", "--porcelain")
    assert not list(trains.glob(".dvc/cache/checkpoints/*"))


def test_the_folder_of_states_can_be_named(project: Path, tmp_path: Path) -> None:
    for number, named in enumerate((None, tmp_path / "états")):
        folder = tmp_path / f"clone{number}"
        sh(project, "git", "clone", "--quiet", str(project), str(folder))
        make_workspace(folder, tmp_path / "cache", named)
        make_workspace(folder, tmp_path / "cache", named)
        expected = named or tmp_path / "cache" / "checkpoints"
        assert (folder / ".checkpoints").resolve() == expected
        assert expected.stat().st_mode & 0o7777 == 0o2775


def test_a_run_waits_for_another_that_is_at_the_same_work(
    trains: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import logging

    lines: list[str] = []
    logger = logging.getLogger("waits")
    monkeypatch.setattr(logger, "info", lambda text, *of: lines.append(text % of if of else text))
    monkeypatch.setattr(stages, "get_run_logger", lambda: logger)
    monkeypatch.setattr(stages, "_BUSY_SECONDS", 0.5)
    # Prefect's part, without a server.
    monkeypatch.setattr(stages, "task", lambda **_: Plain)
    (tmp_path / "hang").touch()
    with cloned(trains) as first, cloned(trains) as second:
        run = start(first)
        until(lambda: list(first.glob(".checkpoints/*/state.pt")))
        graph = stage_graph(second)
        times = stages.StageTimes(exact=True)
        waits = threading.Thread(
            target=stages.run_graph, args=(ProcessGroups(), second, graph, times, 0, None)
        )
        waits.start()
        until(lambda: "train: another run is at it; waiting for that" in lines)
        (tmp_path / "hang").unlink()
        assert run.wait(60) == 0
        waits.join(100)
        assert (second / "out.txt").read_text() == "3"


class Plain:
    """A task of Prefect's that runs at once."""

    def __init__(self, run: Callable[..., None]) -> None:
        self.run = run

    def with_options(self, **_: object) -> Plain:
        return self

    def submit(self, *arguments: object, **_: object) -> Plain:
        self.run(*arguments)
        return self

    def wait(self) -> None:
        pass

    @property
    def state(self) -> Plain:
        return self

    def is_failed(self) -> bool:
        return False


def test_the_line_that_says_so_is_the_packages_own(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from hoiclip.resume.state_file import StateFile\n"
        "from hoiclip.stage_main import guarded\n"
        "def run():\n"
        "    with StateFile(Path('s'), {}, {}).locked():\n"
        "        print('held', flush=True)\n"
        "        sys.stdin.read()\n"
        "sys.exit(guarded(run))"
    )
    options = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(ROOT)}, "text": True}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, input="", check=False, **options
        )
        assert holder.stdin is not None
        holder.stdin.close()
    assert is_at_work_elsewhere(done.stderr.splitlines()), done.stderr
    assert not is_at_work_elsewhere(["error: a: another process ended"])
