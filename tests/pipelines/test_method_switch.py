"""`method` in params.yaml: DVC and the Prefect flow run the chosen method's stages, no others."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.errors import PipelineError
from pipelines.graph import needed_for, stage_graph
from pipelines.lock import check_lock
from pipelines.methods import chosen_method, method_names
from pipelines.overrides import apply_overrides
from pipelines.profile import apply_profile
from pipelines.reproduce import main

ROOT = Path(__file__).parents[2]
RUN = re.compile(r"^Running stage '([^']+)':", re.MULTILINE)


def choose(project: Path, method: str) -> None:
    path = project / "params.yaml"
    path.write_text(re.sub(r"(?m)^method: \w+", f"method: {method}", path.read_text()))


def dvc(project: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def planned(project: Path) -> list[str]:
    """Stages that a plain `dvc repro` would run."""
    return RUN.findall(dvc(project, "repro", "--dry", "--force", "--allow-missing"))


def cut(project: Path, target: str | None = None) -> set[str]:
    return set(needed_for(stage_graph(project), target, chosen_method(project)))


@pytest.mark.parametrize("method", ["first", "second"])
def test_the_flow_runs_what_plain_dvc_repro_runs(two_methods: Path, method: str) -> None:
    choose(two_methods, method)
    file = f"methods/{method}/dvc.yaml"
    assert cut(two_methods) == {"numbers", f"{file}:train", f"{file}:predict", "score"}
    assert cut(two_methods) == set(planned(two_methods))


def test_a_name_is_a_stage_of_the_chosen_method(two_methods: Path) -> None:
    graph = stage_graph(two_methods)
    assert cut(two_methods, "train") == {"numbers", "methods/first/dvc.yaml:train"}
    choose(two_methods, "second")
    assert cut(two_methods, "train") == {"numbers", "methods/second/dvc.yaml:train"}
    # A full name, or a file, is of its method whatever is chosen.
    assert cut(two_methods, "methods/first/dvc.yaml:train") == set(
        needed_for(graph, "train", "first")
    )
    assert cut(two_methods, "methods/first/dvc.yaml") == {
        "numbers", "methods/first/dvc.yaml:train", "methods/first/dvc.yaml:predict",
    }  # fmt: skip
    # The root's stages come before those of methods.
    assert cut(two_methods, "numbers") == {"numbers"}


def test_a_name_that_the_chosen_method_lacks(two_methods: Path) -> None:
    for method, names in (("first", ["pairs"]), ("second", ["pairs", "crops"])):
        path = two_methods / "methods" / method / "dvc.yaml"
        stages = yaml.safe_load(path.read_text())
        for name in names:
            out = f"runs/{method}/{name}.txt"
            stages["stages"][name] = {
                "wdir": "../..", "cmd": f"python make.py {out}", "outs": [out],
            }  # fmt: skip
        path.write_text(yaml.safe_dump(stages))
    (two_methods / "methods" / "third").mkdir()
    (two_methods / "methods" / "third" / "dvc.yaml").write_text("stages: {}\n")
    choose(two_methods, "third")
    assert cut(two_methods, "crops") == {"methods/second/dvc.yaml:crops"}
    with pytest.raises(PipelineError) as info:
        cut(two_methods, "pairs")
    assert str(info.value) == (
        "stage 'pairs' is none of the chosen method's. "
        "Name one: methods/first/dvc.yaml:pairs, methods/second/dvc.yaml:pairs"
    )
    with pytest.raises(PipelineError, match="no stage 'trian'"):
        cut(two_methods, "trian")


def test_methods_are_folders_with_stages(two_methods: Path) -> None:
    (two_methods / "methods" / "notes").mkdir()
    assert method_names(two_methods) == ["first", "second"]
    assert chosen_method(two_methods) == "first"
    choose(two_methods, "third")
    with pytest.raises(PipelineError, match=r"method: no method 'third'\. Methods: first, second$"):
        chosen_method(two_methods)
    shutil.rmtree(two_methods / "methods")
    assert chosen_method(two_methods) is None


def test_an_override_chooses_a_method_that_exists(two_methods: Path) -> None:
    assert apply_overrides(two_methods, ["method=second"]) == ["method: first -> second"]
    assert chosen_method(two_methods) == "second"
    for value in ("third", "../../elsewhere", "null", "[first]"):
        with pytest.raises(PipelineError, match=r"^method: no method .* Methods: first, second$"):
            apply_overrides(two_methods, [f"method={value}"])
        with pytest.raises(PipelineError, match=r"^method: no method "):
            apply_profile(two_methods, None, [f"method={value}"])
    assert chosen_method(two_methods) == "second"


def test_half_a_lock_file_of_a_method_is_told(two_methods: Path) -> None:
    check_lock(two_methods)
    (two_methods / "methods" / "second" / "dvc.lock").write_text("schema: '2.0'\nstag")
    with pytest.raises(PipelineError) as info:
        check_lock(two_methods)
    assert str(info.value).endswith("Run: git checkout methods/second/dvc.lock")


def test_an_unknown_method_ends_a_flow_before_it_starts(
    two_methods: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(two_methods)
    assert main(["--override", "method=third"]) == 2
    error = capsys.readouterr().err
    assert error == "error: method: no method 'third'. Methods: first, second\n"


def test_the_default_flow_of_this_project_is_its_default_method() -> None:
    if not (ROOT / ".dvc").is_dir() or not (ROOT / ".git").exists():
        pytest.skip("needs the project's repository")
    stages = cut(ROOT)
    method = chosen_method(ROOT)
    own = {name for name in stages if name.startswith("methods/")}
    shared = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    of_method = yaml.safe_load((ROOT / f"methods/{method}/dvc.yaml").read_text())["stages"]
    assert own == {f"methods/{method}/dvc.yaml:{name}" for name in of_method}
    assert stages - own == set(shared)


@pytest.mark.slow
def test_switching_and_back_restores_from_the_cache(two_methods: Path) -> None:
    assert len(RUN.findall(dvc(two_methods, "repro"))) == 4
    first = (two_methods / "score.txt").read_text()
    choose(two_methods, "second")
    said = dvc(two_methods, "repro")
    assert RUN.findall(said) == [
        "methods/second/dvc.yaml:train", "methods/second/dvc.yaml:predict", "score",
    ]  # fmt: skip
    assert "made runs/first" not in said
    assert (two_methods / "score.txt").read_text() != first
    choose(two_methods, "first")
    said = dvc(two_methods, "repro")
    assert "made " not in said
    assert "Running stage" not in said
    assert (two_methods / "score.txt").read_text() == first
    assert "up to date" in dvc(two_methods, "repro")


@pytest.mark.slow
def test_the_flow_runs_and_publishes_another_method(two_methods: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.reproduce", "--override", "method=second", "--publish"],
        cwd=two_methods,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "made runs/second/train.txt" in said
    assert "made runs/first" not in said
    (run,) = dvc(two_methods, "exp", "list", "--all", "--name-only").split()
    # It applies all there is, and fails for outputs of the method that never ran.
    subprocess.run([sys.executable, "-m", "dvc", "exp", "apply", run], cwd=two_methods, check=False)
    assert chosen_method(two_methods) == "second"
    assert (two_methods / "score.txt").read_text().startswith("score.txt runs/second/predict.txt")
    assert (two_methods / "methods/second/dvc.lock").is_file()
