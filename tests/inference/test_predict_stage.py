"""Predictions of a data set's test images, from a model file to a table, in shards."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from hoiclip import passes
from hoiclip.core import schema
from hoiclip.inference.test_images import IMAGES, STORE, predict_test
from hoiclip.methods.hoiclip.model.method import HoiclipMethod

OUT = Path("out")


@pytest.fixture
def predicted(tmp_path, toy, params, make_detector, monkeypatch):
    """A function that predicts the toy world's test images and gives the bytes of the table."""
    (tmp_path / IMAGES).parent.mkdir(parents=True)
    schema.write_table(tmp_path / IMAGES, toy.test.images, schema.IMAGES, {})
    shutil.copytree(toy.folder / "images/test", tmp_path / STORE)
    make_detector().save(tmp_path / "model.safetensors")
    settings = params["predict"] | {"threads": 1, "batch_size": 4}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"predict": settings}))
    monkeypatch.chdir(tmp_path)

    def run() -> tuple[bytes, dict]:
        arguments = Path("params.yaml"), Path("model.safetensors"), OUT, Path(".checkpoints")
        said = predict_test(HoiclipMethod, *arguments)
        return (OUT / "predictions.parquet").read_bytes(), said

    return run


def test_a_kill_changes_no_byte_and_costs_one_shard(predicted, shards, monkeypatch):
    monkeypatch.setattr(passes, "SHARD", 10)
    whole, said = predicted()
    assert said["images"] > 20
    assert said["predictions"] == len(schema.read_table(OUT / "predictions.parquet"))
    assert not list(Path(".checkpoints/predict").iterdir())
    before = shards.kill(predicted, after=2)
    assert predicted()[0] == whole
    assert not set(shards.made) & set(before)
    assert len(shards.made) == -(-said["images"] // 10) - 2


def test_other_settings_take_no_shards_of_these(predicted, monkeypatch):
    monkeypatch.setattr(passes, "SHARD", 10)
    whole, said = predicted()
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["predict"]["top_k"] = 3
    Path("params.yaml").write_text(yaml.safe_dump(params))
    fewer, found = predicted()
    assert fewer != whole
    assert found["predictions"] <= 3 * found["images"] < said["predictions"]
