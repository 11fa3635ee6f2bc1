"""Plans of sweeps: which experiments they are, by hand; and the committed ones on params.yaml."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from hoiclip.ablation import ABLATION_ROWS
from hoiclip.commands.experiments import GATHERED
from pipelines.errors import PipelineError
from pipelines.methods import method_names
from pipelines.params import read_overlay
from pipelines.plan import Plan, Switches, changes_of, only, plan_names, read_plan
from pipelines.profile import profile_names
from pipelines.request import Request, apply_request, own_plan
from pipelines.wanted import Wanted

ROOT = Path(__file__).parents[2]


def write(root: Path, content: Any, name: str = "some") -> None:
    (root / "sweeps").mkdir(exist_ok=True)
    (root / "sweeps" / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


AXES = {
    "row": {"a": {"set": {"x.y": 1, "x.z": 2}}, "b": {"title": "B", "keep": {"k": "k.json"}}},
    "length": {"full": None, "half": {"scale": {"epochs": 0.5}}},
}


def test_experiments_are_the_products_of_the_cases_and_the_seeds(tmp_path: Path) -> None:
    shared = {"set": {"x.y": 0}, "target": "t", "keep": {"m": "m.json"}}
    cases = [{"row": ["b"]}, {"length": ["half"], "row": ["a"]}]
    write(tmp_path, {"axes": AXES, "shared": shared, "cases": cases, "seeds": [3, 0]})
    plan = read_plan(tmp_path, "some")
    assert [each.name for each in plan.experiments] == [
        "some-b-full-3", "some-b-full-0", "some-b-half-3", "some-b-half-0",
        "some-a-half-3", "some-a-half-0",
    ]  # fmt: skip
    full, half = plan.experiments[0].switches, plan.experiments[-1].switches
    assert full.title == "B"
    assert full.set == {"x.y": 0}
    assert full.keep == {"m": "m.json", "k": "k.json"}
    assert full.target == ("t",)
    assert half.set == {"x.y": 1, "x.z": 2}
    assert half.scale == {"epochs": 0.5}
    assert plan.experiments[-1].labels == {"row": "a", "length": "half"}
    others = read_plan(tmp_path, "some", seeds=[7])
    assert {each.seed for each in others.experiments} == {7}


def test_a_plan_without_axes_is_one_experiment(tmp_path: Path) -> None:
    write(tmp_path, {"about": "nothing"})
    (one,) = read_plan(tmp_path, "some").experiments
    assert (one.name, one.row, one.seed) == ("some", "", None)


def test_a_profile_may_be_named_by_labels(tmp_path: Path) -> None:
    write(tmp_path, {"axes": AXES, "shared": {"profile": "p-{row}"}, "cases": [{"row": ["a"]}]})
    profiles = {each.switches.profile for each in read_plan(tmp_path, "some").experiments}
    assert profiles == {"p-a"}
    write(tmp_path, {"axes": AXES, "shared": {"profile": "{colour}"}})
    with pytest.raises(PipelineError, match=r"profile '\{colour\}', expected \{row\}, \{length\}"):
        read_plan(tmp_path, "some")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"axis": {}}, "no key 'axis'. Known: about, seeds"),
        ({"axes": {"row": {"a": {"sett": {}}}}}, "axes.row.a: no key 'sett'"),
        ({"axes": {"row": {"a b": {}}}}, "'a b', expected letters"),
        ({"axes": AXES, "cases": [{"row": ["c"]}]}, r"row: \['c'\], expected some of a, b"),
        ({"axes": AXES, "cases": [{"colour": ["c"]}]}, "cases: no key 'colour'"),
        ({"axes": AXES, "cases": {"row": ["a"]}}, "cases: not a list"),
        ({"seeds": [-1]}, "seeds: -1, expected whole numbers"),
        ({"seeds": [1, 1]}, "two experiments are named some-1"),
        ({"axes": {"row": ["a"]}}, r"\['a'\], expected a section"),
    ],
)
def test_what_no_plan_can_say_is_one_line(tmp_path: Path, content: Any, told: str) -> None:
    write(tmp_path, content)
    with pytest.raises(PipelineError, match=told) as error:
        read_plan(tmp_path, "some")
    assert "\n" not in str(error.value)
    with pytest.raises(PipelineError, match=r"no plan 'other'\. Plans in sweeps/: some"):
        read_plan(tmp_path, "other")


def test_a_part_is_chosen_by_labels(tmp_path: Path) -> None:
    write(tmp_path, {"axes": AXES})
    plan = read_plan(tmp_path, "some")

    def rows(*chosen: str) -> list[str]:
        return [each.row for each in only(plan, chosen).experiments]

    assert rows() == ["a-full", "a-half", "b-full", "b-half"]
    assert rows("row=b") == ["b-full", "b-half"]
    assert rows("row=a,b", "length=half") == ["a-half", "b-half"]
    for wrong in ("row=c", "colour=a", "row", "row=a,c"):
        with pytest.raises(PipelineError, match=r"length=full,half; row=a,b"):
            rows(wrong)
    with pytest.raises(PipelineError, match="no such experiment"):
        only(Plan("p", "", plan.experiments[:1] + plan.experiments[3:]), ["row=a", "length=half"])


def test_multiples_are_worked_out_of_params() -> None:
    params = {"train": {"epochs": 90, "lr": 0.5, "on": True}, "few": 3}
    scaled = Switches(scale={"train.epochs": 0.25, "train.lr": 0.5, "few": 0.25})
    assert changes_of(scaled, params) == {"train.epochs": 22, "train.lr": 0.25, "few": 1}
    # A factor that is no binary fraction gives the whole number that it is meant to give.
    assert changes_of(Switches(scale={"few": 1 / 3}), params) == {"few": 1}
    both = Switches(scale={"few": 2}, add={"few": 4, "train.epochs": 1}, set={"few": 0})
    assert changes_of(both, params) == {"few": 0, "train.epochs": 91}
    for key in ("train.on", "train", "absent.key"):
        with pytest.raises(PipelineError, match=f"{key}: .* is no number"):
            changes_of(Switches(scale={key: 2}), params)
    with pytest.raises(PipelineError, match=r"no key train\.keep\. It is called select\.weights"):
        changes_of(Switches(add={"train.keep": 2}), params)


def test_methods_by_seeds_need_no_file() -> None:
    names = [each.name for each in own_plan(["b", "a"], [1, 2]).experiments]
    assert names == ["runs-b-1", "runs-b-2", "runs-a-1", "runs-a-2"]
    assert [each.name for each in own_plan([], [1]).experiments] == ["runs-1"]
    assert [each.name for each in own_plan([], []).experiments] == ["runs"]


@pytest.fixture
def params_folder(tmp_path: Path) -> Path:
    """params.yaml, profiles, plans and methods of this project, to be changed."""
    for name in ("params", "sweeps", "methods"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("name", plan_names(ROOT))
def test_committed_plans_fit_params_and_differ_in_what_they_switch(
    params_folder: Path, name: str
) -> None:
    wanted = Wanted(read_plan(ROOT, name, seeds=[1]))
    made = []
    for experiment in wanted.plan.experiments:
        if (profile := experiment.switches.profile) is not None:
            # Profiles themselves are applied elsewhere.
            assert profile in profile_names(ROOT)
            made.append((profile, ()))
            continue
        shutil.copy(ROOT / "params.yaml", params_folder)
        apply_request(params_folder, wanted.request(experiment))
        params = read_overlay(params_folder / "params.yaml")
        method = params["method"]
        own = params.get(method, {}).get("train", params["train"])
        assert own["seed"] == experiment.seed
        made.append((params, experiment.switches.then))
        for place in experiment.switches.keep.values():
            assert place.partition(":")[0]
    assert all(one != other for i, one in enumerate(made) for other in made[:i])
    if wanted.plan.gather:
        assert wanted.plan.gather[:4] == ("python", "-m", "hoiclip.cli", "gather")
        assert wanted.plan.gather[4:] == (name,)
        assert name in GATHERED


def changed_by(root: Path, plan: str, row: str) -> dict[str, Any]:
    shutil.copy(ROOT / "params.yaml", root)
    apply_request(root, Request(plan=plan, row=row, seed=0))
    return read_overlay(root / "params.yaml")


def test_the_ablation_has_every_row_at_a_quarter_and_three_at_full_length(
    params_folder: Path,
) -> None:
    plan = read_plan(ROOT, "ablation")
    rows = {length: [each.labels["row"] for each in plan.experiments
                     if each.labels["length"] == length and each.seed == 0]
            for length in ("full", "quarter")}  # fmt: skip
    assert rows["quarter"] == list(ABLATION_ROWS)
    # The report has them from the package, tables of sweeps from the plan.
    titles = {each.labels["row"]: each.switches.title for each in plan.experiments}
    assert titles == {name: row.label for name, row in ABLATION_ROWS.items()}
    assert set(rows["full"]) == {"base", "verb", "free"}
    assert {each.seed for each in plan.experiments} == {0, 1, 2}
    params = read_overlay(ROOT / "params.yaml")
    quarter = changed_by(params_folder, "ablation", "base-quarter")
    assert (quarter["train"]["epochs"], quarter["train"]["lr_drop_epoch"]) == (1, 1)
    default = changed_by(params_folder, "ablation", "free-full")
    assert default["hoiclip"] == params["hoiclip"], "the row `free` is the default"
    assert default["train"] == {**params["train"], "threads": 1}


def test_lengths_of_the_controls(params_folder: Path) -> None:
    assert (changed := changed_by(params_folder, "honesty", "clip-time")["train"])
    params = read_overlay(ROOT / "params.yaml")["train"]
    # As many epochs at the low rate as the default has.
    left = params["epochs"] - params["lr_drop_epoch"]
    assert changed["epochs"] - changed["lr_drop_epoch"] == left
    assert changed["epochs"] == params["epochs"] + 32
    assert changed_by(params_folder, "honesty", "triple")["train"]["epochs"] == 3 * params["epochs"]
    assert changed_by(params_folder, "honesty", "random")["train"]["warm_start"] is False


def test_every_method_is_compared() -> None:
    plan = read_plan(ROOT, "methods")
    assert {each.labels["method"] for each in plan.experiments} == set(method_names(ROOT))
    assert all(each.switches.fresh for each in plan.experiments)
