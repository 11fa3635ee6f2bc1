"""The deployment of prefect.yaml on a work pool of this machine, from server to artifact."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PREFECT = [sys.executable, "-m", "prefect"]

pytestmark = pytest.mark.slow


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _until(condition: Callable[[], Any], seconds: float, log: Path) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
    return value


def _heed_interrupts() -> None:
    # A shell's background job ignores SIGINT, and so does all that it starts; on SIGTERM, Prefect's
    # worker sends itself just that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _prefect(project: Path, *arguments: str) -> str:
    done = subprocess.run(
        [*PREFECT, *arguments],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def _ask(path: str, **body: Any) -> Any:
    request = urllib.request.Request(
        os.environ["PREFECT_API_URL"] + path,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


@dataclass
class Deployed:
    """The made-up project, deployed.

    Attributes:
        project: its repository.
        log: output of server and worker.
        start: starts a command of Prefect's in the background, perhaps behind another command.
        server: on one address.
        worker: of the work pool; None where a test starts its own.
    """

    project: Path
    log: Path
    start: Callable[..., subprocess.Popen[bytes]]
    server: subprocess.Popen[bytes]
    worker: subprocess.Popen[bytes] | None = None

    def run(self, *overrides: str, **parameters: Any) -> str:
        """Starts a run and returns its id."""
        parameters["overrides"] = list(overrides)
        given = [f"--param={name}={json.dumps(value)}" for name, value in parameters.items()]
        said = _prefect(self.project, "deployment", "run", "reproduce/reproduce", *given)
        return re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", said)[0]

    def stages(self, seen: int = 0, expected: int = 1) -> list[str]:
        """Process ids of the stages `double` that have started, waiting for as many."""
        _until(lambda: len(self._started()) >= seen + expected, 120, self.log)
        return self._started()[seen:]

    def _started(self) -> list[str]:
        # A failure tells the last lines again.
        return list(dict.fromkeys(re.findall(r"double runs as (\d+)", self.log.read_text())))

    def ended(self, run: str, seconds: float = 150) -> str:
        """The state in which a run ends."""
        return _until(lambda: _state(run) if _state(run) in ENDS else None, seconds, self.log)


ENDS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def _state(run: str) -> str:
    try:
        (found,) = _ask("/flow_runs/filter", flow_runs={"id": {"any_": [run]}})
    except (urllib.error.URLError, ConnectionError):
        return "UNKNOWN"
    return found["state_type"]


@pytest.fixture
def deployed(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    """Server, work pool, deployment and worker on this machine."""
    with serving(project, tmp_path, monkeypatch, "127.0.0.1") as found:
        found.worker = found.start("worker", "start", "--pool", "hoiclip")
        yield found


@contextmanager
def serving(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> Iterator[Deployed]:
    """Server on an address of this machine, work pool and deployment."""
    shutil.copytree(
        ROOT / "pipelines", project / "pipelines", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(ROOT / "prefect.yaml", project)
    for command in (["add", "--all"], ["commit", "--quiet", "--message", "Deployment"]):
        subprocess.run(["git", *command], cwd=project, check=True)
    port = _free_port()
    monkeypatch.setenv("PREFECT_API_URL", f"http://{host}:{port}/api")
    monkeypatch.setenv("PREFECT_SERVER_UI_ENABLED", "false")
    monkeypatch.setenv("PREFECT_WORKER_QUERY_SECONDS", "1")
    monkeypatch.setenv("PREFECT_WORKER_PREFETCH_SECONDS", "1")
    # A file address is cloned shallowly, as a host on the network is; a path is not.
    monkeypatch.setenv("HOICLIP_REPOSITORY", project.as_uri())
    monkeypatch.setenv("HOICLIP_DVC_CACHE", str(tmp_path / "shared-cache"))
    shutil.copytree(project / ".dvc" / "cache", tmp_path / "shared-cache")
    log = tmp_path / "prefect.log"
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, behind: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            process = subprocess.Popen(
                [*behind, *PREFECT, *arguments],
                cwd=tmp_path,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=_heed_interrupts,
            )
        started.append(process)
        return process

    def healthy() -> bool:
        try:
            url = os.environ["PREFECT_API_URL"] + "/health"
            return urllib.request.urlopen(url, timeout=2).status == 200
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    try:
        serve = ("server", "start", "--host", host, "--port", str(port))
        server = start(*serve)
        _until(healthy, 90, log)
        _prefect(project, "work-pool", "create", "hoiclip", "--type", "process")
        _prefect(project, "--no-prompt", "deploy", "--all")
        yield Deployed(project, log, start, server)
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in reversed(started):
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def test_a_run_succeeds_and_a_cancelled_one_ends_its_stage(deployed: Deployed) -> None:
    project, log = deployed.project, deployed.log
    run = ["deployment", "run", "reproduce/reproduce"]
    said = _prefect(
        project, *run, "--param", 'overrides=["numbers.count=5"]', "--param", "publish=true",
        "--watch", "--watch-timeout", "150",
    )  # fmt: skip
    assert "finished successfully" in said
    (artifact,) = _ask("/artifacts/filter")
    assert re.search(r"metrics\.json *\| default\.full *\| - *\| 21\.0", artifact["data"])
    assert re.search(r"params\.yaml *\| numbers\.count *\| 3 *\| 5", artifact["data"])
    tasks = _ask("/task_runs/filter")
    assert {task["name"]: task["state_type"] for task in tasks} == dict.fromkeys(
        ["tracked.txt.dvc", "numbers", "double@0", "double@1", "score"], "COMPLETED"
    )
    experiments = subprocess.run(
        [sys.executable, "-m", "dvc", "exp", "list", "--all", "--name-only"],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    )
    assert experiments.stdout.startswith("run-")
    assert "count: 3" in (project / "params.yaml").read_text()

    # Another clone, the same shared cache: nothing is computed again.
    ran = re.findall(r"double runs as \d+", log.read_text())
    assert len(ran) == 2
    said = _prefect(
        project, *run, "--param", 'overrides=["numbers.count=5"]',
        "--watch", "--watch-timeout", "150",
    )  # fmt: skip
    assert "finished successfully" in said
    assert re.findall(r"double runs as \d+", log.read_text()) == ran

    _prefect(project, *run, "--param", 'overrides=["double.sleep=300"]')
    stage = _until(
        lambda: re.findall(r"double runs as (\d+)", log.read_text())[len(ran) :], 90, log
    )[0]
    assert Path("/proc", stage).exists()
    (live,) = _ask("/flow_runs/filter", flow_runs={"state": {"type": {"any_": ["RUNNING"]}}})
    _prefect(project, "flow-run", "cancel", live["id"])
    _until(lambda: not Path("/proc", stage).exists(), 20, log)
    assert deployed.ended(live["id"]) == "CANCELLED"


def _gone(stage: str) -> bool:
    return not Path("/proc", stage).exists()


def _flow_of(stage: str) -> int:
    """The process of the flow run that started a stage."""
    process = int(stage)
    while "prefect.engine" not in Path(f"/proc/{process}/cmdline").read_text():
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return process


def test_two_runs_at_once_both_succeed(deployed: Deployed) -> None:
    runs = [deployed.run("double.sleep=8", "numbers.count=5", publish=True) for _ in range(2)]
    assert [deployed.ended(run) for run in runs] == ["COMPLETED"] * 2
    found = _ask("/flow_runs/filter", flow_runs={"id": {"any_": runs}})
    assert max(run["start_time"] for run in found) < min(run["end_time"] for run in found)
    artifacts = _ask("/artifacts/filter")
    assert len(artifacts) == 2
    assert all(re.search(r"default\.full .*\| 21\.0", each["data"]) for each in artifacts)
    refs = ["git", "for-each-ref", "--format=%(refname:lstrip=-1)", "refs/exps"]
    saved = subprocess.run(
        refs, cwd=deployed.project, capture_output=True, text=True, check=True
    ).stdout.split()
    assert sorted(saved) == sorted(f"run-{run[:8]}" for run in runs)


def test_a_run_goes_on_without_its_worker_and_its_server(deployed: Deployed) -> None:
    run = deployed.run("double.sleep=5")
    deployed.stages()
    deployed.worker.kill()
    assert deployed.ended(run) == "COMPLETED"

    deployed.start("worker", "start", "--pool", "hoiclip")
    seen = len(deployed.stages(expected=0))
    run = deployed.run("double.sleep=6")
    deployed.stages(seen)
    deployed.server.kill()
    deployed.server.wait()
    port = os.environ["PREFECT_API_URL"].split(":")[2].partition("/")[0]
    server = deployed.start("server", "start", "--host", "127.0.0.1", "--port", port)
    assert deployed.ended(run) == "COMPLETED"

    # A server that stays away: the stages are done, and the run's process ends.
    seen = len(deployed.stages(expected=0))
    deployed.run("double.sleep=7")
    (stage,) = deployed.stages(seen)
    flow = str(_flow_of(stage))
    server.kill()
    deployed.stages(seen, expected=2)
    _until(lambda: _gone(flow), 240, deployed.log)


def test_a_killed_run_leaves_nothing_and_the_next_goes_on(deployed: Deployed) -> None:
    run = deployed.run("numbers.count=4", "double.sleep=300")
    (stage,) = deployed.stages()
    os.kill(_flow_of(stage), signal.SIGKILL)
    _until(lambda: _gone(stage), 20, deployed.log)
    assert deployed.ended(run) == "CRASHED"

    # What was done before is not done again, and what hangs is ended at its limit.
    run = deployed.run("numbers.count=4", "double.sleep=300", retries=0, stage_timeout_minutes=0.2)
    assert deployed.ended(run) == "FAILED"
    assert deployed.log.read_text().count("stage says ['numbers']") == 1
    (_, *stages) = deployed.stages(expected=2)
    assert all(map(_gone, stages))

    # A worker that is asked to stop ends its runs; the server is not told.
    seen = len(deployed.stages(expected=0))
    deployed.run("numbers.count=4", "double.sleep=300")
    (stage,) = deployed.stages(seen)
    deployed.worker.terminate()
    _until(lambda: _gone(stage), 30, deployed.log)
