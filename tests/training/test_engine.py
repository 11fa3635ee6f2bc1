"""A training is the same in one process or two, with a batch at once or in parts."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import train_alone
import yaml
from safetensors.torch import load_file

from hoiclip.errors import StoppedError
from hoiclip.set_prediction.matcher import HungarianMatcher
from hoiclip.training.engine import Engine, seed_of_step
from hoiclip.training.interruption import IMAGES_AT_ONCE

ROOT = Path(__file__).parents[2]
SMALL = {
    "device": "cpu", "threads": 1, "warm_start": False, "epochs": 1, "lr_drop_epoch": 1,
    "workers": 0, "batch_size": 4, "lr": 1e-4, "lr_backbone": 1e-5, "keep_every": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(toy, params, model_config, tmp_path_factory):
    """A function that trains without dropout and gives its history and its weights."""
    folder = tmp_path_factory.mktemp("trained")
    made: dict[tuple, tuple] = {}

    def train(processes=1, at_once=None, method="hoiclip", stop=None, **changes):
        key = (processes, at_once, method, stop, *changes.items())
        if key not in made:
            made[key] = run(folder / str(len(made)), processes, at_once, method, stop, changes)
        return made[key]

    def run(out, processes, at_once, method, stop, changes):
        config = dataclasses.asdict(model_config)
        own = {key: config.pop(key) for key in ("interaction", "verb")}
        config["detector"]["dropout"] = own["interaction"]["dropout"] = 0.0
        sections = {
            "model": config,
            "hoiclip": own | {"enhancement": params["hoiclip"]["enhancement"]},
            "gen_vlkt": params["gen_vlkt"],
            "train": params["train"] | SMALL | changes,
        }
        out.mkdir()
        (out / "params.yaml").write_text(yaml.safe_dump(sections))
        paths = {name: str(path) if path else None for name, path in vars(toy.paths).items()}
        what = {
            "paths": paths, "method": method, "params": str(out / "params.yaml"),
            "out": str(out / "out"), "resume": str(out / "resume"),
        }  # fmt: skip
        if stop is not None:
            (out / "what.json").write_text(json.dumps(what | {"stop": stop}))
            with pytest.raises(StoppedError, match=f"after step {stop}; run it again"):
                start(out / "what.json", 1, None)
        (out / "what.json").write_text(json.dumps(what))
        start(out / "what.json", processes, at_once)
        rows = pq.read_table(out / "out/history.parquet").to_pylist()
        history = [(row["step"], row["name"], row["value"]) for row in rows]
        norms = json.loads((out / "norms.json").read_text())
        history += [(step, "gradients", norm) for step, norm in enumerate(norms)]
        return history, load_file(out / "out/model.safetensors")

    return train


def start(what: Path, processes: int, at_once: int | None) -> None:
    if processes == 1:
        with pytest.MonkeyPatch.context() as patched:
            if at_once:
                patched.setenv(IMAGES_AT_ONCE, str(at_once))
            train_alone.main(json.loads(what.read_text()))
        return
    shared = {IMAGES_AT_ONCE: str(at_once)} if at_once else {}
    start_alone("train_alone.py", what, processes, shared)


def start_alone(script: str, argument: Path, processes: int, shared: dict[str, str]) -> None:
    """Runs a script of this folder in several processes, to their end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = shared | {
        "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    command = [sys.executable, str(Path(__file__).with_name(script)), str(argument)]
    running = []
    for rank in range(processes):
        of_rank = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        running.append(
            subprocess.Popen(
                command, env=os.environ | shared | of_rank, stderr=subprocess.PIPE, text=True
            )
        )
    for process in running:
        _, said = process.communicate(timeout=240)
        assert process.returncode == 0, said
        for noise in ("FutureWarning", "unused parameters"):
            assert noise not in said


def assert_alike(first, second, tolerance=1e-5):
    (history, weights), (other_history, other_weights) = first, second
    assert [row[:2] for row in history] == [row[:2] for row in other_history]
    assert len(history) > 8
    for (*_, value), (*_, other) in zip(history, other_history, strict=True):
        assert value == pytest.approx(other, rel=tolerance)
    assert weights.keys() == other_weights.keys()
    names = [name for name in weights if name.startswith("model.")]
    one, other = (
        torch.cat([of[name].double().flatten() for name in names])
        for of in (weights, other_weights)
    )
    assert (one - other).norm() <= tolerance * one.norm()


@pytest.mark.parametrize("method", ["hoiclip", "gen_vlkt"])
def test_parts_of_a_batch_are_the_batch(trained, method):
    assert_alike(trained(at_once=3, method=method), trained(method=method))


def test_two_processes_are_one(trained):
    assert_alike(trained(processes=2), trained())


def test_two_processes_go_on_where_one_was_told_to_stop(trained):
    """From the same state, within an epoch."""
    assert_alike(trained(processes=2, stop=1), trained())


def test_the_first_step_of_a_process_is_no_other_than_later_ones(tmp_path):
    """Or three that go on after a kill would not make the bits of three that did not stop.

    Of two processes the order of sums is one and the same, however gradients travel.
    """
    start_alone("steps_alone.py", tmp_path / "hashes.json", 3, {})
    hashes = json.loads((tmp_path / "hashes.json").read_text())
    assert hashes == [hashes[0]] * 3


@pytest.mark.slow
def test_two_processes_of_gen_vlkt_are_one(trained):
    assert_alike(trained(processes=2, method="gen_vlkt"), trained(method="gen_vlkt"))


@pytest.mark.slow
def test_two_processes_with_parts_of_unequal_number_are_one(trained):
    """Of five images the first process has two parts, the second one."""
    assert_alike(trained(processes=2, at_once=2, batch_size=5), trained(batch_size=5))


def test_bfloat16_is_near(trained):
    assert_alike(trained(precision="bf16"), trained(), tolerance=0.02)
    assert trained(precision="bf16")[0] != trained()[0]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["hoiclip", "gen_vlkt"])
def test_a_compiled_network_learns_the_same(trained, method):
    assert_alike(trained(compile=True, method=method), trained(method=method))


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["hoiclip", "gen_vlkt"])
def test_a_gpu_learns_what_the_cpu_learns(trained, method):
    assert_alike(trained(device="cuda", method=method), trained(method=method), tolerance=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["hoiclip", "gen_vlkt"])
def test_a_step_waits_for_a_gpu_to_match_and_no_further(trained, method, monkeypatch):
    step, match = Engine.step, HungarianMatcher.every_layer

    @contextmanager
    def waits(mode):
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode(mode)
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)

    def strict(self, parts, number):
        # In the first step what lasts is sent to the device.
        with waits("error" if number else "default"):
            return step(self, parts, number)

    def allowed(self, outputs, targets):
        with waits("default"):
            return match(self, outputs, targets)

    monkeypatch.setattr(Engine, "step", strict)
    monkeypatch.setattr(HungarianMatcher, "every_layer", allowed)
    trained(device="cuda", method=method, epochs=2)


@pytest.mark.gpu
def test_a_gpu_may_be_named(trained):
    last = f"cuda:{torch.cuda.device_count() - 1}"
    assert_alike(trained(device=last), trained(), tolerance=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("changes", "tolerance"),
    [
        ({"at_once": 3}, 1e-5),
        ({"compile": True}, 1e-4),
        ({"precision": "bf16"}, 0.02),
        ({"compile": True, "precision": "bf16"}, 0.02),
    ],
    ids=["parts", "compiled", "bfloat16", "both"],
)
def test_a_gpu_learns_the_same_in_every_way(trained, changes, tolerance):
    assert_alike(trained(device="cuda", **changes), trained(device="cuda"), tolerance)


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_learn_what_one_learns(trained):
    assert_alike(trained(processes=2, device="cuda"), trained(device="cuda"), tolerance=1e-4)


def test_every_step_and_process_draws_anew():
    drawn = itertools.product((0, 1), range(9), (0, 1))
    assert len({seed_of_step(*each) for each in drawn}) == 36
