"""What a method's stages said, from their summaries to the file that the report reads."""

import json
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from hoiclip.core.config import chosen_method
from hoiclip.core.files import write_json
from hoiclip.errors import InputError, ParamsError
from hoiclip.methods.summary import MethodSummary, method_file

ROOT = Path(__file__).parents[2]


def test_summaries_are_gathered_in_the_order_of_stages(tmp_path):
    write_json(tmp_path / "mine/train/summary.json", {"steps": 4})
    write_json(tmp_path / "mine/crops/summary.json", {})
    write_json(tmp_path / "other/train/summary.json", {"steps": 9})
    summary = MethodSummary.gather(tmp_path, "mine", "Mine", ("crops", "train"), {"images": 2})
    assert list(summary.stages.items()) == [
        ("crops", {}),
        ("train", {"steps": 4}),
        ("predict", {"images": 2}),
    ]
    summary.write(tmp_path)
    again = MethodSummary.read(tmp_path, "mine")
    assert again == summary
    assert list(again.stages) == ["crops", "train", "predict"]
    assert method_file(tmp_path, "mine") == tmp_path / "mine/predict/method.json"


@pytest.mark.parametrize(
    "file", sorted((ROOT / "methods").glob("*/dvc.yaml")), ids=lambda file: file.parent.name
)
def test_predict_gathers_every_stage_of_its_method_in_their_order(tmp_path, monkeypatch, file):
    """The list that the stage holds is that of the method's dvc.yaml."""
    method = file.parent.name
    stage = import_module(f"stages.{method}.predict")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "launch", lambda: None)
    monkeypatch.setattr(stage, "predict_test", lambda *arguments: {})
    names = list(yaml.safe_load(file.read_text(encoding="utf-8"))["stages"])
    for name in names:
        write_json(f"runs/{method}/{name}/summary.json", {})
    stage.main(Path("params.yaml"))
    assert list(MethodSummary.read("runs", method).stages) == names


@pytest.mark.parametrize("content", [None, "[]", "3"])
def test_a_summary_that_is_none_is_told(tmp_path, content):
    path = tmp_path / "mine/train/summary.json"
    if content is not None:
        path.parent.mkdir(parents=True)
        path.write_text(content)
    with pytest.raises(InputError, match=r"mine/train/summary\.json: "):
        MethodSummary.gather(tmp_path, "mine", "Mine", ("train",), {})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "other"}, "name: 'other', expected 'mine'"),
        ({"title": None}, "title: missing, or no str"),
        ({"stages": {"train": {}}}, "stages: missing, or no list"),
        ({"stages": ["train"]}, "row 0, stages: expected an object with stage and summary"),
        (
            {"stages": [{"stage": "a", "summary": {}}, {"stage": "train", "summary": 3}]},
            "row 1, stages: expected an object with stage and summary",
        ),
    ],
)
def test_a_file_of_another_form_is_one_line(tmp_path, change, said):
    MethodSummary("mine", "Mine", {"train": {}}).write(tmp_path)
    path = method_file(tmp_path, "mine")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError) as info:
        MethodSummary.read(tmp_path, "mine")
    assert str(info.value) == f"{path}, {said}. Run predict again"


def test_a_method_is_a_name_and_no_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where there are no methods to choose from
    path = tmp_path / "params.yaml"
    path.write_text("method: clip_distill2\n")
    assert chosen_method(path) == "clip_distill2"
    for text in ("a: 1", "method:", "method: 3", "method: ../x", "method: a/b", "method: ''",
                 "method: Mine", "method: [a]", 'method: "a\\n"'):  # fmt: skip
        path.write_text(f"{text}\n")
        with pytest.raises(ParamsError, match=r"params\.yaml: method: .*expected the name"):
            chosen_method(path)
