"""What CLIP on crops and the teacher reach without training, on a tiny world."""

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
from hoiclip.experiments import measure
from hoiclip.experiments.measure import EQUAL, check_equal, measure_teacher


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
    return tmp_path


def test_rows_by_the_command_line(project, capsys):
    assert main(["measure", "teacher", "--out", "teacher.json"]) == 0
    assert main(["measure", "crops", "--out", "crops.json"]) == 0
    assert capsys.readouterr().out == "teacher.json\ncrops.json\n"
    rows = json.loads(Path("teacher.json").read_text())["rows"]
    assert [row["name"] for row in rows] == [
        "CLIP on crops alone", "Teacher alone", "Teacher, null prompt", "Teacher, padded",
        "Teacher, padded, whole image", "Teacher of the student",
        "Teacher of the student, CLIP's own scale",
    ]  # fmt: skip
    crops, alone = (row["metrics"]["default"] for row in rows[:2])
    assert all(abs(alone[name] - value) <= EQUAL for name, value in crops.items())
    own = json.loads(Path("crops.json").read_text())
    assert own["metrics"] == rows[0]["metrics"]
    assert own["cpu_seconds"] > 0


def test_a_teacher_that_is_not_clip_on_crops_ends_it(project, monkeypatch):
    def metrics(full: float) -> dict:
        return {"metrics": {"default": {"full": full, "rare": None}}}

    fulls = [50.0 + EQUAL / 2, 61.0]
    monkeypatch.setattr(measure, "score_crops_alone", lambda *a: metrics(50.0))
    monkeypatch.setattr(
        measure,
        "score_teacher_alone",
        lambda *a: ({"name": str(full), "what": "", **metrics(full)} for full in fulls),
    )
    assert len(measure_teacher(PARAMS)["rows"]) == 3
    fulls[0] = 50.0 + 2 * EQUAL
    with pytest.raises(HoiclipError, match=r"teacher alone has full 50.020, .* 50.000"):
        measure_teacher(PARAMS)


def test_equal_in_every_subset_that_crops_have():
    check_equal({"full": 1.0, "rare": None}, {"full": 1.0 + EQUAL / 2, "rare": 3.0})
    check_equal({}, {})
    for other in ({"full": 1.0 + 2 * EQUAL}, {"full": None}, {}):
        with pytest.raises(HoiclipError, match="the teacher alone has full"):
            check_equal({"full": 1.0}, other)


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
        measure_teacher(file)
    assert "\n" not in str(error.value)
