"""What a failed stage's output says of its failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.errors import PipelineError, TransientError
from pipelines.failures import TRANSIENT_EXIT_CODE, explain

ERROR = PipelineError("`dvc repro` ended with exit code 255: it broke\nits last lines")


def ended(code: int, stage: str = "numbers") -> str:
    """DVC's own line."""
    return f"ERROR: failed to reproduce '{stage}': failed to run: python x.py, exited with {code}"


def test_one_exit_code_says_that_it_may_pass(tmp_path: Path) -> None:
    told = explain(tmp_path, "numbers", ["error: no answer", ended(75)], ERROR)
    assert isinstance(told, TransientError)
    assert str(told) == str(ERROR)
    for lines in (
        [], [ended(1)], [ended(175)], [ended(-9)], ["exited with 75"], [ended(75), ended(1)],
        ["a stage says: exited with 75", ended(1)],
    ):  # fmt: skip
        assert explain(tmp_path, "numbers", lines, ERROR) is ERROR


@pytest.fixture
def sized(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(
        "train: {batch_size: 16, deep: {batch_size: 2}, lr: 1}\npredict: {batch_size: 32}\n"
    )
    (tmp_path / "methods" / "m").mkdir(parents=True)
    (tmp_path / "methods" / "m" / "dvc.yaml").write_text(
        "stages:\n  train: {cmd: x, params: [train]}\n"
        "  select: {cmd: x, params: [predict.batch_size]}\n  bare: {cmd: x}\n"
    )
    return tmp_path


AT_ONCE = (
    "Set HOICLIP_IMAGES_AT_ONCE in the environment to fewer images than a process has of a batch, "
    "which is the same experiment; or lower train.batch_size (16), train.deep.batch_size (2), "
    "which is another. "
)


@pytest.mark.parametrize(
    ("stage", "lower"),
    [
        ("methods/m/dvc.yaml:train", AT_ONCE),
        ("methods/m/dvc.yaml:train@0", AT_ONCE),
        ("methods/m/dvc.yaml:select", "Lower predict.batch_size (32). "),
        ("methods/m/dvc.yaml:bare", "Give it less to hold at a time. "),
        ("absent", "Give it less to hold at a time. "),
    ],
)
def test_out_of_memory_names_the_param_to_lower_and_does_not_pass(
    sized: Path, stage: str, lower: str
) -> None:
    for line in (
        "error: out of memory (CUDA out of memory. Tried to allocate 2.00 GiB). Lower batch_size",
        "error: rank 5: out of memory (CUDA out of memory. Tried to allocate 2.00 GiB).",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
    ):
        told = explain(sized, stage, [line, ended(75)], ERROR)
        assert not isinstance(told, TransientError)
        assert str(told).startswith(f"out of memory. {lower}")
        assert str(told).endswith(str(ERROR))


def test_dvc_says_the_exit_code_of_a_stage(project: Path) -> None:
    dvc = project / "dvc.yaml"
    dvc.write_text(f"stages:\n  numbers:\n    cmd: exit {TRANSIENT_EXIT_CODE}\n    outs: [x]\n")
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "--single-item", "numbers"],
        cwd=project, capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = (done.stdout + done.stderr).splitlines()
    assert isinstance(explain(project, "numbers", lines, ERROR), TransientError), lines


def test_the_variable_that_it_names_is_the_trainings_own() -> None:
    from hoiclip.training.interruption import IMAGES_AT_ONCE

    assert IMAGES_AT_ONCE in AT_ONCE
