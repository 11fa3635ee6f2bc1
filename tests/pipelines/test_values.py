"""Values of params are refused before anything is queued, in the words of the stage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hoiclip.errors import ParamsError
from pipelines import lock
from pipelines.errors import PipelineError
from pipelines.overrides import apply_overrides
from pipelines.request import Request, apply_request
from pipelines.run_sweep import main as run_sweep
from pipelines.values import check_values
from stages import evaluate, report

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The committed params and methods."""
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    for path in (ROOT / "methods").glob("*/dvc.yaml"):
        (tmp_path / "methods" / path.parent.name).mkdir(parents=True)
        shutil.copyfile(path, tmp_path / "methods" / path.parent.name / "dvc.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_committed_params_and_profiles_are_taken() -> None:
    files = {"params": ROOT / "params.yaml", "smoke": ROOT / "params.yaml"}
    check_values(ROOT, files)


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("train.epochs=0", "train.epochs: 0, expected"),
        ("train.precision=fp8", "train.precision: 'fp8', expected one of"),
        ("clip_distill.teacher.view=all", "clip_distill.teacher.view: 'all', expected one of"),
    ],
)
def test_a_value_that_its_stage_refuses_is_told_with_what_asks_for_it(
    copy: Path, override: str, problem: str
) -> None:
    before = copy / "before.yaml"
    shutil.copyfile(copy / "params.yaml", before)
    apply_overrides(copy, [override])
    with pytest.raises(PipelineError) as refused:
        check_values(ROOT, {"fine": before, "runs-0": copy / "params.yaml"})
    assert str(refused.value).startswith(f"runs-0: params.yaml: {problem}")


def test_a_seed_below_zero_is_none(copy: Path) -> None:
    with pytest.raises(PipelineError, match="seed: -1, expected 0 or more"):
        apply_request(copy, Request(seed=-1))


def test_more_jobs_than_a_sweep_has_at_a_time_are_refused(copy: Path, capsys) -> None:
    assert run_sweep(["--jobs", "300", "--seeds", "0"]) == 2
    assert "jobs: 300, expected 1 to 256" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["'foo'", "'gen-vlkt'", "['hoiclip']", "3", "None"])
def test_a_method_that_does_not_exist_is_refused_with_those_that_do(
    copy: Path, capsys, method: str
) -> None:
    params, written = copy / "params.yaml", "null" if method == "None" else method
    params.write_text(params.read_text().replace("method: hoiclip ", f"method: {written} ", 1))
    assert lock.main() == 2
    known = "clip_distill, gen_vlkt, hoiclip"
    said = f"params.yaml: method: no method {method}. Methods: {known}"
    assert capsys.readouterr().err == f"error: {said}\n"
    with pytest.raises(PipelineError) as refused:
        apply_request(copy, Request())
    assert str(refused.value) == said
    for stage in (evaluate, report):
        with pytest.raises(ParamsError) as info:
            stage.main(params)
        assert str(info.value) == f"{params}: method: {method}, expected one of {known}"
