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
from collections.abc import Callable, Iterator
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


@pytest.fixture
def deployed(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, Path]]:
    """The made-up project, deployed, with a worker; and the worker's log."""
    shutil.copytree(
        ROOT / "pipelines", project / "pipelines", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(ROOT / "prefect.yaml", project)
    for command in (["add", "--all"], ["commit", "--quiet", "--message", "Deployment"]):
        subprocess.run(["git", *command], cwd=project, check=True)
    port = _free_port()
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
    monkeypatch.setenv("PREFECT_SERVER_UI_ENABLED", "false")
    monkeypatch.setenv("PREFECT_WORKER_QUERY_SECONDS", "1")
    monkeypatch.setenv("PREFECT_WORKER_PREFETCH_SECONDS", "1")
    # A file address is cloned shallowly, as a host on the network is; a path is not.
    monkeypatch.setenv("HOICLIP_REPOSITORY", project.as_uri())
    monkeypatch.setenv("HOICLIP_DVC_CACHE", str(tmp_path / "shared-cache"))
    shutil.copytree(project / ".dvc" / "cache", tmp_path / "shared-cache")
    log = tmp_path / "prefect.log"
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> None:
        with log.open("ab") as out:
            started.append(
                subprocess.Popen(
                    [*PREFECT, *arguments],
                    cwd=tmp_path,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                )
            )

    def healthy() -> bool:
        try:
            url = os.environ["PREFECT_API_URL"] + "/health"
            return urllib.request.urlopen(url, timeout=2).status == 200
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    try:
        start("server", "start", "--host", "127.0.0.1", "--port", str(port))
        _until(healthy, 90, log)
        _prefect(project, "work-pool", "create", "hoiclip", "--type", "process")
        _prefect(project, "--no-prompt", "deploy", "--all")
        start("worker", "start", "--pool", "hoiclip")
        yield project, log
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in reversed(started):
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def test_a_run_succeeds_and_a_cancelled_one_ends_its_stage(deployed: tuple[Path, Path]) -> None:
    project, log = deployed
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
