"""What a run is asked for: in which order it is applied, and what is refused at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from conftest import sh
from prefect.utilities.callables import parameter_schema

from pipelines import submit
from pipelines.errors import PipelineError
from pipelines.reproduce import reproduce
from pipelines.request import Request, apply_request, check_request, experiment_of, seed_key
from pipelines.sweep import sweep


@pytest.fixture
def profiled(planned: Path) -> Path:
    """The planned project with a profile `big`; committed."""
    (planned / "params").mkdir()
    (planned / "params" / "big.yaml").write_text("numbers:\n  count: 10\ntrain:\n  seed: 9\n")
    sh(planned, "git", "add", "--all")
    sh(planned, "git", "commit", "--quiet", "--message", "Profile")
    return planned


def params(root: Path) -> dict:
    return yaml.safe_load((root / "params.yaml").read_text())


def test_profile_then_overrides_then_row_then_seed(profiled: Path) -> None:
    overrides = ("numbers.count=5", "double.factor=8.0")
    request = Request("big", overrides, "tiny", "one-few", None, 4)
    experiment, lines = apply_request(profiled, request)
    assert experiment.name == "tiny-one-few-4"
    # The row's own switches win over the run's.
    assert params(profiled)["double"]["factor"] == 1.0
    assert params(profiled)["numbers"]["count"] == 5
    assert params(profiled)["train"]["seed"] == 4
    assert lines == [
        "numbers.count: 3 -> 10", "train.seed: 0 -> 9", "numbers.count: 10 -> 5",
        "double.factor: 2.0 -> 8.0", "double.factor: 8.0 -> 1.0", "train.seed: 9 -> 4",
    ]  # fmt: skip


def test_a_multiple_is_of_what_the_run_asks_for(profiled: Path) -> None:
    apply_request(profiled, Request("big", ("numbers.count=7",), "tiny", "two-many", None, 0))
    assert params(profiled)["numbers"]["count"] == 14


def test_rows_are_known_by_name(profiled: Path) -> None:
    assert experiment_of(profiled, Request()).name == "runs"
    assert experiment_of(profiled, Request(method="first", seed=2)).name == "runs-first-2"
    for request, told in (
        (Request(row="one-few"), "row 'one-few': of which plan"),
        (Request(plan="tiny", row="three-few"), "no row 'three-few'. Rows: one-few, two-few"),
        (Request(plan="tiny"), "plan tiny has no row None"),
        (Request(plan="huge"), "no plan 'huge'"),
    ):
        with pytest.raises(PipelineError, match=told):
            experiment_of(profiled, request)


def test_a_row_keeps_its_own_profile_and_method(two_methods: Path) -> None:
    (two_methods / "sweeps").mkdir()
    (two_methods / "sweeps" / "p.yaml").write_text(
        "axes: {row: {a: {set: {method: second}}, b: {profile: big}}}\n"
    )
    with pytest.raises(PipelineError, match="method 'first': row a has its own, second"):
        experiment_of(two_methods, Request(plan="p", row="a", method="first"))
    with pytest.raises(PipelineError, match="profile 'small': row b has its own, big"):
        experiment_of(two_methods, Request(plan="p", row="b", profile="small"))
    apply_request(two_methods, Request(plan="p", row="a"))
    assert params(two_methods)["method"] == "second"


def test_the_seed_is_the_methods_own_where_it_has_one() -> None:
    both = {"train": {"seed": 0}, "own": {"train": {"seed": 1}}, "other": {"train": {}}}
    assert seed_key(both, "own") == "own.train.seed"
    assert seed_key(both, "other") == seed_key(both, None) == "train.seed"
    with pytest.raises(PipelineError, match=r"no train\.seed"):
        seed_key({"train": 3}, "own")


def test_a_request_is_tried_on_the_last_commit_and_changes_nothing(profiled: Path) -> None:
    before = (profiled / "params.yaml").read_text()
    (profiled / "params.yaml").write_text("numbers: {}\n")
    assert check_request(profiled, Request("big"))[0] == "numbers.count: 3 -> 10"
    assert (profiled / "params.yaml").read_text() == "numbers: {}\n"
    (profiled / "params.yaml").write_text(before)
    with pytest.raises(PipelineError, match=r"^params\.yaml: .* Did you mean numbers\.count"):
        check_request(profiled, Request(overrides=("numbers.cuont=1",)))
    with pytest.raises(PipelineError, match=r"no method 'third'|no key method"):
        check_request(profiled, Request(method="third"))


def test_files_of_a_request_are_called_as_in_the_project(profiled: Path) -> None:
    """Although they are tried on copies in a temporary folder."""
    for file, request in (
        ("params/big.yaml", Request("big")),
        ("sweeps/tiny.yaml", Request(plan="tiny", row="one-few")),
        ("params.yaml", Request(overrides=("numbers.count=4",))),
    ):
        text = (profiled / file).read_text()
        (profiled / file).write_text("- [\n")
        sh(profiled, "git", "commit", "--quiet", "--all", "--message", "Broken")
        with pytest.raises(PipelineError, match=f"^{re.escape(file)}: not YAML"):
            check_request(profiled, request)
        (profiled / file).write_text(text)


@pytest.mark.parametrize("flow", [reproduce, sweep])
def test_the_server_checks_the_form_before_it_queues(flow) -> None:
    # What a deployment stores, by which the server refuses a run's parameters.
    schema = parameter_schema(flow).model_dump()
    overrides = schema["properties"]["overrides"]["anyOf"][0]["items"]["pattern"]
    profile = schema["properties"]["profile"]["anyOf"][0]["pattern"]
    assert re.match(overrides, "train.epochs=4")
    for wrong in ("train.epochs", "=4", "train..epochs=4", "a b=1", ""):
        assert not re.match(overrides, wrong)
    assert re.match(profile, "hico-zero-shot-uv")
    for wrong in ("../etc", "a/b", ".", ""):
        assert not re.match(profile, wrong)


def test_nothing_is_queued_that_does_not_fit(
    profiled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(profiled)
    queued: list[int | None] = []
    monkeypatch.setattr(submit, "_queue", lambda options, seed: queued.append(seed) or f"s{seed}")
    assert submit.main(["--profile", "small"]) == 2
    assert submit.main(["--override", "numbers.count=many", "--seeds", "0", "1"]) == 2
    said = capsys.readouterr()
    assert queued == []
    assert said.out == ""
    assert said.err.count("error: ") == said.err.count("\n") == 2
    assert submit.main(["--profile", "big", "--seeds", "0", "1"]) == 0
    assert queued == [0, 1]
    assert capsys.readouterr().out.splitlines()[-2:] == ["s0", "s1"]
