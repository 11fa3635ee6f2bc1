from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipelines.errors import PipelineError
from pipelines.processes import GRACE, ProcessGroups, grace_of_environment
from pipelines.told import error_line
from pipelines.workspace import dvc, environment


def _python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A killed orphan may stay a zombie where nothing reaps it.
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def _wait(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_both_streams_come_line_by_line(tmp_path: Path) -> None:
    lines: list[str] = []
    code = "import sys; print('a  '); sys.stdout.flush(); sys.stderr.write('b\\rc\\n')"
    ProcessGroups().run(_python(code), cwd=tmp_path, on_line=lines.append)
    assert lines == ["a", "b", "c"]


def test_a_failure_tells_the_code_and_the_last_lines(tmp_path: Path) -> None:
    code = "[print('line', i) for i in range(50)]; raise SystemExit(3)"
    with pytest.raises(PipelineError, match="exit code 3") as info:
        ProcessGroups().run(_python(code), cwd=tmp_path, on_line=lambda _: None)
    assert str(info.value).splitlines()[1:] == [f"line {i}" for i in range(30, 50)]


@pytest.mark.parametrize("deaf", [False, True])
def test_stop_ends_the_whole_group_and_starts_nothing_more(tmp_path: Path, deaf: bool) -> None:
    """The grandchild is what a stage is to dvc; a deaf one ignores SIGTERM."""
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" if deaf else ""
    grandchild = f"{ignore}import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {grandchild!r}])"
    groups = ProcessGroups(grace_seconds=0.5)
    lines: list[str] = []
    failures: list[Exception] = []

    def run() -> None:
        try:
            groups.run(_python(code), cwd=tmp_path, on_line=lines.append)
        except PipelineError as error:
            failures.append(error)

    first, queued = threading.Thread(target=run), threading.Thread(target=run)
    first.start()
    _wait(lambda: lines)
    queued.start()
    started = time.monotonic()
    groups.stop()
    first.join(10)
    queued.join(10)
    assert time.monotonic() - started < 8
    assert len(lines) == 1
    assert len(failures) == 2
    _wait(lambda: not _alive(int(lines[0])))
    with pytest.raises(PipelineError, match="was not started"):
        groups.run(_python("pass"), cwd=tmp_path, on_line=lines.append)


@pytest.mark.parametrize("deaf", [False, True])
def test_a_command_that_hangs_is_ended_at_its_limit(tmp_path: Path, deaf: bool) -> None:
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" if deaf else ""
    grandchild = f"{ignore}import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {grandchild!r}])"
    lines: list[str] = []
    started = time.monotonic()
    with pytest.raises(PipelineError) as info:
        ProcessGroups(grace_seconds=0.5).run(
            _python(code), cwd=tmp_path, on_line=lines.append, limit_minutes=1 / 60
        )
    assert time.monotonic() - started < 20
    assert "is not done after 0.0166667 minutes, its limit, and was ended" in str(info.value)
    _wait(lambda: not _alive(int(lines[0])))


def test_a_command_that_ends_in_time_is_left_alone(tmp_path: Path) -> None:
    lines: list[str] = []
    groups = ProcessGroups()
    groups.run(_python("print(1)"), cwd=tmp_path, on_line=lines.append, limit_minutes=1)
    assert lines == ["1"]


@pytest.mark.parametrize("deaf", [False, True])
def test_nothing_is_left_when_the_run_itself_is_killed(tmp_path: Path, deaf: bool) -> None:
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" if deaf else ""
    grandchild = f"{ignore}import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {grandchild!r}])"
    code = (
        "import sys; from pipelines.processes import ProcessGroups; "
        "ProcessGroups(grace_seconds=0.5).run([sys.executable, '-S', '-c', "
        f"{child!r}], cwd='.', on_line=lambda line: print(line, flush=True))"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    stage = int(run.stdout.readline())
    assert _alive(stage)
    run.send_signal(signal.SIGKILL)
    run.wait(10)
    _wait(lambda: not _alive(stage))


@pytest.mark.parametrize("read", [0, 1, 100])
def test_output_outlives_its_reader(tmp_path: Path, read: int) -> None:
    code = (
        "import pathlib, sys; from pipelines.output import outlive_reader; outlive_reader()\n"
        "for i in range(100): print(i, 'x' * 1000, flush=True); print(i, file=sys.stderr)\n"
        "pathlib.Path('done').touch()"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert run.stdout is not None
    lines = [run.stdout.readline() for _ in range(2 * read)]
    assert [line.split()[0] for line in lines] == [str(i) for i in range(read) for _ in range(2)]
    run.stdout.close()
    run.wait(20)
    assert (tmp_path / "done").exists()


DVC_SAYS = """\
Running stage 'a':
ERROR: unexpected error - 'ascii' codec can't encode character

Having any troubles? Hit us up at https://dvc.org/support, we are always happy to help!
"""
GIT_SAYS = """\
fatal: 'x' does not appear to be a git repository
fatal: Could not read from remote repository.

Please make sure you have the correct access rights
and the repository exists.
"""


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (DVC_SAYS, "ERROR: unexpected error - 'ascii' codec can't encode character"),
        (GIT_SAYS, "fatal: Could not read from remote repository."),
        ("one\ntwo\n\n", "two"),
        ("", "it said nothing"),
    ],
)
def test_the_line_that_says_what_is_wrong(tmp_path: Path, said: str, line: str) -> None:
    assert error_line(said.splitlines()) == line
    (tmp_path / "said").write_text(said)
    code = "print(open('said').read(), end='', flush=True); raise SystemExit(1)"
    with pytest.raises(PipelineError) as info:
        ProcessGroups().run(_python(code), cwd=tmp_path, on_line=lambda _: None)
    assert "Having any troubles" not in str(info.value)
    assert str(info.value).splitlines()[0].endswith(f": {line}" if said else "code 1")


def test_lines_and_errors_hold_no_secrets(tmp_path: Path) -> None:
    lines: list[str] = []
    code = "raise SystemExit('from https://user:pass@a.org/b?token=c (and) s3://d/e')"
    with pytest.raises(PipelineError) as info:
        ProcessGroups().run(_python(code), cwd=tmp_path, on_line=lines.append)
    assert lines == ["from https://a.org/b (and) s3://d/e"]
    assert "pass" not in str(info.value)
    assert "token" not in str(info.value)


def test_an_error_in_the_listener_ends_the_process(tmp_path: Path) -> None:
    pids: list[int] = []

    def listen(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ProcessGroups(grace_seconds=0.5).run(
            _python("import os, time; print(os.getpid(), flush=True); time.sleep(60)"),
            cwd=tmp_path,
            on_line=listen,
        )
    _wait(lambda: not _alive(pids[0]))


def test_no_more_than_parallel_at_a_time(tmp_path: Path) -> None:
    groups = ProcessGroups(parallel=2)
    code = "import time; print('start', flush=True); time.sleep(0.2); print('end', flush=True)"
    lines: list[str] = []
    threads = [
        threading.Thread(
            target=groups.run,
            args=(_python(code),),
            kwargs={"cwd": tmp_path, "on_line": lines.append},
        )
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    running, most = 0, 0
    for line in lines:
        running += 1 if line == "start" else -1
        most = max(most, running)
    assert most == 2
    with pytest.raises(PipelineError, match="parallel: 0"):
        ProcessGroups(parallel=0)


SAVES = """\
import os, pathlib, signal, time
import hoiclip.ancestry

told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
print("stage", os.getpid(), flush=True)
while not told:
    time.sleep(0.05)
time.sleep(2)
pathlib.Path("saved").touch()
raise SystemExit(1)
"""


@pytest.fixture
def saves(project: Path) -> Path:
    """A project whose one stage takes a while to save what it has when it is told to end."""
    (project / "stages" / "saves.py").write_text(SAVES)
    stage = "stages:\n  saves:\n    cmd: python stages/saves.py\n    outs: [out.txt]\n"
    (project / "dvc.yaml").write_text(stage)
    return project


def _environment(project: Path) -> dict[str, str]:
    return {**environment(project), "PYTHONPATH": str(Path(__file__).parents[2])}


def test_a_stage_has_time_to_save_what_it_has(saves: Path) -> None:
    groups, lines, failures = ProcessGroups(grace_seconds=30), [], []

    def run() -> None:
        try:
            groups.run(
                dvc("repro", "saves"), cwd=saves, env=_environment(saves), on_line=lines.append
            )
        except PipelineError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    _wait(lambda: any(line.startswith("stage ") for line in lines), 60)
    started = time.monotonic()
    groups.stop()
    thread.join(20)
    assert time.monotonic() - started < 20
    assert (saves / "saved").exists(), lines
    assert len(failures) == 1
    assert not (saves / "dvc.lock").exists()


def test_what_a_stage_leaves_behind_is_told_at_once(saves: Path) -> None:
    child = "import os, time; print('child', os.getpid(), flush=True); time.sleep(100)"
    (saves / "stages" / "saves.py").write_text(
        f"import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "time.sleep(100)\n"
    )
    groups, lines = ProcessGroups(grace_seconds=60), []

    def run() -> None:
        with pytest.raises(PipelineError):
            groups.run(
                dvc("repro", "saves"), cwd=saves, env=_environment(saves), on_line=lines.append
            )

    thread = threading.Thread(target=run)
    thread.start()
    _wait(lambda: any(line.startswith("child ") for line in lines), 60)
    started = time.monotonic()
    groups.stop()
    thread.join(20)
    assert time.monotonic() - started < 20
    (left,) = [int(line.split()[1]) for line in lines if line.startswith("child ")]
    assert not _alive(left)


def test_so_has_one_whose_run_is_killed(saves: Path) -> None:
    code = (
        "from pipelines.processes import ProcessGroups; from pipelines.workspace import dvc; "
        "ProcessGroups(grace_seconds=30).run(dvc('repro', 'saves'), cwd='.', "
        "on_line=lambda line: print(line, flush=True))"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code], cwd=saves, env=_environment(saves), stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert run.stdout is not None
    stage = next(int(line.split()[1]) for line in run.stdout if line.startswith("stage "))
    run.kill()
    run.wait(10)
    _wait(lambda: not _alive(stage), 20)
    assert (saves / "saved").exists()


def test_the_grace_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GRACE, "7.5")
    assert grace_of_environment() == 7.5
    monkeypatch.delenv(GRACE)
    pod = Path(__file__).parents[2] / "deploy/kubernetes/base-job-template.json"
    given = re.search(r'"terminationGracePeriodSeconds": (\d+)', pod.read_text())
    assert grace_of_environment() == 90 < int(given[1])
    for said in ("soon", "-1", "inf", "nan"):
        monkeypatch.setenv(GRACE, said)
        with pytest.raises(PipelineError, match=r"HOICLIP_GRACE_SECONDS: .*expected seconds"):
            ProcessGroups()
