"""Several nodes on one machine: hosts in network namespaces of their own, with their own names.

Needs root, `ip` and `unshare`; a made-up srun starts what Slurm's would start on each.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from conftest import sh
from test_deployment import Deployed, _state, serving
from test_slurm import FOLDER, SRUN

from pipelines.workspace import dvc, environment

ROOT = Path(__file__).parents[2]
HOSTS = ("hoiclip-a", "hoiclip-b")
NETWORK = "10.213.77"
BRIDGE = "hoiclip-br"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("unshare"),
        reason="needs root, ip and unshare",
    ),
]

STAGE = """\
import json
from pathlib import Path
import hoiclip.ancestry
import train_alone
train_alone.main(json.loads(Path("what.json").read_text()))
"""


def on_host(name: str, *command: str) -> list[str]:
    """The command on a host."""
    named = 'hostname "$0" && exec "$@"'
    return ["ip", "netns", "exec", name, "unshare", "--uts", "sh", "-c", named, name, *command]


@pytest.fixture
def hosts() -> Iterator[tuple[str, ...]]:
    """Two hosts that reach each other, by name, over a bridge."""
    remove()
    sh(ROOT, "ip", "link", "add", BRIDGE, "type", "bridge")
    sh(ROOT, "ip", "addr", "add", f"{NETWORK}.254/24", "dev", BRIDGE)
    sh(ROOT, "ip", "link", "set", BRIDGE, "up")
    names = "".join(f"{NETWORK}.{number} {name}\n" for number, name in enumerate(HOSTS, 1))
    try:
        for number, name in enumerate(HOSTS, 1):
            sh(ROOT, "ip", "netns", "add", name)
            end = f"hoiclip-{number}"
            sh(ROOT, "ip", "link", "add", end, "type", "veth", "peer", "name", "eth0",
               "netns", name)  # fmt: skip
            sh(ROOT, "ip", "link", "set", end, "master", BRIDGE, "up")
            sh(ROOT, "ip", "-n", name, "addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                sh(ROOT, "ip", "-n", name, "link", "set", device, "up")
            # What `ip netns exec` shows as /etc/hosts.
            own = Path("/etc/netns", name)
            own.mkdir(parents=True)
            (own / "hosts").write_text(f"127.0.0.1 localhost\n{names}")
        yield HOSTS
    finally:
        remove()


def remove() -> None:
    for number, name in enumerate(HOSTS, 1):
        lose(name)
        for gone in (["link", "del", f"hoiclip-{number}"], ["netns", "del", name]):
            subprocess.run(["ip", *gone], capture_output=True, check=False)
        shutil.rmtree(Path("/etc/netns", name), ignore_errors=True)
    subprocess.run(["ip", "link", "del", BRIDGE], capture_output=True, check=False)


def lose(name: str) -> None:
    """What a host ran is gone at once, and it answers nobody."""
    listed = ["ip", "netns", "pids", name]
    found = subprocess.run(listed, capture_output=True, text=True, check=False)
    for process in found.stdout.split():
        with suppress(ProcessLookupError):
            os.kill(int(process), signal.SIGKILL)
    down = ["ip", "-n", name, "link", "set", "eth0", "down"]
    subprocess.run(down, capture_output=True, check=False)


@pytest.fixture
def trains(hosts, project, toy, params, model_config, tmp_path, monkeypatch) -> Path:
    """A project whose one stage trains HOICLIP on both hosts."""
    config = dataclasses.asdict(model_config)
    own = {key: config.pop(key) for key in ("interaction", "verb")}
    train = params["train"] | {
        "device": "cpu", "threads": 1, "warm_start": False, "epochs": 3, "lr_drop_epoch": 3,
        "workers": 0, "batch_size": 4, "keep_every": 0,
    }  # fmt: skip
    sections = {
        "model": config, "train": train,
        "hoiclip": own | {"enhancement": params["hoiclip"]["enhancement"]},
    }  # fmt: skip
    shutil.rmtree(project / "params", ignore_errors=True)
    (project / "params.yaml").write_text(yaml.safe_dump(sections))
    paths = {name: str(path) if path else None for name, path in vars(toy.paths).items()}
    what = {
        "paths": paths, "method": "hoiclip", "params": "params.yaml", "out": "out",
        "resume": ".checkpoints",
    }  # fmt: skip
    (project / "what.json").write_text(json.dumps(what))
    (project / "stages" / "train.py").write_text(STAGE)
    stage = "stages:\n  train:\n    cmd: python -m stages.train\n    outs: [out]\n"
    (project / "dvc.yaml").write_text(stage)
    folder = tmp_path / "bin"
    folder.mkdir()
    started = "tasks = [subprocess.Popen(command, "
    assert SRUN.count(started) == 1
    across = SRUN.replace(started, "tasks = [subprocess.Popen(on_host(HOSTS[i], *command), ")
    prelude = f"HOSTS = {HOSTS!r}\ndef on_host(name, *command):\n    return " + repr(
        on_host("NAME", "COMMAND")
    ).replace("'NAME'", "name").replace("'COMMAND'", "*command")
    names = "\\n".join(HOSTS)
    for name, text in (("srun", f"{prelude}\n{across}"), ("scontrol", f"print('{names}')\n")):
        (folder / name).write_text(f"#!{sys.executable}\n{text}")
        (folder / name).chmod(0o755)
    for name, value in {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests/training"), str(project)]),
        "HOICLIP_STAGE_PATH": str(FOLDER / "bin"), "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_ID": "78", "SLURM_JOB_NODELIST": "hoiclip-[a-b]", "HOICLIP_PROCESSES": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return project


def reproduce(folder: Path) -> subprocess.Popen:
    env = environment(folder) | {"PYTHONPATH": os.environ["PYTHONPATH"]}
    return subprocess.Popen(
        dvc("repro", "train"), cwd=folder, env=env, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_training_on_two_nodes_outlives_one_of_them(trains: Path) -> None:
    undisturbed = reproduce(trains)
    said, _ = undisturbed.communicate(timeout=400)
    assert undisturbed.returncode == 0, said
    expected = (trains / "out/model.safetensors").read_bytes()
    assert not list(trains.glob(".checkpoints/*"))
    shutil.rmtree(trains / "out")
    (trains / "dvc.lock").unlink()
    shutil.rmtree(trains / ".dvc/cache", ignore_errors=True)

    run = reproduce(trains)
    until(lambda: list(trains.glob(".checkpoints/*/state.pt")) or run.poll() is not None)
    lose(HOSTS[1])
    said, _ = run.communicate(timeout=400)
    assert run.returncode != 0
    assert not (trains / "dvc.lock").exists()
    assert list(trains.glob(".checkpoints/*/state.pt")), said

    sh(ROOT, "ip", "-n", HOSTS[1], "link", "set", "eth0", "up")
    again = reproduce(trains)
    said, _ = again.communicate(timeout=400)
    assert again.returncode == 0, said
    assert "going on after epoch" in said
    assert (trains / "out/model.safetensors").read_bytes() == expected


@pytest.fixture
def served(hosts, project, tmp_path, monkeypatch) -> Iterator[Deployed]:
    """A server on the bridge, and a worker on each host that runs one run at a time."""
    with serving(project, tmp_path, monkeypatch, f"{NETWORK}.254") as found:
        for name in hosts:
            options = ["--pool", "hoiclip", "--limit", "1", "--name", name]
            found.start("worker", "start", *options, behind=on_host(name))
        yield found


def host_of(process: str) -> str:
    return sh(ROOT, "ip", "netns", "identify", process).strip()


def test_runs_of_a_host_that_is_lost_take_none_of_the_others_with_them(served: Deployed) -> None:
    runs = [served.run("double.sleep=20", f"numbers.count={count}") for count in (5, 6)]
    stages = served.stages(expected=2)
    stage_on = {host_of(stage): stage for stage in stages}
    assert sorted(stage_on) == sorted(HOSTS)
    lose(HOSTS[1])
    until(lambda: not Path("/proc", stage_on[HOSTS[1]]).exists())
    until(lambda: "COMPLETED" in [_state(run) for run in runs])
    (other,) = [run for run in runs if _state(run) != "COMPLETED"]
    assert _state(other) == "RUNNING"  # the server is not told
    # What comes next runs where a worker is left.
    assert served.ended(served.run("double.sleep=0", "numbers.count=7")) == "COMPLETED"
