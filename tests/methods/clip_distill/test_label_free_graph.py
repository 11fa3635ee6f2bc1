"""No label can reach CLIP distillation: by the graph of its stages."""

from __future__ import annotations

import dataclasses
from pathlib import Path, PurePosixPath

import networkx as nx
import pytest
import yaml
from label_free_world import label_free_methods

from hoiclip.methods.clip_distill.caches.config import DetectionsConfig

ROOT = Path(__file__).parents[3]
# Of a partition, all that the method may read.
TABLES = {"train": "data/annotations/train/images.parquet",
          "test": "data/annotations/test/images.parquet"}  # fmt: skip
# And beside it, the partition's images and the method's own caches and runs aside.
ALLOWED = {
    "data/vocabulary.parquet",
    "caches/text_embeddings.parquet",
    "caches/weights/clip.safetensors",
    "caches/weights/detector.safetensors",
}
# Stages that work on labels; `dataset` makes the tables, of which each is a dep by itself.
LABELLED = {"splits", "evaluate", "report"}


def read(file: str, prefix: str = "") -> dict[str, dict]:
    stages = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))["stages"]
    return {prefix + name: stage for name, stage in stages.items()}


STAGES = read("dvc.yaml") | read("methods/clip_distill/dvc.yaml", "own.")
HOICLIP = read("dvc.yaml") | read("methods/hoiclip/dvc.yaml", "own.")


def paths(stage: dict, *keys: str) -> list[str]:
    entries = [entry for key in keys for entry in stage.get(key, [])]
    return [name for entry in entries for name in ([entry] if isinstance(entry, str) else entry)]


def within(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)


def graph(stages: dict[str, dict]) -> nx.DiGraph:
    found = nx.DiGraph()
    found.add_nodes_from(stages)
    for name, stage in stages.items():
        for other, source in stages.items():
            outs = paths(source, "outs", "metrics", "plots")
            if any(within(d, o) or within(o, d) for d in paths(stage, "deps") for o in outs):
                found.add_edge(other, name)
    return found


def is_code(path: str) -> bool:
    """Whether a dep is a module or a folder of the package, data files of its own included."""
    return path.endswith(".py") or within(path, "hoiclip")


def beyond(deps: list[str], partition: str, method: str = "clip_distill") -> list[str]:
    """Deps that are neither code nor what the method may read."""
    allowed = ALLOWED | {TABLES[partition], f"data/images/{partition}"}
    folders = (f"caches/{method}", f"runs/{method}")
    return [
        dep
        for dep in deps
        if not is_code(dep)
        and dep not in allowed
        and not any(within(dep, folder) and dep != folder for folder in folders)
    ]


def test_no_stage_that_works_on_labels_stands_before_it():
    before = nx.ancestors(graph(STAGES), "own.predict")
    assert before == {
        "dataset", "weights", "text_embeddings", "own.detections", "own.clip_scores", "own.train",
        "own.select",
    }  # fmt: skip
    assert not before & LABELLED


def test_its_stages_and_those_before_read_no_label():
    """They read what is listed here, whatever else there is."""
    own = {name for name in STAGES if name.startswith("own.")} - {"own.predict"}
    read_by_any = set()
    for name in own:
        deps = paths(STAGES[name], "deps")
        assert beyond(deps, "train") == [], name
        read_by_any |= {dep for dep in deps if not is_code(dep)}
    assert beyond(paths(STAGES["own.predict"], "deps"), "test") == []
    # Each entry of the list is needed.
    assert {TABLES["train"], "data/images/train", *ALLOWED} <= read_by_any
    # What makes two of them reads no data but the vocabulary.
    before = nx.ancestors(graph(STAGES), "own.predict") - own - {"dataset"}
    assert before == {"weights", "text_embeddings"}
    for name in before:
        deps = set(beyond(paths(STAGES[name], "deps"), "train"))
        assert deps <= {"${weights.raw}"}, name


@pytest.mark.parametrize("method", label_free_methods())
def test_a_method_that_says_it_uses_no_labels_reads_none(method):
    for name, stage in read(f"methods/{method}/dvc.yaml").items():
        partition = "test" if name == "predict" else "train"
        assert beyond(paths(stage, "deps"), partition, method) == [], name


def test_a_change_of_pairs_alone_detects_nothing_anew():
    """Every other key of the rule is a param of the stage."""
    keys = {key for key in paths(STAGES["own.detections"], "params")
            if key.startswith("clip_distill.detections")}  # fmt: skip
    rule = {field.name for field in dataclasses.fields(DetectionsConfig)} - {"max_pairs"}
    assert keys == {f"clip_distill.detections.{name}" for name in rule}


def test_its_params_are_its_own():
    """No threshold and no epoch comes from a section that labels were used to fill."""
    for name, stage in STAGES.items():
        own = [key for key in paths(stage, "params") if not key.startswith("clip_distill.")]
        if name == "own.predict":
            assert own == ["predict"]
        elif name.startswith("own."):
            assert set(own) <= {"model.detector"}, name


def test_the_rules_see_what_they_forbid():
    """Else the tests above would hold of anything."""
    assert "splits" in nx.ancestors(graph(HOICLIP), "own.train")
    deps = paths(HOICLIP["own.train"], "deps")
    assert beyond(deps, "train") == [
        "data/splits/train", "data/splits/classes.parquet", "caches/verb_vectors.parquet",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "dep",
    [
        "data",
        "data/annotations",
        "data/annotations/train",
        "data/annotations/train/interactions.parquet",
        "data/images/test",
        "data/splits/train",
        "data/splits/classes.parquet",
        "caches",
        "caches/verb_vectors.parquet",
        "caches/weights",
        "caches/weights/verb_vectors.parquet",
        "runs/hoiclip/train/model.safetensors",
        "runs/gen_vlkt/select/model.safetensors",
        "raw/toy",
        "raw/hico_det/anno_bbox.mat",
        "${dataset.raw}",
    ],
)
def test_what_tells_of_labels_is_not_allowed(dep):
    assert beyond([dep], "train") == [dep]
