"""Prediction files of public reports, with the right answers beside them."""

from __future__ import annotations

import json

import pytest
from hico_worlds import SHARED

from hoiclip.cli import main

CASES = SHARED / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not here")


def evaluate(capsys, monkeypatch, folder, *arguments):
    monkeypatch.chdir(CASES / folder)
    code = main(["evaluate", *arguments])
    captured = capsys.readouterr()
    return (json.loads(captured.out) if code == 0 else None), captured.err


@pytest.mark.parametrize(
    ("name", "numbering"),
    [("class80", "hoi"), ("minus1", "hoi"), ("qpic_class80", "zero-based")],
)
def test_a_class_of_no_object(capsys, monkeypatch, name, numbering):
    found, _ = evaluate(
        capsys, monkeypatch, "vcoco-missing-object-class", f"{name}.json", "vcoco_hidden.json",
        "--coco", "coco.json", "--numbering", numbering,
    )  # fmt: skip
    assert found["vcoco"]["ap_role_scenario_1"] == pytest.approx(50.0)
    assert found["vcoco"]["ap_role_scenario_2"] == pytest.approx(50.0)


@pytest.mark.parametrize("name", ["preds", "results", "results_numpy2", "results_unwrapped"])
def test_results_in_a_string(capsys, monkeypatch, name):
    found, _ = evaluate(
        capsys, monkeypatch, "released-results-json", f"{name}.json", "annotations.json",
        "--numbering", "hoi",
    )  # fmt: skip
    assert found["default"]["full"] == pytest.approx(100.0)


@pytest.mark.parametrize("name", ["sparse", "with_nulls", "filled_as_cachetemplate"])
def test_a_list_with_what_was_detected_alone(capsys, monkeypatch, name):
    found, _ = evaluate(
        capsys, monkeypatch, "vcoco-sparse-list", f"{name}.json", "vcoco.json",
        "--coco", "coco.json",
    )  # fmt: skip
    values = found["vcoco"]
    keys = ("ap_agent", "ap_role_scenario_1", "ap_role_scenario_2")
    assert [values[key] for key in keys] == [pytest.approx(100.0)] * 3


def test_one_file_of_matlab_detections(capsys, monkeypatch):
    for path in ("detections_05.mat", "."):
        found, told = evaluate(
            capsys, monkeypatch, "official-matlab-detections", path, "annotations.json"
        )
        assert found is None
        (line,) = [line for line in told.splitlines() if not line.startswith("note:")]
        assert "Matlab detections" in line
        assert "detections_01.mat" in line
