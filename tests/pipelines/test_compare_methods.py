"""What each method reaches and costs: which commands are run, and what is kept of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from pipelines import compare_methods
from pipelines.compare_methods import OUT, main, own_stages, run_method
from pipelines.graph import needed_for, stage_graph
from pipelines.methods import method_names

ROOT = Path(__file__).parents[2]
SCORED = {"protocol": "hico", "default": {"full": 50.0}}


@pytest.fixture
def ran(two_methods: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The commands that are asked for; none is run, and what they leave is made up."""
    asked: list[tuple[str, ...]] = []

    def run(root: Path, module: str, *arguments: str, kept: bool = False) -> str:
        asked.append((module, *arguments))
        return json.dumps(SCORED) if kept else ""

    for method in ("first", "second"):
        file = two_methods / f"runs/{method}/predict/method.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"title": method.title()}))
    monkeypatch.setattr(compare_methods, "_run", run)
    monkeypatch.chdir(two_methods)
    return asked


def test_the_stages_of_a_method_stand_in_their_order(two_methods: Path) -> None:
    file = "methods/first/dvc.yaml"
    assert own_stages(two_methods, "first") == [f"{file}:train", f"{file}:predict"]


def test_every_stage_of_the_method_runs_anew_and_no_other(
    ran: list[tuple[str, ...]], two_methods: Path
) -> None:
    row: dict[str, Any] = run_method(two_methods, "second")
    assert (row["name"], row["metrics"]) == ("Second", SCORED)
    assert row["seconds"] >= 0
    *stages, scoring = ran
    assert [command[-1] for command in stages] == own_stages(two_methods, "second")
    assert all("--force" in command and "--single-item" in command for command in stages)
    assert scoring[:3] == ("hoiclip.cli", "evaluate", "runs/second/predict/predictions.parquet")


def test_all_methods_are_compared_unless_some_are_named(ran: list[tuple[str, ...]]) -> None:
    assert main([]) == 0
    assert [row["name"] for row in json.loads(OUT.read_text())["rows"]] == ["First", "Second"]
    assert main(["--methods", "second"]) == 0
    assert [row["name"] for row in json.loads(OUT.read_text())["rows"]] == ["Second"]


def test_an_unknown_method_is_refused_before_anything_runs(
    ran: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--methods", "third"]) == 2
    assert capsys.readouterr().err == "error: no method 'third'. Methods: first, second\n"
    assert ran == []
    assert not OUT.exists()


def test_make_methods_runs_first_what_the_methods_share() -> None:
    recipe = (ROOT / "Makefile").read_text().split("\nmethods:")[1].split("\n\n")[0]
    (asked,) = re.findall(r"\tdvc repro (.+)", recipe)
    graph = stage_graph(ROOT)
    done = set().union(*(needed_for(graph, name) for name in asked.split()))
    for method in method_names(ROOT):
        own = own_stages(ROOT, method)
        assert set().union(*(nx.ancestors(graph, stage) for stage in own)) <= done | set(own)
