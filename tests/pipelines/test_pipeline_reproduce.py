from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pipelines.errors import PipelineError
from pipelines.reproduce import main
from pipelines.workspace import (
    check_publishing,
    cloned,
    environment,
    is_workspace,
    make_workspace,
)

ROOT = Path(__file__).parents[2]
DVC = [sys.executable, "-m", "dvc"]


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, check=True
    ).stdout


def test_a_clone_shares_the_cache_and_is_marked(project: Path, tmp_path: Path) -> None:
    assert not is_workspace(project)
    with cloned(project) as workspace:
        assert is_workspace(workspace)
        subprocess.run([*DVC, "checkout", "--quiet", "tracked.txt.dvc"], cwd=workspace, check=True)
        assert (workspace / "tracked.txt").read_text() == "x "
        assert not _git(workspace, "status", "--porcelain")
    assert not workspace.exists()
    assert not is_workspace(project)
    with cloned(project, tmp_path / "kept") as kept:
        pass
    assert (kept / "dvc.yaml").exists()
    with pytest.raises(PipelineError, match="already exists"), cloned(project, kept):
        pass


def test_paths_with_letters_of_other_scripts(project: Path, tmp_path: Path) -> None:
    source = project.rename(tmp_path / "a folder named Straße, 道")
    with cloned(source, tmp_path / "Ünder" / "klon") as workspace:
        subprocess.run([*DVC, "checkout", "--quiet", "tracked.txt.dvc"], cwd=workspace, check=True)
        assert (workspace / "tracked.txt").read_text() == "x "
        assert not _git(workspace, "status", "--porcelain")
        cache = tmp_path / "câche"
        make_workspace(source, source / ".dvc" / "cache")
        with pytest.raises(PipelineError, match=r"câche, the DVC cache: File exists"):
            make_workspace(source, cache)


def test_what_cannot_be_published_is_known_at_once(project: Path) -> None:
    with pytest.raises(PipelineError, match=r"^publish: .*fatal: "):
        check_publishing(project)
    with cloned(project) as workspace:
        check_publishing(workspace)
        assert "probe" not in _git(project, "for-each-ref")
        hook = project / ".git" / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\nexit 1\n")
        hook.chmod(0o755)
        with pytest.raises(PipelineError, match=r"^publish: .*failed to push") as info:
            check_publishing(workspace)
    assert "\n" not in str(info.value)
    assert "probe" not in _git(project, "for-each-ref")


def test_what_is_no_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="Not inside a DVC repo"):
        make_workspace(tmp_path, tmp_path)
    with pytest.raises(PipelineError), cloned(tmp_path):
        pass


def test_stages_use_this_interpreter_and_the_clones_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    env = environment(tmp_path)
    assert env["PYTHONPATH"] == f"{tmp_path}{os.pathsep}/elsewhere"
    assert env["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


def _reproduce(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines.reproduce", *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@pytest.mark.slow
def test_a_local_run_leaves_the_checkout_alone_and_is_seen_by_dvc(project: Path) -> None:
    params = (project / "params.yaml").read_text()
    (project / "which.py").write_text('WHICH = "uncommitted"\n')
    done = _reproduce(project, "--override", "numbers.count=5", "--parallel", "2", "--publish")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "uncommitted changes are not part of the run" in said
    assert "stage says ['double', '1'] committed" in said
    assert "params.yaml: numbers.count: 3 -> 5" in said
    assert (project / "params.yaml").read_text() == params
    assert not (project / "metrics.json").exists()
    _git(project, "checkout", "which.py")
    listed = subprocess.run(
        [*DVC, "exp", "list", "--all", "--name-only"],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    )
    (run,) = listed.stdout.split()
    assert run.startswith("run-")
    subprocess.run([*DVC, "exp", "apply", "--quiet", run], cwd=project, check=True)
    assert json.loads((project / "metrics.json").read_text()) == {"default": {"full": 21.0}}
    assert yaml.safe_load((project / "params.yaml").read_text())["numbers"]["count"] == 5
    assert (project / "double1.txt").read_text() == "11.0"


@pytest.mark.slow
def test_a_target_of_a_project_never_run_is_published(project: Path) -> None:
    done = _reproduce(project, "double", "--publish")
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = subprocess.run(
        [*DVC, "exp", "list", "--all", "--name-only"],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "double@1" in _git(
        project, "show", f"{_git(project, 'for-each-ref').split()[0]}:dvc.lock"
    )
    assert run.startswith("run-")


@pytest.mark.slow
def test_a_stage_that_hangs_is_ended_and_named(project: Path) -> None:
    done = _reproduce(
        project, "--override", "double.sleep=300", "--stage-timeout-minutes", "0.1", "double"
    )
    assert done.returncode == 2
    said = done.stdout + done.stderr
    assert "error: stage 'double@0' failed" in done.stderr
    assert "is not done after 0.1 minutes, its limit, and was ended" in done.stderr
    started = re.findall(r"double runs as (\d+)", said)
    assert len(set(started)) == 2  # two stages; nothing says that another try may help
    assert not any(Path("/proc", process).exists() for process in started)


@pytest.mark.slow
def test_only_what_may_pass_is_tried_again(project: Path) -> None:
    stage = project / "stages" / "stage.py"
    fails = (
        "import os, sys\n"
        'tried = os.environ["TRIED"]\n'
        'open(tried, "a").write(sys.argv[1])\n'
        'if sys.argv[1] == "numbers" and os.path.getsize(tried) < 10:\n'
        '    sys.exit(int(os.environ["CODE"]))\n'
    )
    stage.write_text(fails + stage.read_text())
    _git(project, "commit", "--quiet", "--all", "--message", "Fails at first")
    tried = project.parent / "tried"
    for code, tries in ((1, 1), (75, 2)):
        tried.unlink(missing_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRIED", str(tried))
            patch.setenv("CODE", str(code))
            done = _reproduce(project, "numbers")
        assert done.returncode == (0 if tries == 2 else 2), done.stdout + done.stderr
        assert tried.read_text() == "numbers" * tries


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stage-timeout-minutes", "0"], "stage_timeout_minutes: 0.0, expected above 0"),
        (["--stage-timeout-minutes", "nan"], "stage_timeout_minutes: nan, expected above 0"),
        (["--stage-timeout-minutes", "inf"], "stage_timeout_minutes: inf, expected above 0"),
        (["--retries", "-1"], "retries: -1, expected 0 or more"),
        (["--parallel", "0"], "parallel: 0, expected 1 or more"),
    ],
)
def test_numbers_of_a_run_have_ranges(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert main(arguments) == 2
    signal.signal(signal.SIGTERM, before)
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_bad_input_and_a_failing_stage_end_with_one_line(project: Path) -> None:
    done = _reproduce(project, "--override", "numbers.cuont=5")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no key numbers.cuont. Did you mean numbers.count?" in done.stderr
    done = _reproduce(project, "--override", "numbers.count=-1", "--retries", "0", "numbers")
    assert done.returncode == 2
    assert "error: stage 'numbers' failed" in done.stderr
    assert "count is negative" in done.stderr
    assert "stage says ['score']" not in done.stdout + done.stderr


@pytest.mark.slow
def test_the_flow_changes_no_checkout_that_is_not_a_workspace(project: Path) -> None:
    code = "from pipelines.reproduce import reproduce; reproduce(overrides=['numbers.count=5'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert "is not a workspace of the run's own" in done.stderr
    assert "count: 3" in (project / "params.yaml").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_stage_too(project: Path, tmp_path: Path, number: int) -> None:
    log = tmp_path / "log"
    with log.open("w") as out:
        run = subprocess.Popen(
            [sys.executable, "-m", "pipelines.reproduce", "--override", "double.sleep=300"],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 180
        while (started := re.search(r"double runs as (\d+)", log.read_text())) is None:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        assert Path("/proc", started[1]).exists()
        run.send_signal(number)
        assert run.wait(30) != 0
        assert not Path("/proc", started[1]).exists()
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
