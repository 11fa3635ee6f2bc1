"""No label can reach CLIP distillation: by the graph of its stages."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import networkx as nx
import yaml

ROOT = Path(__file__).parents[3]
# Of a partition, all that the method may read.
TABLES = {"train": "data/annotations/train/images.parquet",
          "test": "data/annotations/test/images.parquet"}  # fmt: skip
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


def labels_in(dep: str, *tables: str) -> bool:
    """Whether a dep holds, lies in or is more of the data than images and image tables."""
    if dep in tables or dep in ("data/vocabulary.parquet", "data/images/train"):
        return False
    return within(dep, "data") and not (
        within(dep, "data/images/test") and TABLES["test"] in tables
    )


def test_no_stage_that_works_on_labels_stands_before_it():
    before = nx.ancestors(graph(STAGES), "own.predict")
    assert before == {
        "dataset", "weights", "text_embeddings", "own.detections", "own.clip_scores", "own.train",
        "own.select",
    }  # fmt: skip
    assert not before & LABELLED


def test_its_stages_and_those_before_read_no_label():
    for name in nx.ancestors(graph(STAGES), "own.predict") - {"dataset"}:
        deps = paths(STAGES[name], "deps")
        assert [dep for dep in deps if labels_in(dep, TABLES["train"])] == [], name
    deps = paths(STAGES["own.predict"], "deps")
    assert [dep for dep in deps if labels_in(dep, TABLES["test"])] == []


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
    found = [dep for dep in deps if labels_in(dep, TABLES["train"])]
    assert found == ["data/splits/train", "data/splits/classes.parquet"]
    assert labels_in("data/annotations/train", TABLES["train"])
    assert labels_in("data", TABLES["train"])
    assert labels_in("data/images/test", TABLES["train"])
