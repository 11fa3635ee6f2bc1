"""The examples of docs/library.md run as they stand, one after the other."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hoiclip import schema
from hoiclip.data.images import ImageStore
from hoiclip.inference.predict import predict

ROOT = Path(__file__).parents[1]
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs/library.md").read_text(), re.DOTALL)
CSV = """file_name,width,height,human_x1,human_y1,human_x2,human_y2,object,\
object_x1,object_y1,object_x2,object_y2,verb
a.jpg,64,48,1,2,20,40,cup,18,20,24,26,hold
"""
VOCABULARY = {
    "objects": ["person", "cup"],
    "verbs": [{"name": "hold", "phrase": "holding"}],
    "hois": [["hold", "cup"]],
}


@pytest.fixture
def folder(tmp_path, monkeypatch, toy, make_detector, predict_config):
    """A working folder with every file that the examples name."""
    detector = make_detector()
    detector.save(tmp_path / "model.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg")
    shutil.copy(toy.folder / "vocabulary.parquet", tmp_path)
    shutil.copy(toy.folder / "splits/classes.parquet", tmp_path)
    shutil.copytree(toy.folder / "annotations", tmp_path / "annotations")
    store = ImageStore(toy.folder / "images/test")
    (table,) = predict(
        detector,
        toy.test.images,
        store,
        predict_config,
        detector.method.device,
    )
    schema.write_table(tmp_path / "predictions.parquet", table, schema.PREDICTIONS, {})
    (tmp_path / "train.csv").write_text(CSV)
    (tmp_path / "vocabulary.json").write_text(json.dumps(VOCABULARY))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples_run(folder):
    names: dict = {}
    for example in EXAMPLES:
        exec(compile(example, "docs/library.md", "exec"), names)
    assert names["outputs"].hoi_logits.shape[1] == 1
    assert len(names["scored"].score) > 0
    assert sum(names["losses"].values()) > 0
    assert len(names["images"]) == 1
    assert 0 <= names["full"] <= 100
    assert names["text"] == "a photo of a person inspecting an airplane"
    assert (folder / "imported/train/images.parquet").exists()
