"""CLIP distillation trains the same in one process or two, with a batch at once or in parts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from label_free_world import PARAMS, make_project, write_short_params
from safetensors.torch import load_file

from hoiclip.methods.clip_distill.caches.inputs import DistillPaths
from hoiclip.methods.clip_distill.training import train
from hoiclip.training.engine import Engine
from hoiclip.training.interruption import IMAGES_AT_ONCE
from stages.clip_distill import clip_scores, detections

ROOT = Path(__file__).parents[3]
SCRIPT = """
from pathlib import Path
from hoiclip.methods.clip_distill.caches.inputs import DistillPaths
from hoiclip.methods.clip_distill.training import train
train(Path("params.yaml"), DistillPaths.of_project(), Path("two"), Path(".two"), lambda *_: None)
"""


@pytest.fixture
def project(tmp_path, toy, model_config, params, monkeypatch) -> Path:
    """A project with the caches, whose student has no dropout."""
    make_project(tmp_path, toy, model_config, params)
    write_short_params(tmp_path, model_config, params)
    value = yaml.safe_load((tmp_path / PARAMS).read_text())
    value["clip_distill"]["model"]["dropout"] = 0.0
    (tmp_path / PARAMS).write_text(yaml.safe_dump(value))
    monkeypatch.chdir(tmp_path)
    detections.main(PARAMS)
    clip_scores.main(PARAMS)
    return tmp_path


def run(out: str) -> tuple[list[tuple], torch.Tensor]:
    train(PARAMS, DistillPaths.of_project(), Path(out), Path(f".{out}"), lambda *_: None)
    return read(out)


def read(out: str) -> tuple[list[tuple], torch.Tensor]:
    """History, and the student's weights as one vector."""
    rows = pq.read_table(Path(out, "history.parquet")).to_pylist()
    state = load_file(next(Path(out, "weights").iterdir()))
    weights = torch.cat([state[name].double().flatten() for name in sorted(state)])
    return [(row["step"], row["name"], row["value"]) for row in rows], weights


def test_parts_and_processes_change_no_step(project, monkeypatch):
    history, weights = run("one")
    monkeypatch.setenv(IMAGES_AT_ONCE, "3")
    found = {"parts": run("parts")}
    monkeypatch.delenv(IMAGES_AT_ONCE)
    (project / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*command, "--nproc-per-node", "2", "script.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
        timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found["processes"] = read("two")
    assert len(history) > 9
    for name, (steps, others) in found.items():
        assert [row[:2] for row in steps] == [row[:2] for row in history], name
        for (*_, value), (*_, expected) in zip(steps, history, strict=True):
            assert value == pytest.approx(expected, rel=1e-5, abs=1e-7), name
        assert (others - weights).norm() <= 1e-5 * weights.norm(), name


def test_bfloat16_is_near_and_not_the_same(project):
    history, weights = run("one")
    value = yaml.safe_load((project / PARAMS).read_text())
    value["clip_distill"]["train"]["precision"] = "bf16"
    (project / PARAMS).write_text(yaml.safe_dump(value))
    other, others = run("half")
    losses, half = ([row[2] for row in rows if "lr" not in row[1]] for rows in (history, other))
    assert losses != half
    assert losses == pytest.approx(half, rel=0.02)
    assert 0 < (others - weights).norm() <= 0.02 * weights.norm()


@pytest.mark.gpu
def test_a_gpu_learns_what_the_cpu_learns_and_is_not_waited_for(project, monkeypatch):
    history, weights = run("one")
    value = yaml.safe_load((project / PARAMS).read_text())
    value["clip_distill"]["train"]["device"] = "cuda"
    (project / PARAMS).write_text(yaml.safe_dump(value))
    step = Engine.step

    def strict(self, parts, number):
        # In the first step what lasts is sent to the device.
        torch.cuda.set_sync_debug_mode("error" if number else "default")
        try:
            return step(self, parts, number)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Engine, "step", strict)
    other, others = run("gpu")
    assert [row[:2] for row in other] == [row[:2] for row in history]
    for (*_, found), (*_, expected) in zip(other, history, strict=True):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert (others - weights).norm() <= 1e-3 * weights.norm()
