"""What a kill inside DVC leaves half is found before DVC runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.errors import PipelineError
from pipelines.lock import check_lock, remove_half_rwlock, remove_left_index_lock
from pipelines.workspace import environment

ROOT = Path(__file__).parents[2]
ENTRY = """\
  stage{0}:
    cmd: python -m stages.stage{0}
    deps:
    - path: hoiclip/module{0}.py
      hash: md5
      md5: 0123456789abcdef0123456789abcdef
      size: 123
    outs:
    - path: out{0}
      hash: md5
      md5: fedcba9876543210fedcba9876543210.dir
      size: 45678
      nfiles: 12
"""
LOCK = f"schema: '2.0'\nstages:\n{''.join(map(ENTRY.format, range(60)))}".encode()


def test_a_whole_lock_and_none_are_fine(tmp_path: Path) -> None:
    check_lock(tmp_path)
    (tmp_path / "dvc.lock").write_bytes(LOCK)
    check_lock(tmp_path)


# DVC writes in blocks, so that multiples of their length are what a kill leaves.
@pytest.mark.parametrize("length", [0, 1, 5, 13, 20, 8192, 16384, len(LOCK) - 1])
def test_half_a_lock_is_told_with_the_cure(tmp_path: Path, length: int) -> None:
    (tmp_path / "dvc.lock").write_bytes(LOCK[:length])
    with pytest.raises(PipelineError) as info:
        check_lock(tmp_path)
    said = str(info.value)
    assert said.startswith(f"{tmp_path / 'dvc.lock'}: it is ")
    assert said.endswith("Run: git checkout dvc.lock")
    assert "\n" not in said


@pytest.mark.parametrize("content", [b"\n", b"a: [\n", b"- 1\n", b"\xff\xfe\n", b"stages: {}\n"])
def test_what_is_no_lock_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "dvc.lock").write_bytes(content)
    with pytest.raises(PipelineError, match=r"git checkout dvc\.lock"):
        check_lock(tmp_path)


def test_a_lock_cut_between_lines_is_told_or_dvc_runs_the_rest_again(project: Path) -> None:
    """Where the cut leaves a valid file, DVC takes what it lacks for stages that did not run."""

    def dvc(*arguments: str) -> None:
        command = [sys.executable, "-m", "dvc", *arguments]
        subprocess.run(command, cwd=project, env=environment(project), check=True)

    def outs() -> dict[str, str]:
        return {path.name: path.read_text() for path in project.glob("*.txt")}

    lock = project / "dvc.lock"

    def hashes() -> list[str]:
        return [line for line in lock.read_text().splitlines() if "md5: " in line]

    dvc("repro", "--quiet")
    whole, known = outs(), hashes()
    lines = lock.read_text().splitlines(keepends=True)
    for count in (2, len(lines) // 2, len(lines) - 3):
        lock.write_text("".join(lines[:count]))
        try:
            check_lock(project)
        except PipelineError:
            continue
        (project / "double1.txt").unlink()
        dvc("repro", "--quiet")
        assert sorted(hashes()) == sorted(known)
        assert outs() == whole


@pytest.mark.parametrize("content", [b"", b'{"write": {"a'])
def test_half_of_dvcs_own_note_is_removed(tmp_path: Path, content: bytes) -> None:
    assert not remove_half_rwlock(tmp_path)
    note = tmp_path / ".dvc/tmp/rwlock"
    note.parent.mkdir(parents=True)
    note.write_bytes(content)
    assert remove_half_rwlock(tmp_path)
    assert not note.exists()
    note.write_text(json.dumps({"write": {}, "read": {}}))
    assert not remove_half_rwlock(tmp_path)
    assert note.exists()


def test_make_repro_stops_at_half_a_lock_and_runs_after_the_cure(project: Path) -> None:
    """The recipe itself, with the environment that runs this test."""
    run = [sys.executable, "-m", "dvc", "repro", "--quiet"]
    env = {**environment(project), "PYTHONPATH": f"{project}{os.pathsep}{ROOT}"}
    subprocess.run(run, cwd=project, env=env, check=True)
    subprocess.run(["git", "add", "--all"], cwd=project, check=True)
    lock = (project / "dvc.lock").read_bytes()
    (project / "dvc.lock").write_bytes(lock[: len(lock) // 2])
    (project / ".dvc/tmp/rwlock").write_bytes(b"")
    venv = Path(sys.prefix)

    def make() -> subprocess.CompletedProcess[str]:
        stamp = ["--assume-old", f"{venv}/.installed", f"VENV={venv}"]
        for name in ("requirements.lock", "pyproject.toml"):
            (project / name).touch()
        return subprocess.run(
            ["make", "-f", str(ROOT / "Makefile"), *stamp, "repro"],
            cwd=project,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )

    done = make()
    assert done.returncode != 0
    assert "error: dvc.lock: it is cut short" in done.stderr
    assert "git checkout dvc.lock" in done.stderr
    subprocess.run(["git", "checkout", "--quiet", "dvc.lock"], cwd=project, check=True)
    done = make()
    assert done.returncode == 0, done.stderr
    assert (project / "dvc.lock").read_bytes() == lock


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", str(tmp_path / "project")], check=True)
    return tmp_path / "project"


def test_the_lock_of_the_index_that_a_kill_left_is_removed(repository: Path) -> None:
    assert not remove_left_index_lock(repository)
    (repository / "folder").mkdir()
    (repository / ".git" / "index.lock").touch()
    assert remove_left_index_lock(repository / "folder")
    assert not (repository / ".git" / "index.lock").exists()


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="looks at processes by /proc")
def test_the_lock_of_the_index_stays_while_git_is_at_work(repository: Path) -> None:
    lock = repository / ".git" / "index.lock"
    lock.touch()
    with subprocess.Popen(
        ["git", "cat-file", "--batch"], cwd=repository, stdin=subprocess.PIPE
    ) as git:
        with pytest.raises(PipelineError) as info:
            remove_left_index_lock(repository, seconds=0)
        assert f"process {git.pid}, is at work here" in str(info.value)
        assert lock.exists()
        git.communicate()
    assert remove_left_index_lock(repository, seconds=0)


def test_git_at_work_elsewhere_keeps_nothing(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "project2").mkdir()
    (repository / ".git" / "index.lock").touch()
    with subprocess.Popen(
        ["git", "hash-object", "--stdin-paths"], cwd=tmp_path / "project2", stdin=subprocess.PIPE
    ) as git:
        assert remove_left_index_lock(repository, seconds=0)
        git.communicate()
