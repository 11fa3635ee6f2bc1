"""The examples of docs/library.md run as they stand, and what documents name is there."""

import dataclasses
import importlib
import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from distill_method_world import make_method
from gen_vlkt_networks import config_of, fresh
from PIL import Image

from hoiclip.core import schema
from hoiclip.datasets.toy import toy_vocabulary
from hoiclip.images.store import ImageStore
from hoiclip.inference.predict import predict
from hoiclip.methods.gen_vlkt.model.method import GenVlktMethod

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
    assert names["rows"][0] == names["best"]
    assert len(names["scored"].score) > 0
    assert sum(names["losses"].values()) > 0
    assert len(names["images"]) == 1
    assert 0 <= names["full"] <= 100
    assert names["text"] == "a photo of a person inspecting an airplane"
    assert (folder / "imported/train/images.parquet").exists()


@pytest.mark.parametrize("method", ["gen_vlkt", "clip_distill"])
def test_the_first_example_runs_for_a_model_file_of_any_method(
    folder, make_detector, clip_config, method
):
    if method == "gen_vlkt":
        vocabulary, config = toy_vocabulary(), config_of()
        objects = vocabulary.num_objects + vocabulary.has_missing_objects + 1
        network = fresh(hois=vocabulary.num_hois, objects=objects)
        made = GenVlktMethod(network, vocabulary, config).eval()
    else:
        made = make_method(clip_config).eval()
    detector = dataclasses.replace(make_detector(), method=made)
    detector.save(folder / "model.safetensors")
    names: dict = {}
    exec(compile(EXAMPLES[0], "docs/library.md", "exec"), names)
    assert names["method"].name == method
    assert names["rows"]
    assert {name for name, _ in names["rows"]} <= {
        made.vocabulary.hoi_name(hoi) for hoi in range(made.vocabulary.num_hois)
    }
    if method == "gen_vlkt":
        pixels = torch.rand(1, 3, 64, 64)
        outputs = names["method"].network(pixels, None)
        assert outputs.clip_similarity is None


DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "raw/*/*.md", "weights/*/*.md")
    for path in ROOT.glob(pattern)
)
FOLDERS = ("benchmarks", "docs", "hoiclip", "methods", "params", "pipelines", "stages", "tests")
PATH = re.compile(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})/[\w./<>*{{}},-]*")
DOTTED = re.compile(r"(?<![\w./-])hoiclip(?:\.[A-Za-z_]\w*)+")


def named_in(path, pattern):
    """What a document names, without the full stop of a sentence."""
    found = pattern.findall(path.read_text(encoding="utf-8"))
    return sorted({name.rstrip(".,") for name in found})


def is_there(name):
    """Whether there is such a path; `<x>` and `*` stand for any name, `{a,b}` for each."""
    if braces := re.search(r"{([^{}]*)}", name):
        choices = braces[1].split(",")
        return all(is_there(name.replace(braces[0], choice, 1)) for choice in choices)
    return any(ROOT.glob(re.sub(r"<[^<>]*>", "*", name)))


def is_known(name, params):
    """Whether a dotted name is a key of params.yaml, a module, or what a module holds."""
    parts, value = name.split("."), params
    while parts and isinstance(value, dict) and parts[0] in value:
        value, parts = value[parts[0]], parts[1:]
    if not parts:
        return True
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            found = getattr(found, attribute, None)
        return found is not None
    return False


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_document_names_is_there(path, params):
    assert [name for name in named_in(path, PATH) if not is_there(name)] == []
    assert [name for name in named_in(path, DOTTED) if not is_known(name, params)] == []


def test_what_is_not_there_is_found(params):
    assert is_there("hoiclip/splits/splits.py")
    assert is_there("methods/<method>/dvc.yaml")
    assert not is_there("hoiclip/data/sources/")
    assert not is_there("hoiclip/{data,sources}")
    assert is_known("hoiclip.enhancement.k", params)
    assert is_known("hoiclip.splits.splits.SplitsConfig", params)
    assert not is_known("hoiclip.data.sources", params)
    assert not is_known("hoiclip.splits.splits.Sources", params)


@pytest.fixture(scope="module")
def stages():
    """deps and outs of every stage, by file and name."""
    found = {}
    for path in (ROOT / "dvc.yaml", *(ROOT / "methods").glob("*/dvc.yaml")):
        for name, stage in yaml.safe_load(path.read_text(encoding="utf-8"))["stages"].items():
            outs = [entry for key in ("outs", "metrics", "plots") for entry in stage.get(key, [])]
            paths = [next(iter(out)) if isinstance(out, dict) else out for out in outs]
            found[path.parent.name if path.parent != ROOT else "", name] = stage["deps"], paths
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_of_runs_in_documents_are_outputs(path, stages):
    outs = {out for _, outs in stages.values() for out in outs}
    named = re.findall(r"(?<![\w./-])runs/[\w./]+\.\w+", path.read_text(encoding="utf-8"))
    within = {str(parent) for out in outs for parent in (Path(out), *Path(out).parents)}
    missing = {name for name in named if name not in within
               and not any(name.startswith(f"{out}/") for out in outs)}  # fmt: skip
    assert missing == set()


def test_models_in_documents_are_those_that_the_stage_predict_takes(stages):
    taken = {dep for (_, name), (deps, _) in stages.items() if name == "predict" for dep in deps}
    named = {
        name
        for path in DOCUMENTS
        for name in re.findall(r"--weights (runs/\S+)", path.read_text(encoding="utf-8"))
    }
    assert named
    assert named <= taken


def test_the_diagram_of_the_readme_draws_dependencies_alone(stages):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    diagram = re.search(r"```mermaid\nflowchart LR\n(.*?)```", text, re.DOTALL)[1]
    of = {name: stage for (method, name), stage in stages.items() if method in ("", "hoiclip")}
    edges = [edge for line in diagram.splitlines() for edge in pairwise(line.split(" --> "))]
    assert {name.strip() for edge in edges for name in edge} == set(of)
    for before, after in (map(str.strip, edge) for edge in edges):
        deps = [dep.replace("${method}", "hoiclip") for dep in of[after][0]]
        assert set(of[before][1]) & set(deps), (before, after)
