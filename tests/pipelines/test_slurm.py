"""The scripts for Slurm, run against a made-up sbatch, srun and scontrol on PATH."""

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
from pathlib import Path

import pytest
from conftest import sh

from pipelines.workspace import dvc, environment

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "slurm"

# Runs the command as so many tasks, as srun does; each has its node's number. Ends all when one
# fails, and passes on SIGTERM.
SRUN = """\
import json, os, signal, subprocess, sys, time
options = [word for word in sys.argv[1:] if word.startswith("--")]
command = sys.argv[1:]
while command[0].startswith("--"):
    command.pop(0)
with open(os.environ["TOLD"] + "-srun", "a") as file:
    file.write(json.dumps(options) + "\\n")
given = dict(word[2:].split("=", 1) for word in sys.argv[1:len(sys.argv) - len(command)])
count = int(given.get("ntasks", os.environ.get("SLURM_NTASKS", 1)))
tasks = [subprocess.Popen(command, env={**os.environ, "SLURM_NODEID": str(i),
         "SLURM_PROCID": str(i)}, start_new_session=True) for i in range(count)]
def end(*_):
    for task in tasks:
        if task.poll() is None:
            os.killpg(task.pid, signal.SIGTERM)
signal.signal(signal.SIGTERM, end)
worst = 0
while any(task.poll() is None for task in tasks):
    if given.get("kill-on-bad-exit") == "1" and any(task.poll() for task in tasks):
        end()
    time.sleep(0.1)
sys.exit(max(abs(task.returncode) for task in tasks))
"""
# Runs the script as the batch step of an allocation, from a copy, as sbatch does.
SBATCH = """\
import os, re, shutil, subprocess, sys, tempfile
script = [word for word in sys.argv[1:] if not word.startswith("--")][0]
copy = os.path.join(tempfile.mkdtemp(), "slurm_script")
shutil.copy(script, copy)
nodes = next((w.split("=")[1] for w in sys.argv if w.startswith("--nodes=")), "1")
tasks = next((w.split("=")[1] for w in sys.argv if w.startswith("--ntasks-per-node=")), "1")
said = re.findall("^#SBATCH --cpus-per-task=(.*)", open(script).read(), re.M)
said += [w.split("=")[1] for w in sys.argv if w.startswith("--cpus-per-task=")]
given = {"SLURM_CPUS_PER_TASK": said[-1]} if said else {}
env = {**os.environ, **given, "SLURM_JOB_ID": "77", "SLURM_JOB_NUM_NODES": nodes,
       "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_SUBMIT_DIR": os.getcwd(),
       "SLURM_NTASKS": str(int(nodes) * int(tasks))}
sys.exit(subprocess.run(["bash", copy], env=env).returncode)
"""
SCONTROL = 'print("127.0.0.1\\n127.0.0.1")\n'
TOLD = """\
import json, os, sys
with open(os.environ["TOLD"], "a") as file:
    names = ("SLURM_PROCID", "TMPDIR", "HOICLIP_STAGE_PATH", "SRUN_CPUS_PER_TASK")
    file.write(json.dumps([sys.argv[1:], {n: os.environ.get(n) for n in names}]) + "\\n")
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The commands of Slurm, and a `prefect` that notes how it is called, in a file."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (
        ("srun", SRUN), ("sbatch", SBATCH), ("scontrol", SCONTROL), ("prefect", TOLD),
    ):  # fmt: skip
        (folder / name).write_text(f"#!{sys.executable}\n{text}")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    return tmp_path / "told"


def cores(file: Path) -> list[str]:
    """What each srun was told of cores; without it a task has one."""
    steps = Path(f"{file}-srun").read_text().splitlines()
    return [word for line in steps for word in json.loads(line) if "cpus" in word]


def told(file: Path) -> list[list]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_each_gpu_has_a_worker_that_runs_one_run(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = ["sbatch", "--nodes=2", "--ntasks-per-node=3", str(FOLDER / "workers.sbatch")]
    done = subprocess.run(submit, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "PREFECT_API_URL: the address of the server" in done.stderr
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("HOICLIP_SHARED", str(tmp_path / "shared"))
    sh(ROOT, *submit)
    workers = told(slurm)
    assert sorted(each[1]["SLURM_PROCID"] for each in workers) == list("012345")
    for words, env in workers:
        assert words == [
            "worker", "start", "--pool", "hoiclip", "--type", "process", "--limit", "1",
            "--work-queue", "default",
        ]  # fmt: skip
        assert env["TMPDIR"] == str(tmp_path / "shared" / "runs")
        assert env["HOICLIP_STAGE_PATH"] is None
        # For an srun of the worker's own.
        assert env["SRUN_CPUS_PER_TASK"] == "8"
    sh(ROOT, *submit[:1], "--cpus-per-task=5", *submit[1:])
    assert cores(slurm) == ["--cpus-per-task=8", "--cpus-per-task=5"]


def test_nodes_together_have_one_worker_whose_stages_know_of_them(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("HOICLIP_SHARED", str(tmp_path / "shared"))
    monkeypatch.setenv("HOICLIP_PROCESSES", "4")
    sh(ROOT, "sbatch", "--nodes=2", str(FOLDER / "nodes.sbatch"))
    ((words, env),) = told(slurm)
    assert words[-2:] == ["--work-queue", "nodes"]
    assert env["HOICLIP_STAGE_PATH"] == str(FOLDER / "bin")
    assert env["SRUN_CPUS_PER_TASK"] == "32"
    assert (Path(env["HOICLIP_STAGE_PATH"]) / "python").exists()


@pytest.mark.parametrize(
    ("words", "nodes", "rank", "starts"),
    [
        (["-m", "stages.hoiclip.train"], 2, None, True),
        (["-m", "stages.train", "--debug"], 3, None, True),
        (["-m", "stages.hoiclip.train"], 1, None, False),
        (["-m", "stages.hoiclip.train"], 2, "0", False),
        (["-m", "stages.hoiclip.predict"], 2, None, True),
        (["-m", "stages.hoiclip.select"], 2, None, False),
        (["-m", "stages.hoiclip.train_more"], 2, None, False),
        (["-c", "stages.hoiclip.train"], 2, None, False),
        ([], 2, None, False),
    ],
)
def test_a_training_and_passes_are_started_on_every_node(
    slurm: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], nodes: int, rank: str | None,
    starts: bool,
) -> None:  # fmt: skip
    noted = slurm.parent / "bin" / "prefect"
    for name, value in {
        "HOICLIP_PYTHON": noted, "SLURM_JOB_NUM_NODES": nodes, "SLURM_JOB_ID": 77,
        "SLURM_JOB_NODELIST": "node[1-2]", "HOICLIP_PROCESSES": 4,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "24")
    sh(ROOT, str(FOLDER / "bin" / "python"), *words)
    if not starts:
        assert [each[0] for each in told(slurm)] == [words]
        return
    assert sorted(each[1]["SLURM_PROCID"] for each in told(slurm)) == list("012")[:nodes]
    assert cores(slurm) == ["--cpus-per-task=24"]
    agents = [each[0] for each in told(slurm)]
    assert agents.count(agents[0]) == nodes, "one rendezvous for all"
    (identity,) = [word for word in agents[0] if word.startswith("--rdzv-id=77-")]
    assert agents[0] == [
        "-m", "torch.distributed.run", f"--nnodes={nodes}", "--nproc-per-node=4",
        "--max-restarts=0", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:29400", identity,
        *words,
    ]  # fmt: skip


def test_what_starts_on_every_node_is_what_processes_share() -> None:
    """Stages that start torchrun themselves where the environment asks for processes."""
    sharing = {
        path.stem
        for path in (ROOT / "stages").rglob("*.py")
        if "from hoiclip.launch import launch" in path.read_text(encoding="utf-8")
    }
    script = (FOLDER / "bin" / "python").read_text(encoding="utf-8")
    assert sharing == set(re.search(r"\?\(([a-z_|]+)\)\$", script)[1].split("|"))


TRAIN = """\
import os, pathlib, sys, time
import torch.distributed as dist
import torch
dist.init_process_group("gloo")
total = torch.tensor([dist.get_rank() + 1.0])
dist.all_reduce(total)
pathlib.Path(f"started-{dist.get_rank()}").write_text(str(os.getpid()))
if os.path.exists("hang"):
    time.sleep(300)
if dist.get_rank() == 0:
    pathlib.Path("out.txt").write_text(f"{dist.get_world_size()} {total.item()}")
dist.destroy_process_group()  # or gloo aborts where the other rank ends first
"""


@pytest.fixture
def trains(slurm: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose one stage is a training, in an allocation of two nodes."""
    (project / "stages" / "train.py").write_text(TRAIN)
    stage = "stages:\n  train:\n    cmd: python -m stages.train\n    outs: [out.txt]\n"
    (project / "dvc.yaml").write_text(stage)
    shutil.rmtree(project / "params", ignore_errors=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name, value in {
        "HOICLIP_STAGE_PATH": FOLDER / "bin", "SLURM_JOB_NUM_NODES": 2, "SLURM_JOB_ID": 77,
        "SLURM_JOB_NODELIST": "node[1-2]", "HOICLIP_PROCESSES": 1, "HOICLIP_PORT": port,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    return project


@pytest.mark.slow
def test_a_stage_trains_on_two_nodes(trains: Path) -> None:
    done = subprocess.run(
        dvc("repro", "train"), cwd=trains, env=environment(trains), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (trains / "out.txt").read_text() == "2 3.0"
    # What DVC notes of the stage is what it notes on one machine.
    assert "cmd: python -m stages.train\n" in (trains / "dvc.lock").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("end", ["node", "run"])
def test_a_lost_node_or_a_cancelled_run_ends_every_rank(trains: Path, end: str) -> None:
    (trains / "hang").touch()
    run = subprocess.Popen(
        dvc("repro", "train"), cwd=trains, env=environment(trains), start_new_session=True
    )
    try:
        started = [trains / f"started-{rank}" for rank in range(2)]
        _until(lambda: all(file.exists() and file.read_text() for file in started))
        ranks = [int(file.read_text()) for file in started]
        if end == "node":
            # With the second node go its agent and its rank, which has a session of its own.
            for process in (_parent(ranks[1]), ranks[1]):
                os.killpg(os.getpgid(process), signal.SIGKILL)
        else:
            os.killpg(run.pid, signal.SIGTERM)
        assert run.wait(120) != 0
        _until(lambda: not any(Path("/proc", str(rank)).exists() for rank in ranks))
        assert not (trains / "out.txt").exists()
        assert not (trains / "dvc.lock").exists()
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)


def _parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def _until(condition) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
