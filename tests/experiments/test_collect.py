"""Results of experiments become the files that the report reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hoiclip.cli import main
from hoiclip.core.files import read_json, write_json
from hoiclip.errors import HoiclipError, InputError
from hoiclip.experiments.collect import GATHERERS, read_results
from hoiclip.report.results import READERS


@pytest.fixture
def gathered(tmp_path):
    """Gathers results, given as their labels and what else they hold; returns the file's content.

    Written by the command line, and read by the report.
    """

    def gathered(plan: str, *results: dict) -> dict:
        files = []
        for index, result in enumerate(results):
            files.append(str(tmp_path / f"{plan}-{index}.json"))
            value = {
                "seed": 0, "steps": 9, "seconds": 8.0, "cpu_seconds": 7.0, "machine": "one",
                "k": 5, "title": "T", "what": "", "metrics": {"default": {"full": 1.0}},
            }  # fmt: skip
            write_json(Path(files[-1]), value | result)
        assert main(["gather", plan, *files, "--results", str(tmp_path / "results")]) == 0
        out = tmp_path / "results" / f"{plan}.json"
        READERS[plan](read_json(out), out)
        return read_json(out)

    return gathered


def full(value: float, **more: object) -> dict:
    return {"metrics": {"default": {"full": value, "rare": None, "non_rare": None}}, **more}


def test_ablation_in_the_papers_order(gathered):
    results = [
        full(float(seed), labels={"row": row, "length": length}, seed=seed, dataset="toy")
        for row in ("verb", "free", "base") for length in ("quarter", "full") for seed in (1, 0)
    ]  # fmt: skip
    found = gathered("ablation", *results)
    assert found["dataset"] == "toy"
    assert [(row["length"], row["row"], row["seed"]) for row in found["rows"]] == [
        (length, row, seed)
        for length in ("full", "quarter") for row in ("base", "verb", "free") for seed in (0, 1)
    ]  # fmt: skip
    assert {"steps", "seconds", "machine", "metrics"} < found["rows"][0].keys()
    assert [row["metrics"]["default"]["full"] for row in found["rows"][:2]] == [0, 1]
    mixed = [results[0], {**results[1], "dataset": "hico_det"}]
    assert gathered("ablation", *mixed)["dataset"] is None


def test_an_unknown_row_is_named(tmp_path):
    results = [{"labels": {"row": "none"}, "path": tmp_path / "x.json"}]
    with pytest.raises(InputError, match=r"x.json, labels.row: 'none', expected one of base"):
        GATHERERS["ablation"](results)


def test_seeds_keep_what_validation_chose(gathered):
    runs = gathered("seeds", *(full(3.0 + seed, labels={}, seed=seed) for seed in (0, 1)))["runs"]
    assert [run["metrics"]["default"]["full"] for run in runs] == [3, 4]
    assert {"seed", "steps", "seconds", "cpu_seconds", "k", "machine"} < runs[0].keys()


@pytest.mark.parametrize("plan", ["honesty", "methods"])
def test_named_rows_have_cpu_seconds(gathered, plan):
    found = gathered(
        plan,
        full(1.0, labels={"row": "a"}, title="A", what="in words"),
        full(2.0, labels={"row": "b"}, title="B", name="Said by its stage", machine="two"),
    )
    assert [row["name"] for row in found["rows"]] == ["A", "Said by its stage"]
    assert [row["seconds"] for row in found["rows"]] == [7, 7]
    assert found["rows"][0]["what"] == "in words"
    assert "what" not in found["rows"][1]
    assert found["machine"] is None
    assert gathered(plan, full(1.0, labels={}))["machine"] == "one"


def teacher(*fulls: float) -> dict:
    rows = [{"name": str(i), "what": "", **full(value)} for i, value in enumerate(fulls)]
    rows[0]["cpu_seconds"] = 3.0
    return {"labels": {"row": "teacher"}, "rows": rows}


def test_students_are_held_against_the_best_row_without_one(gathered):
    rows = gathered(
        "distillation",
        full(71.0, labels={"row": "union"}, title="Union", agreement=0.5),
        teacher(20.0, 20.0, 70.0, 30.0, 25.0),
        full(69.0, labels={"row": "global"}, title="Global", agreement=0.4),
    )["rows"]
    assert [row["name"] for row in rows] == ["0", "1", "2", "3", "4", "Union", "Global"]
    assert [row.get("beats_teacher") for row in rows] == [None] * 5 + [True, False]
    assert [row["seconds"] for row in rows] == [3, None, None, None, None, 7, 7]
    assert rows[5]["agreement"] == 0.5
    assert "cpu_seconds" not in rows[0]


def test_equality_is_checked_whenever_rows_are_gathered(tmp_path):
    results = [{**teacher(50.0, 50.02), "path": tmp_path / "x.json"}]
    with pytest.raises(HoiclipError, match=r"the teacher alone has full 50\.020"):
        GATHERERS["distillation"](results)
    student = {"labels": {"row": "all"}, "path": tmp_path / "x.json"}
    with pytest.raises(InputError, match="no results of the row `teacher`"):
        GATHERERS["distillation"]([student])


def test_what_is_no_result_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent.json: missing. Run the plan's sweep"):
        read_results([tmp_path / "absent.json"])
    old = tmp_path / "old.json"
    old.write_text(json.dumps({"row": "base", "metrics": {}}))
    with pytest.raises(InputError, match=r"old.json, labels: holds no result"):
        read_results([old])
