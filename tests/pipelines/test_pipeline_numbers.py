from __future__ import annotations

import pytest
from prefect.exceptions import ParameterTypeError

from pipelines.reproduce import main, reproduce


@pytest.mark.parametrize(
    "option",
    ["--retries=-1", "--retries=101", "--retries=x", "--retries=1.5", "--parallel=0",
     "--parallel=-1", "--parallel=257", "--parallel=nan"],
)  # fmt: skip
def test_a_flag_out_of_range_is_wrong_usage(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as info:
        main([option])
    assert info.value.code == 2
    assert f"error: argument {option.partition('=')[0]}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "parameters", [{"retries": -1}, {"retries": 10**9}, {"parallel": 0}, {"parallel": 10**9}]
)
def test_a_deployments_parameter_out_of_range_is_refused(parameters: dict[str, int]) -> None:
    with pytest.raises(ParameterTypeError, match=next(iter(parameters))):
        reproduce.validate_parameters(parameters)
    assert reproduce.validate_parameters({"retries": 0, "parallel": 2})["parallel"] == 2
