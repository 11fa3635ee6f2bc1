"""A Prefect server and a work pool on this machine, for as long as a command runs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipelines.errors import PipelineError
from pipelines.processes import ProcessGroups
from pipelines.told import error_line

_START_SECONDS = 180
_QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    "PREFECT_WORKER_PREFETCH_SECONDS": "1",
    "PREFECT_WORKER_QUERY_SECONDS": "1",
}


@contextmanager
def local_pool(
    workspace: Path, repository: Path, cache: Path, workers: int, on_line: Callable[[str], object]
) -> Iterator[str]:
    """Starts a server on a free port of the loopback address, deploys, and starts workers.

    All of them end with the block, or with this process, and what they run ends with them.

    Args:
        workspace: a clone, from whose prefect.yaml is deployed.
        repository: what the runs clone.
        cache: the DVC cache that they share.
        workers: each runs one run at a time, on one thread.
        on_line: takes what server and workers print.

    Yields:
        The address of the server's API.

    Raises:
        PipelineError: the server does not start, or refuses the deployment.
    """
    port = _free_port()
    address = f"http://127.0.0.1:{port}/api"
    home = workspace.parent / "prefect"
    env = {
        **os.environ,
        **_QUIET,
        "PREFECT_API_URL": address,
        "PREFECT_HOME": str(home),
        "HOICLIP_REPOSITORY": str(repository),
        "HOICLIP_DVC_CACHE": str(cache),
        "OMP_NUM_THREADS": "1",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }
    groups = ProcessGroups(workers + 1)
    threads: list[threading.Thread] = []
    failed: list[PipelineError] = []

    def start(*arguments: str) -> None:
        def run() -> None:
            try:
                groups.run(
                    [sys.executable, "-m", "prefect", *arguments],
                    cwd=workspace.parent, env=env, on_line=on_line,
                )  # fmt: skip
            except PipelineError as error:
                failed.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        threads.append(thread)

    try:
        start("server", "start", "--host", "127.0.0.1", "--port", str(port))
        _wait_for(f"{address}/health", failed)
        _prefect(workspace, env, "work-pool", "create", "hoiclip", "--type", "process")
        _prefect(workspace, env, "--no-prompt", "deploy", "--name", "reproduce")
        for number in range(workers):
            start("worker", "start", "--pool", "hoiclip", "--limit", "1", "--name", f"n{number}")
        yield address
    finally:
        groups.stop()
        for thread in threads:
            thread.join(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(address: str, failed: list[PipelineError]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and not failed:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.3)
    why = str(failed[0]) if failed else f"not within {_START_SECONDS} seconds"
    raise PipelineError(f"Prefect's server did not start: {why}")


def _prefect(root: Path, env: Mapping[str, str], *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        cwd=root, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        cause = error_line((done.stderr + done.stdout).splitlines())
        raise PipelineError(f"`prefect {' '.join(arguments)}`: {cause}")
