"""From a run's experiment to a commit that DVC compares."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import sh

from pipelines.adopt import adopt, main
from pipelines.errors import PipelineError
from pipelines.overrides import apply_overrides
from pipelines.workspace import cloned, dvc

FIVE = {"params.yaml": {"numbers.count": {"old": 3, "new": 5, "diff": 2}}}


@pytest.fixture
def checkout(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of an origin that has the experiment `run-1`, with five numbers."""
    monkeypatch.setenv("PYTHONPATH", ".")
    sh(project, *dvc("repro", "--quiet"))
    sh(project, "git", "add", "--all")
    sh(project, "git", "commit", "--quiet", "--message", "Reproduced")
    with cloned(project) as workspace:
        sh(workspace, "git", "config", "user.name", "Run")
        sh(workspace, "git", "config", "user.email", "run@localhost")
        apply_overrides(workspace, ["numbers.count=5"])
        sh(workspace, *dvc("checkout", "--quiet", "tracked.txt.dvc"))
        sh(workspace, *dvc("repro", "--quiet"))
        sh(workspace, *dvc("exp", "save", "--name", "run-1"))
        sh(workspace, *dvc("exp", "push", "--no-cache", "origin", "run-1"))
    with cloned(project, tmp_path / "checkout") as made:
        sh(made, "git", "config", "user.name", "Me")
        sh(made, "git", "config", "user.email", "me@localhost")
    return made


def diff(root: Path, what: str) -> dict:
    return json.loads(sh(root, sys.executable, "-m", "dvc", what, "diff", "--json", "HEAD~1"))


def test_a_runs_experiment_becomes_a_commit_that_is_compared(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(checkout)
    assert main(["run-1", "--message", "Five numbers"]) == 0
    assert "compare by dvc params diff" in capsys.readouterr().out
    assert sh(checkout, "git", "log", "-1", "--format=%s").strip() == "Five numbers"
    assert diff(checkout, "params") == FIVE
    changed = diff(checkout, "metrics")["metrics.json"]["default.full"]
    assert (changed["old"], changed["new"]) == (13.0, 21.0)
    # Its outputs are in the checkout, and nothing is stale.
    assert (checkout / "double1.txt").read_text() == "11.0"
    assert "up to date" in sh(checkout, sys.executable, "-m", "dvc", "status")
    assert main(["run-1"]) == 2
    assert "already committed" in capsys.readouterr().err


def test_what_cannot_be_taken_over_changes_nothing(checkout: Path) -> None:
    with pytest.raises(PipelineError, match="no experiment 'run-2' at origin"):
        adopt(checkout, "run-2")
    params = checkout / "params.yaml"
    params.write_text(params.read_text().replace("count: 3", "count: 4"))
    with pytest.raises(PipelineError, match="uncommitted changes"):
        adopt(checkout, "run-1")
    sh(checkout, "git", "commit", "--quiet", "--all", "--message", "Four")
    head = sh(checkout, "git", "rev-parse", "HEAD")
    with pytest.raises(PipelineError, match=r"Run: git switch --create run-1 \w{10}"):
        adopt(checkout, "run-1")
    assert sh(checkout, "git", "rev-parse", "HEAD") == head
    status = ["git", "status", "--porcelain"]
    assert subprocess.run(status, cwd=checkout, capture_output=True, check=True).stdout == b""


def test_other_commits_in_between_do_not_matter(checkout: Path) -> None:
    (checkout / "note.txt").write_text("a remark\n")
    sh(checkout, "git", "add", "note.txt")
    sh(checkout, "git", "commit", "--quiet", "--message", "Note")
    adopt(checkout, "run-1")
    assert (checkout / "note.txt").exists()
    assert diff(checkout, "params") == FIVE
