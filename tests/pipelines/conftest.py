"""Two small made-up DVC projects.

`project`: numbers -> double (a matrix) -> score, plus a tracked file; `planned`: the same with
a plan of a sweep. `two_methods`: numbers, then
train -> predict of the chosen method, then score.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PARAMS = """\
# Defaults
numbers:
  count: 3   # how many
double:
  factor: 2.0
  sleep: 0
"""

STAGE = """\
import json, os, pathlib, sys, time, yaml
from which import WHICH

params = yaml.safe_load(open("params.yaml"))
print("stage says", sys.argv[1:], WHICH, flush=True)
if sys.argv[1] == "numbers":
    if params["numbers"]["count"] < 0:
        sys.exit("count is negative")
    pathlib.Path("numbers.txt").write_text(open("tracked.txt").read() * params["numbers"]["count"])
elif sys.argv[1] == "double":
    print("double runs as", os.getpid(), flush=True)
    time.sleep(params["double"]["sleep"])
    value = len(open("numbers.txt").read().split()) * params["double"]["factor"]
    value += params.get("train", {}).get("seed", 0)
    pathlib.Path(f"double{sys.argv[2]}.txt").write_text(str(value + int(sys.argv[2])))
else:
    values = [float(open(f"double{i}.txt").read()) for i in range(2)]
    pathlib.Path("metrics.json").write_text(json.dumps({"default": {"full": sum(values)}}))
"""

DVC = """\
stages:
  numbers:
    cmd: python stages/stage.py numbers
    deps: [tracked.txt]
    params: [numbers.count]
    outs: [numbers.txt]
  double:
    matrix:
      seed: [0, 1]
    cmd: python stages/stage.py double ${item.seed}
    deps: [numbers.txt]
    params: [double]
    outs: ["double${item.seed}.txt"]
  score:
    cmd: python stages/stage.py score
    deps: [double0.txt, double1.txt]
    metrics:
      - metrics.json: {cache: false}
"""


def sh(root: Path, *command: str) -> str:
    """Runs a command that must succeed; returns its output."""
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def _own_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No git or Prefect settings from outside, this interpreter first in PATH, nothing sent out."""
    for name in list(os.environ):
        if name.startswith(("GIT_", "PREFECT_", "DVC_", "HOICLIP_")) or name == "PYTHONPATH":
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    settings = {
        "HOME": home,
        "HOICLIP_GRACE_SECONDS": "5",
        "GIT_CONFIG_NOSYSTEM": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": tmp_path / "prefect",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))


METHODS_STAGE = """\
import pathlib, sys, yaml

out, *read = sys.argv[1:]
pathlib.Path(out).parent.mkdir(parents=True, exist_ok=True)
words = [pathlib.Path(name).read_text() for name in read]
count = yaml.safe_load(open("params.yaml"))["numbers"]["count"]
pathlib.Path(out).write_text(out + " " + (" ".join(words) or "x" * count))
print("made", out, flush=True)
"""

SHARED = """\
stages:
  numbers:
    cmd: python make.py numbers.txt
    params: [numbers]
    outs: [numbers.txt]
  score:
    cmd: python make.py score.txt runs/${method}/predict.txt
    params: [method]
    deps: ["runs/${method}/predict.txt"]
    metrics:
      - score.txt: {cache: false}
"""

OF_METHOD = """\
stages:
  train:
    wdir: ../..
    cmd: python make.py runs/METHOD/train.txt numbers.txt
    deps: [numbers.txt]
    outs: [runs/METHOD/train.txt]
  predict:
    wdir: ../..
    cmd: python make.py runs/METHOD/predict.txt runs/METHOD/train.txt
    deps: [runs/METHOD/train.txt]
    outs: [runs/METHOD/predict.txt]
"""


def _dvc_repository(root: Path) -> None:
    """Makes the empty folder a repository of git and DVC."""
    root.mkdir()
    sh(root, "git", "init", "--quiet")
    sh(root, "git", "config", "user.name", "Test")
    sh(root, "git", "config", "user.email", "test@localhost")
    dvc = [sys.executable, "-m", "dvc"]
    sh(root, *dvc, "init", "--quiet")
    sh(root, *dvc, "config", "core.analytics", "false")
    sh(root, *dvc, "config", "core.autostage", "true")


@pytest.fixture
def two_methods(tmp_path: Path) -> Path:
    """A project with the methods `first`, which is chosen, and `second`; never reproduced."""
    root = tmp_path / "two_methods"
    _dvc_repository(root)
    (root / "params.yaml").write_text("method: first\nnumbers:\n  count: 3\n")
    (root / "dvc.yaml").write_text(SHARED)
    (root / "make.py").write_text(METHODS_STAGE)
    for method in ("first", "second"):
        (root / "methods" / method).mkdir(parents=True)
        stages = OF_METHOD.replace("METHOD", method)
        (root / "methods" / method / "dvc.yaml").write_text(stages)
    sh(root, "git", "add", "--all")
    sh(root, "git", "commit", "--quiet", "--message", "Start")
    return root


PLAN = """\
about: Factors over seeds
seeds: [0, 1]
shared:
  target: score
  set: {double.sleep: 0}
  keep: {metrics: metrics.json}
axes:
  factor:
    one: {title: One, set: {double.factor: 1.0}}
    two: {title: Two, scale: {double.factor: 1}}
  count:
    few: {}
    many: {scale: {numbers.count: 2}}
cases:
  - {count: [few]}
  - {factor: [two], count: [many]}
"""


@pytest.fixture
def planned(project: Path) -> Path:
    """The project with a training seed and the plan `tiny`; committed."""
    params = project / "params.yaml"
    params.write_text(params.read_text() + "train:\n  seed: 0\n")
    (project / "sweeps").mkdir()
    (project / "sweeps" / "tiny.yaml").write_text(PLAN)
    dvc = project / "dvc.yaml"
    dvc.write_text(dvc.read_text().replace("params: [double]", "params: [double, train.seed]"))
    deps = "deps: [numbers.txt, stages/stage.py]"
    dvc.write_text(dvc.read_text().replace("deps: [numbers.txt]", deps))
    sh(project, "git", "add", "--all")
    sh(project, "git", "commit", "--quiet", "--message", "Plan")
    return project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project with a matrix and a tracked file, committed but never reproduced."""
    root = tmp_path / "project"
    _dvc_repository(root)
    (root / "stages").mkdir()
    (root / "params.yaml").write_text(PARAMS)
    (root / "dvc.yaml").write_text(DVC)
    (root / "stages" / "stage.py").write_text(STAGE)
    (root / "which.py").write_text('WHICH = "committed"\n')
    (root / "tracked.txt").write_text("x ")
    sh(root, sys.executable, "-m", "dvc", "add", "--quiet", "tracked.txt")
    sh(root, "git", "add", "--all")
    sh(root, "git", "commit", "--quiet", "--message", "Start")
    return root
