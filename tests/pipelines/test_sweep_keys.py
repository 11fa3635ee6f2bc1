"""What makes a result another one, and where a known one is found."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from conftest import sh

from pipelines.errors import PipelineError
from pipelines.plan import Switches, read_plan
from pipelines.results import (
    keep_result,
    known_results,
    origin_results,
    published_name,
    read_result,
    result_file,
    write_result,
)
from pipelines.sweep import finish, take_known
from pipelines.wanted import Wanted, check_experiments, wanted_plan
from pipelines.workspace import cloned

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _this_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def keys_of(root: Path, *overrides: str, only: str = "factor=two") -> dict[str, str]:
    plan = wanted_plan(root, "tiny", chosen=[only])
    return check_experiments(root, Wanted(plan, None, tuple(overrides)))


def one_key(root: Path, *overrides: str) -> str:
    return keys_of(root, *overrides)["tiny-two-few-0"]


def test_a_key_is_of_params_data_and_code_alone(planned: Path) -> None:
    before = (planned / "params.yaml").read_text()
    keys = keys_of(planned)
    assert len(set(keys.values())) == len(keys) == 4
    assert (planned / "params.yaml").read_text() == before
    first = keys["tiny-two-few-0"]
    stage, params = planned / "stages" / "stage.py", planned / "params.yaml"
    # Comments, docstrings, positions, and a param that no stage reads.
    stage.write_text("# A remark.\n\n" + stage.read_text())
    params.write_text(before.replace("# how many", "# so many") + "other: 1\n")
    assert one_key(planned) == first
    params.write_text(before)
    # Code, a parameter, a command and data, each by itself.
    found = {first}
    stage.write_text(stage.read_text().replace("sum(values)", "sum(values) + 1"))
    found.add(one_key(planned))
    found.add(one_key(planned, "numbers.count=4"))
    dvc = planned / "dvc.yaml"
    dvc.write_text(dvc.read_text().replace("stage.py numbers", "stage.py  numbers"))
    found.add(one_key(planned))
    (planned / "tracked.txt").unlink()
    (planned / "tracked.txt").write_text("y ")
    sh(planned, sys.executable, "-m", "dvc", "add", "--quiet", "tracked.txt")
    found.add(one_key(planned))
    assert len(found) == 5


def test_what_is_measured_is_in_the_key(planned: Path) -> None:
    from pipelines.graph import needed_for, stage_graph
    from pipelines.keys import result_key

    graph = needed_for(stage_graph(planned), "numbers")
    (planned / "own").mkdir()
    (planned / "own" / "measure.py").write_text("x = 1\n")
    (planned / "own" / "table.json").write_text("1")
    switches = Switches(then=("python", "own/measure.py"), code=("own",), keep={"m": "m.json"})

    def key(**changed: object) -> str:
        return result_key(planned, graph, Switches(**{**vars(switches), **changed}))

    first = key()
    (planned / "own" / "measure.py").write_text("x = 1  # one\n")
    assert key() == first
    found = {first, key(keep={"m": "n.json"}), key(then=("true",)), key(fresh=True)}
    assert len(found) == 4
    (planned / "own" / "table.json").write_text("2")
    found.add(key())
    (planned / "own" / "measure.py").write_text("x = 22\n")
    found.add(key())
    assert len(found) == 6
    (planned / "own" / "measure.py").write_text("x = = 2\n")
    with pytest.raises(PipelineError, match=r"own/measure.py: no module of Python"):
        key()


def test_data_that_is_absent_is_named(planned: Path) -> None:
    dvc = planned / "dvc.yaml"
    dvc.write_text(dvc.read_text().replace("deps: [tracked.txt]", "deps: [tracked.txt, raw]"))
    with pytest.raises(PipelineError, match=r"^tiny-two-few-0: .*raw: absent") as error:
        keys_of(planned)
    assert "\n" not in str(error.value)
    (planned / "raw").mkdir()
    (planned / "raw" / "shard").write_text("1")
    first = one_key(planned)
    (planned / "raw" / "shard").write_text("2")
    os.utime(planned / "raw" / "shard", (1, 1))
    assert one_key(planned) != first


def test_a_value_that_does_not_fit_is_told_with_its_experiment(planned: Path) -> None:
    before = (planned / "params.yaml").read_text()
    with pytest.raises(PipelineError, match=r"^tiny-two-few-0: .*no key numbers.cuont"):
        keys_of(planned, "numbers.cuont=5")
    with pytest.raises(PipelineError, match="methods: plan tiny names its own"):
        wanted_plan(planned, "tiny", ["first"])
    assert (planned / "params.yaml").read_text() == before
    assert not list(planned.glob(".*.part"))


def test_a_result_is_found_in_files_and_in_the_origin(planned: Path) -> None:
    plan = read_plan(planned, "tiny")
    one, two = plan.experiments[:2]
    key, other = "a" * 64, "a" * 8 + "b" * 56
    (planned / "metrics.json").write_text('{"default": {"full": 7.5}, "list": [1, {"x": 3}]}')
    file = write_result(planned, one, key, method=None, overrides=["a=1"],
                        times={"seconds": 2.0, "cpu_seconds": None})  # fmt: skip
    assert file == planned / "results/runs/tiny-one-few-0.json"
    value = known_results(planned)[key]
    assert value["metrics"]["default"] == {"full": 7.5}
    assert value["labels"] == {"factor": "one", "count": "few"}
    assert (value["title"], value["seed"], value["seconds"]) == ("One", 0, 2.0)
    # Under its experiment's name in the origin, whose key has to be the whole one.
    sh(planned, "git", "add", "--force", str(file))
    sh(planned, "git", "commit", "--quiet", "--message", "Result")
    reference = f"refs/exps/ab/cdef/{published_name(one, key)}"
    sh(planned, "git", "update-ref", reference, "HEAD")
    sh(planned, "git", "reset", "--quiet", "--hard", "HEAD~1")
    sh(planned, "git", "update-ref", f"refs/exps/ab/cdef/{published_name(two, other)}", "HEAD")
    with cloned(planned) as workspace:
        assert known_results(workspace) == {}
        assert origin_results(workspace, []) == {}
        assert set(origin_results(workspace, [key, other, "c" * 64])) == {key}
        assert origin_results(workspace, ["a" * 8 + "d" * 56]) == {}
        # Another plan's experiment with the same key is the same result.
        keys = {one.name: "c" * 64, two.name: key}
        assert take_known(workspace, plan_of(plan, one, two), keys) == [one.name]
        assert read_result(workspace, two)["metrics"]["default"] == {"full": 7.5}
        assert read_result(workspace, two)["seed"] == 1
        text = finish(workspace, plan_of(plan, one, two), keys, {one.name: "it\nbroke"})
        assert "| one | few | 1 | 7.50 |" in text
        assert f"- {one.name}: it broke" in text
        rows = json.loads((workspace / "results/tiny.json").read_text())["rows"]
        assert [row["seeds"] for row in rows] == [[1]]


def plan_of(plan, *experiments):
    return type(plan)(plan.name, plan.about, experiments, plan.gather)


def test_files_without_a_key_are_left_and_damaged_ones_named(planned: Path) -> None:
    (planned / "results/runs").mkdir(parents=True)
    (planned / "results/runs/old.json").write_text('{"row": "base", "metrics": {}}')
    (planned / "results/runs/list.json").write_text("[]")
    assert known_results(planned) == {}
    (planned / "results/runs/half.json").write_text('{"key": "a')
    with pytest.raises(PipelineError, match=r"half.json: no JSON. Remove it"):
        known_results(planned)


def test_what_is_kept_has_to_be_there(planned: Path) -> None:
    from dataclasses import replace

    experiment = read_plan(planned, "tiny").experiments[0]
    (planned / "some.json").write_text('{"rows": [{"x": 1}]}')

    def kept(place: str) -> object:
        switches = replace(experiment.switches, keep={"it": place})
        changed = replace(experiment, switches=switches)
        write_result(planned, changed, "a" * 64, method="m", overrides=[], times={})
        return read_result(planned, changed)["it"]

    assert kept("some.json:rows.0.x") == 1
    assert kept("params.yaml:numbers.count") == 3
    assert kept("absent-{method}.json:rows") is None
    (planned / "of-m.json").write_text("4")
    assert kept("of-{method}.json") == 4
    for place in ("some.json:rows.1.x", "some.json:columns", "some.json:rows.x", "dvc.lock:x"):
        (planned / "dvc.lock").write_text("{")
        with pytest.raises(PipelineError, match="no file with"):
            kept(place)
    keep_result(planned, experiment, {"key": "b" * 64})
    assert result_file(experiment).name == "tiny-one-few-0.json"
