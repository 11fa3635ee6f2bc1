"""A stage ends with the dvc that started it, and with nothing else."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hoiclip import ancestry

ROOT = Path(__file__).parents[1]

# Two workers, as stages have: of a pool that is spawned, and forked as PyTorch's are.
STAGE = """\
import hoiclip.ancestry

import multiprocessing, os, time
from pathlib import Path

def work(name):
    Path(name).write_text(str(os.getpid()))
    time.sleep(60)

if __name__ == "__main__":
    for method in ("spawn", "fork"):
        context = multiprocessing.get_context(method)
        context.Process(target=work, args=(f"{method}.pid",), daemon=True).start()
    while not (Path("spawn.pid").exists() and Path("fork.pid").exists()):
        time.sleep(0.05)
    Path("out.txt").write_text(str(os.getpid()))
    time.sleep(60)
"""
DVC_YAML = "stages: {slow: {cmd: python stage.py, deps: [stage.py], outs: [out.txt]}}"


@pytest.fixture
def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DVC_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1"}


def alive(pid: int) -> bool:
    fields = ancestry._stat(pid)
    return bool(fields) and fields[0] != b"Z"


def until(condition, seconds: float) -> float:
    """Seconds until the condition held."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "waited too long"
        time.sleep(0.02)
    return time.monotonic() - started


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_a_stage_and_its_workers_end_with_dvc(tmp_path, environment, number, shell):
    (tmp_path / "stage.py").write_text(STAGE)
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    environment["SHELL"] = shutil.which(shell)
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "--no-scm", "--quiet"], cwd=tmp_path, env=environment, check=True)
    with (tmp_path / "said.txt").open("w") as said:
        running = subprocess.Popen(
            [*dvc, "repro"], cwd=tmp_path, env=environment, stdout=said, stderr=said
        )
    out, told = tmp_path / "out.txt", tmp_path / "said.txt"
    until(lambda: out.exists() and out.read_text(), 60)
    pids = [int((tmp_path / f).read_text()) for f in ("out.txt", "spawn.pid", "fork.pid")]
    time.sleep(1.2)  # Some looks at a dvc that is there.
    assert all(map(alive, pids))
    running.send_signal(number)
    running.wait()
    assert until(lambda: not any(map(alive, pids)), 10) < 2
    line = "error: stage 'slow' ends, because the dvc that started it is gone. Run dvc repro again"
    (found,) = [row for row in told.read_text().splitlines() if "error" in row]
    assert found == f"{line}. By hand, run it without DVC_STAGE in the environment"


def run_below(
    parent: str, environment: dict, tmp_path: Path, name: str = "runner", **options
) -> subprocess.Popen:
    """Starts a Python process that starts the stage, as dvc would, by the code in `parent`."""
    (tmp_path / "stage.py").write_text(
        "import hoiclip.ancestry, time; time.sleep(1.5); open('done', 'w')"
    )
    start = "import subprocess, sys, os; environ = os.environ | {'DVC_STAGE': 'slow'}"
    command = [sys.executable, "-S", "-c", f"{start}; {parent}", name]
    return subprocess.Popen(command, cwd=tmp_path, env=environment, **options)


RUN = "subprocess.run([{prefix}sys.executable, 'stage.py'], env=environ)"


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        ("", "runner"),  # a program that uses dvc as a library
        ("'nohup', ", "runner"),
        ("'setsid', '--wait', ", "dvc"),
        ("'env', 'A=1', ", "dvc"),
    ],
)
def test_a_stage_below_a_living_parent_goes_on(tmp_path, environment, prefix, name):
    parent = run_below(RUN.format(prefix=prefix), environment, tmp_path, name)
    assert parent.wait(60) == 0
    assert (tmp_path / "done").exists()


def test_a_stage_that_starts_after_dvc_ended_ends_at_once(tmp_path, environment):
    """Its new parent, which adopts orphans, is not taken for dvc."""
    late = (
        "subprocess.Popen(['sh', '-c', 'sleep 0.5; exec \"$0\" stage.py', sys.executable], "
        "env=environ)"
    )
    parent = run_below(
        late, environment, tmp_path, stderr=subprocess.PIPE, start_new_session=True, text=True
    )
    assert "the dvc that started it is gone" in parent.communicate(timeout=60)[1]
    assert not (tmp_path / "done").exists()


def test_by_hand_there_is_nothing_to_watch(tmp_path, environment):
    parent = run_below(
        "subprocess.Popen([sys.executable, 'stage.py'])", environment, tmp_path,
        start_new_session=True,
    )  # fmt: skip
    assert parent.wait(60) == 0
    until((tmp_path / "done").exists, 30)


@pytest.mark.parametrize(
    ("above", "expected"),
    [
        # Each process: id, session, command, whether dvc's variable is in its environment.
        ([(1, 1, "dvc repro", False)], 1),  # a container that runs dvc
        ([(1, 1, "python own_runner.py", False)], 1),  # a container that uses dvc as a library
        ([(7, 1, "bash -c", True), (1, 1, "python -m dvc repro", False)], 1),
        ([(9, 5, "python -m dvc repro", False), (1, 0, "init", False)], 9),
        ([(9, 5, "bash -c", True), (8, 5, "python flow.py", False), (1, 0, "init", False)], 8),
        ([(9, 4, "dvc repro", False), (1, 0, "init", False)], 9),  # the command began a session
        ([(1, 0, "init", False)], None),  # an orphan
        ([(9, 5, "bash -c", True), (1, 0, "init", False)], None),
        ([(9, 3, "systemd --user", False), (1, 0, "systemd", False)], None),
    ],
)
def test_dvc_is_found_among_the_ancestors(monkeypatch, above, expected):
    session = above[0][1] if above[0][0] == 7 or expected == 1 else 5
    chain = [(10, session, "python -m stages.hoiclip.train", True), *above, (0, 0, "", False)]
    below = {pid: parent for (pid, *_), (parent, *_) in itertools.pairwise(chain)}

    def read(pid, name):
        for found, group, command, marked in chain:
            if found == pid:
                return {
                    "stat": f"{pid} (a) (b) S {below.get(pid, 0)} 3 {group} 0".encode(),
                    "cmdline": command.replace(" ", "\0").encode(),
                    "environ": b"A=1\0DVC_STAGE=train\0" if marked else b"A=1\0DVC_STAGE=other\0",
                }[name]
        return b""

    monkeypatch.setattr(ancestry, "_read", read)
    monkeypatch.setattr(ancestry.os, "getpid", lambda: 10)
    monkeypatch.setattr(ancestry.os, "getppid", lambda: above[0][0])
    assert ancestry.find_dvc("train") == expected


STAGES = [p for p in sorted((ROOT / "stages").rglob("[a-z]*.py")) if p.stem != "live"]


@pytest.mark.parametrize("path", STAGES, ids=lambda p: f"{p.parent.stem}-{p.stem}")
def test_every_stage_watches_before_it_imports_anything_slow(path):
    ours = [
        row for row in path.read_text().splitlines() if row.startswith(("import hoi", "from hoi"))
    ]
    ours = [row for row in ours if row != "import hoiclip"]
    assert ours[0].startswith("import hoiclip.ancestry")
