import json
import subprocess
import sys
from pathlib import Path

import pytest

from hoiclip.errors import ParamsError
from hoiclip.stage_main import guarded, run_stage
from stages.report import git_source


@pytest.mark.parametrize("returned", [{"steps": 4, "seconds": 754.2}, {"steps": 4}, None])
def test_no_time_is_in_what_dvc_hashes(tmp_path, monkeypatch, capsys, returned):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stage"])
    run_stage("hoiclip/train", lambda _: returned and dict(returned))
    summary = json.loads(Path("runs/hoiclip/train/summary.json").read_text())
    assert summary == ({"steps": 4} if returned else {})
    said = capsys.readouterr().err
    assert said.startswith("hoiclip/train: ")
    assert said.endswith(" s\n")
    assert ("754.2" in said) == ("seconds" in (returned or {}))


def test_the_source_commit_is_the_last_that_changed_sources(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost"]
        command = ["git", *identity, *arguments]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_source() == {}
    git("init", "--quiet")
    Path("params.yaml").write_text("a: 1\n")
    git("add", "--all")
    git("commit", "--quiet", "--message", "Sources")
    source = git("rev-parse", "HEAD")
    Path("metrics.json").write_text("{}\n")
    assert git_source() == {"commit": source, "dirty": False}
    git("add", "--all")
    git("commit", "--quiet", "--message", "Results")
    assert git_source() == {"commit": source, "dirty": False}
    Path("params.yaml").write_text("a: 2\n")
    assert git_source() == {"commit": source, "dirty": True}


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), ParamsError("a: 0")]
)
def test_an_error_of_any_rank_is_told_with_its_number(monkeypatch, capsys, error):
    def run():
        raise error

    monkeypatch.setenv("RANK", "0")
    assert guarded(run) == 1
    first = capsys.readouterr().err
    monkeypatch.setenv("RANK", "3")
    assert guarded(run) == 1
    assert capsys.readouterr().err == first.replace("error: ", "error: rank 3: ", 1)
