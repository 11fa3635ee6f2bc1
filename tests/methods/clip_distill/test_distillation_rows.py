"""The rows that stand beside the student, on a tiny world."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from label_free_world import PARAMS, QUERIES, make_project, write_short_params

from hoiclip.cli import main
from hoiclip.errors import HoiclipError
from hoiclip.experiments import distillation
from hoiclip.experiments.distillation import STUDENTS
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
        "CLIP on crops alone", "Teacher alone", "Teacher, null prompt",
        "Teacher, padded, whole image", "Teacher of the student", "Student, union",
        "Student, shuffled teacher",
    ]  # fmt: skip
    crops, alone = (row["metrics"]["default"] for row in rows[:2])
    assert all(abs(alone[name] - value) <= 0.01 for name, value in crops.items())
    best = max(row["metrics"]["default"]["full"] for row in rows[3:5])
    for row in rows[5:]:
        assert row["beats_teacher"] == (row["metrics"]["default"]["full"] > best)
        assert row["seconds"] > 0
    assert len(named_rows({"rows": rows}, Path("x"))) == len(rows)
    # What has a result is kept; a student is held against the better of its teachers.
    teacher = Path("results/runs/distill-teacher.json")
    value = json.loads(teacher.read_text())
    for row, full in zip(value["rows"], (90.0, 80.0, 70.0, 50.0, 40.0), strict=True):
        row["metrics"]["default"]["full"] = full
    teacher.write_text(json.dumps(value))
    for name, full in (("union", 51.0), ("shuffled", 45.0)):
        kept = Path(f"results/runs/distill-{name}.json")
        value = json.loads(kept.read_text())
        value["metrics"]["default"]["full"] = full
        kept.write_text(json.dumps(value))
    assert main(["distillation", "--students"]) == 0
    rows = json.loads(Path("results/distillation.json").read_text())["rows"]
    assert [row.get("beats_teacher") for row in rows[5:]] == [True, False]


def test_a_teacher_that_is_not_clip_on_crops_ends_it(project, monkeypatch):
    monkeypatch.setattr(distillation, "EQUAL", -1.0)
    with pytest.raises(HoiclipError, match="the teacher alone has full"):
        distillation.run_distillation(PARAMS, Path("runs"), Path("out.json"), [])
    assert not Path("out.json").exists()


def test_students_are_known_by_name(tmp_path):
    with pytest.raises(HoiclipError, match="no student 'none'; there are all, global, union"):
        distillation.run_distillation(PARAMS, tmp_path, tmp_path / "out.json", ["none"])


def test_overrides_of_students_exist(params):
    for student in STUDENTS:
        changed = with_overrides(params, student.overrides)
        assert (changed != params) == bool(student.overrides)
