"""The stage `train` and the state of an interrupted training."""

import dataclasses
import sys

import pytest
import yaml

from hoiclip.stage_main import run_stage
from hoiclip.training.trainer import Trainer
from stages.hoiclip import train as stage

SMALL = {"threads": 1, "warm_start": False, "epochs": 1, "lr_drop_epoch": 1, "batch_size": 4}


def test_a_damaged_state_is_one_line_and_leaves_earlier_figures(
    toy, model_config, params, tmp_path, monkeypatch, capfd
):
    config = dataclasses.asdict(model_config)
    own = {key: config.pop(key) for key in ("interaction", "verb")}
    sections = {
        "model": config,
        "hoiclip": own | {"enhancement": params["hoiclip"]["enhancement"]},
        "train": params["train"] | SMALL,
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(sections))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "PATHS", toy.paths)
    monkeypatch.setattr(sys, "argv", ["train"])

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_finish", killed)
        with pytest.raises(SystemExit):
            run_stage("hoiclip/train", stage.main)
    (state,) = tmp_path.glob(".checkpoints/*/state.pt")
    figures = tmp_path / "runs/hoiclip/train/live/metrics.json"
    before = figures.read_bytes()
    whole = state.read_bytes()
    state.write_bytes(whole[:-1])
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        run_stage("hoiclip/train", stage.main)
    said = capfd.readouterr().err
    assert ended.value.code == 1
    assert said.startswith("error: .checkpoints/")
    assert said.count("\n") == 1
    assert figures.read_bytes() == before

    state.write_bytes(whole)
    run_stage("hoiclip/train", stage.main)
    assert (tmp_path / "runs/hoiclip/train/model.safetensors").exists()
    assert figures.read_bytes() == before
