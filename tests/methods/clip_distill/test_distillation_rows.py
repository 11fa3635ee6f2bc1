"""The rows that stand beside the student, on a tiny world."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from label_free_world import PARAMS, QUERIES, make_project, write_short_params

from hoiclip.cli import main
from hoiclip.errors import HoiclipError, ParamsError
from hoiclip.experiments import distillation
from hoiclip.experiments.distillation import EQUAL, STUDENTS
from hoiclip.experiments.run import with_overrides
from hoiclip.report.results import named_rows
from stages.clip_distill import clip_scores, detections


@pytest.fixture
def project(tmp_path, toy, model_config, params, monkeypatch) -> Path:
    make_project(tmp_path, toy, model_config, params)
    write_short_params(tmp_path, model_config, params)
    value = yaml.safe_load((tmp_path / "params.yaml").read_text())
    value["model"] = {
        "num_queries": QUERIES, "decoder_layers": 2, "detector": asdict(model_config.detector),
    }  # fmt: skip
    value["dataset"] = {"source": "toy"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(value))
    shutil.copytree(toy.folder / "annotations/test", tmp_path / "data/annotations/test")
    shutil.copytree(toy.folder / "images/test", tmp_path / "data/images/test")
    shutil.copytree(toy.folder / "splits", tmp_path / "data/splits")
    monkeypatch.chdir(tmp_path)
    detections.main(PARAMS)
    clip_scores.main(PARAMS)
    return tmp_path


def test_rows_by_the_command_line(project, capsys):
    assert main(["distillation", "--students", "union", "shuffled"]) == 0
    assert capsys.readouterr().out == "results/distillation.json\n"
    rows = json.loads(Path("results/distillation.json").read_text())["rows"]
    assert [row["name"] for row in rows] == [
        "CLIP on crops alone", "Teacher alone", "Teacher, null prompt", "Teacher, padded",
        "Teacher, padded, whole image", "Teacher of the student",
        "Teacher of the student, CLIP's own scale", "Student, union", "Student, shuffled teacher",
    ]  # fmt: skip
    crops, alone = (row["metrics"]["default"] for row in rows[:2])
    assert all(abs(alone[name] - value) <= 0.01 for name, value in crops.items())
    best = max(row["metrics"]["default"]["full"] for row in rows[:7])
    for row in rows[7:]:
        assert row["beats_teacher"] == (row["metrics"]["default"]["full"] > best)
        assert row["seconds"] > 0
    assert len(named_rows({"rows": rows}, Path("x"))) == len(rows)
    # What has a result is kept; a student is held against the best row without one.
    set_full("teacher", 20.0, 20.0, 70.0, 30.0, 50.0, 40.0, 10.0)
    set_full("union", 71.0)
    set_full("shuffled", 69.0)
    assert main(["distillation", "--students"]) == 0
    rows = json.loads(Path("results/distillation.json").read_text())["rows"]
    assert [row.get("beats_teacher") for row in rows[7:]] == [True, False]
    # Of other settings or files nothing is kept that nobody asks to compute anew.
    value = yaml.safe_load(PARAMS.read_text())
    value["clip_distill"]["train"]["lr"] *= 2
    PARAMS.write_text(yaml.safe_dump(value))
    assert main(["distillation", "--students"]) == 0
    rows = json.loads(Path("results/distillation.json").read_text())["rows"]
    assert len(rows) == 7
    assert rows[2]["metrics"]["default"]["full"] != 70.0


def set_full(name: str, *values: float) -> None:
    """Writes Full mAPs into the rows of a result file."""
    file = Path(f"results/runs/distill-{name}.json")
    content = json.loads(file.read_text())
    for row, full in zip(content.get("rows", [content]), values, strict=True):
        row["metrics"]["default"]["full"] = full
    file.write_text(json.dumps(content))


def test_a_result_belongs_to_settings_networks_and_data(project):
    def identity(overrides=None) -> str:
        return distillation._identity(PARAMS, overrides or {})

    first = identity()
    assert first == identity()
    found = {first, identity({"clip_distill.teacher.shuffle": True})}
    for name in ("caches/weights/detector.safetensors", "caches/weights/clip.safetensors",
                 "data/annotations/train/images.parquet", "data/annotations/test/images.parquet",
                 "data/annotations/test/interactions.parquet"):  # fmt: skip
        content = Path(name).read_bytes()
        Path(name).write_bytes(content + b"x")
        found.add(identity())
        Path(name).write_bytes(content)
    assert len(found) == 2 + 5
    value = yaml.safe_load(PARAMS.read_text())
    value["predict"]["top_k"] += 1
    PARAMS.write_text(yaml.safe_dump(value))
    assert identity() not in found


@pytest.fixture
def passes(monkeypatch):
    """Metrics in the place of the passes: CLIP on crops and six rows of the teacher."""

    def metrics(full: float) -> dict:
        return {"metrics": {"default": {"full": full, "rare": None}}}

    fulls = [50.0, 60.0, 61.0, 62.0, 63.0, 64.0]
    monkeypatch.setattr(distillation, "score_crops_alone", lambda *a: metrics(50.0))
    monkeypatch.setattr(
        distillation,
        "score_teacher_alone",
        lambda *a: ({"name": str(full), "what": "", **metrics(full)} for full in fulls),
    )
    return fulls


def test_a_teacher_that_is_not_clip_on_crops_ends_it(project, passes):
    runs, out = Path("runs"), Path("out.json")
    passes[0] = 50.0 + 2 * EQUAL
    with pytest.raises(HoiclipError, match=r"teacher alone has full 50.020, .* 50.000"):
        distillation.run_distillation(PARAMS, runs, out, [])
    assert not list(runs.glob("distill*"))
    assert not out.exists()


def test_equality_is_checked_whenever_rows_are_gathered(project, passes):
    runs, out = Path("runs"), Path("out.json")
    passes[0] = 50.0 + EQUAL / 2
    distillation.run_distillation(PARAMS, runs, out, [])
    out.unlink()
    file = runs / "distill-teacher.json"
    content = json.loads(file.read_text())
    content["rows"][1]["metrics"]["default"]["full"] += 2 * EQUAL
    file.write_text(json.dumps(content))
    with pytest.raises(HoiclipError, match="the teacher alone has full"):
        distillation.run_distillation(PARAMS, runs, out, [])
    assert not out.exists()


@pytest.mark.parametrize(
    ("section", "key", "value", "told"),
    [
        ("dataset", "source", "hico_det", "dataset.source: 'hico_det', but .* toy world alone"),
        ("model", "num_queries", 5, "detections.num_queries: 6, but model.num_queries is 5"),
    ],
)
def test_other_data_than_the_toy_world_is_refused(tmp_path, params, section, key, value, told):
    params = copy.deepcopy(params)
    params["model"]["num_queries"] = params["clip_distill"]["detections"]["num_queries"] = 6
    params[section][key] = value
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(params))
    with pytest.raises(ParamsError, match=told) as error:
        distillation.run_distillation(file, tmp_path / "runs", tmp_path / "out.json", [])
    assert "\n" not in str(error.value)


def test_students_are_known_by_name(tmp_path):
    with pytest.raises(HoiclipError, match="no student 'none'; there are all, global, union"):
        distillation.run_distillation(PARAMS, tmp_path, tmp_path / "out.json", ["none"])


def test_overrides_of_students_exist(params):
    for student in STUDENTS:
        changed = with_overrides(params, student.overrides)
        assert (changed != params) == bool(student.overrides)
