from __future__ import annotations

import pytest

from pipelines.reproduce import main


@pytest.mark.parametrize(
    "option",
    ["--retries=-1", "--retries=101", "--parallel=0", "--parallel=-1", "--parallel=257",
     "--stage-timeout-minutes=nan", "--stage-timeout-minutes=inf", "--stage-timeout-minutes=0"],
)  # fmt: skip
def test_a_number_out_of_range_is_one_line(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option]) == 2
    name = option.partition("=")[0].removeprefix("--").replace("-", "_")
    error = capsys.readouterr().err
    assert error.startswith(f"error: {name}: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("option", ["--retries=x", "--retries=1.5", "--parallel=nan"])
def test_what_is_no_number_is_wrong_usage(option: str) -> None:
    with pytest.raises(SystemExit) as info:
        main([option])
    assert info.value.code == 2
