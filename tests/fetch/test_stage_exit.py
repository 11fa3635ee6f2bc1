"""The exit code by which a stage says that the network failed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hoiclip.errors import InputError, NetworkError
from hoiclip.fetch.stage_exit import exits_by_network
from pipelines.failures import TRANSIENT_EXIT_CODE

ROOT = Path(__file__).parents[2]


def main_that(error: Exception | None):
    def main(params: Path) -> dict:
        """A stage."""
        if error is not None:
            raise error
        return {"read": str(params)}

    return main


def test_only_the_network_ends_it(capsys):
    assert exits_by_network(main_that(None))(Path("p")) == {"read": "p"}
    with pytest.raises(InputError, match="x: is wrong"):
        exits_by_network(main_that(InputError("x", "is wrong")))(Path("p"))
    assert capsys.readouterr().err == ""
    with pytest.raises(SystemExit) as end:
        exits_by_network(main_that(NetworkError("http://x", "no answer", fix="Run again")))(Path())
    assert end.value.code == TRANSIENT_EXIT_CODE == NetworkError.exit_code
    assert capsys.readouterr().err == "error: http://x: no answer. Run again\n"
    assert exits_by_network(main_that(None)).__doc__ == "A stage."


@pytest.mark.slow
def test_a_stage_that_cannot_reach_a_server(tmp_path):
    # Port 9 of the loopback address answers nobody.
    params = (ROOT / "params.yaml").read_text()
    params = params.replace("raw: weights/toy ", f"raw: {tmp_path / 'raw'} ")
    for name in ("clip", "detector"):
        params = params.replace(f"{name}_url: null", f"{name}_url: http://127.0.0.1:9/{name}")
    (tmp_path / "params.yaml").write_text(params)
    done = subprocess.run(
        [sys.executable, "-m", "stages.weights", "--params", str(tmp_path / "params.yaml")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = done.stderr
    assert done.returncode == TRANSIENT_EXIT_CODE, said
    assert said.count("\n") == 1
