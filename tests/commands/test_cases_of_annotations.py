"""Annotation files from public reports, each with its right answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from hoiclip.cli import main

CASES = Path(__file__).parents[3] / "shared" / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="needs the shared cases")


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs a line in a case's folder: what was printed, or null, and standard error."""

    def run(case, line):
        monkeypatch.chdir(CASES / case)
        code = main(line.split())
        captured = capsys.readouterr()
        return (captured.out if code == 0 else None), captured.err

    return run


def full(told):
    return json.loads(told)["default"]["full"]


@pytest.mark.parametrize("numbering", ["", " --numbering hoia", " --numbering one-based"])
@pytest.mark.parametrize(
    "files",
    [
        "predictions_13_15.json annotations_13_15.json",
        "predictions.json annotations.json",
        "predictions.json annotations_without_hoi_category_id.json",
        "predictions.json annotations_without_hoi_category_id.json --drop-unknown",
        "predictions.json annotations.json --annotation-numbering one-based",
    ],
)
def test_own_objects_in_hoia(run, files, numbering):
    line = f"evaluate {files} --vocabulary vocabulary.json{numbering}"
    told, error = run("custom-hoia-objects", line)
    assert full(told) == pytest.approx(100.0), error


def test_own_objects_in_hoia_are_imported(run, tmp_path):
    for i in range(16):
        Image.new("RGB", (100, 100)).save(tmp_path / f"site_{i:04d}.jpg")
    out = tmp_path / "out"
    line = f"import annotations.json {out} --vocabulary vocabulary.json --images {tmp_path}"
    assert run("custom-hoia-objects", line)[0] is not None
    told, error = run("custom-hoia-objects", f"evaluate predictions.json {out} --numbering hoia")
    assert full(told) == pytest.approx(100.0), error


@pytest.mark.parametrize(
    ("name", "score", "note"),
    [
        ("h_norm", 0.0, "all 388 boxes of the predictions lie within 1 pixel"),
        ("h_resized", 0.0, "reach beyond the stated image size"),
        ("h_ok", 100.0, None),
    ],
)
def test_boxes_of_another_frame(run, name, score, note):
    told, error = run("boxes-other-frame", f"evaluate {name}.json hico60.json")
    assert full(told) == pytest.approx(score)
    if note is not None:
        assert note in error
    else:
        assert "boxes" not in error


def test_own_classes_in_the_instances_form(run, tmp_path):
    case, line = "custom-hicodet-instances", "evaluate pred.json instances_test.json"
    told, _ = run(case, f"{line} --vocabulary voc.json")
    assert full(told) == pytest.approx(50.0)
    told, error = run(case, line)
    assert told is None
    assert "'wrench' is not in the vocabulary" in error
    assert "--vocabulary FILE.json" in error
    out = tmp_path / "out"
    assert run(case, f"import instances_test.json {out} --vocabulary voc.json")[0] is not None
    told, _ = run(case, f"evaluate pred.json {out} --numbering hoia")
    assert full(told) == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("files", "row", "name", "known"),
    [
        ("ok.csv OUT --vocabulary v_us.json", "row 0", "'cell phone'", "'cell_phone'"),
        ("c.json OUT --vocabulary v.json", "row 1", "'cell_phone'", "'cell phone'"),
    ],
)
def test_an_unknown_class_is_named(run, tmp_path, files, row, name, known):
    line = f"import {files}".replace("OUT", str(tmp_path / "out"))
    told, error = run("class-named-in-error", line)
    assert told is None
    assert all(part in error for part in (row, name, f"like {known}, which is known"))


@pytest.mark.parametrize(
    "files",
    [
        "p3.json a3.json --vocabulary voc3.json --numbering hoia",
        "strbox.json a.json",
        "score_str.json a.json",
    ],
)
def test_numbers_as_text(run, files):
    told, error = run("numbers-as-text", f"evaluate {files}")
    assert full(told) == pytest.approx(100.0), error


def test_sizes_as_text_with_a_point(run, tmp_path):
    line = f"import floatsize.csv {tmp_path / 'out'} --vocabulary v.json"
    told, error = run("numbers-as-text", line)
    assert told is not None, error
    assert ["interactions", "1"] in [row.split() for row in told.splitlines()]
