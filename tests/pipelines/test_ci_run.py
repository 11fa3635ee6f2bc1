from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Stands for the real targets: they make the environment, then checks and tests pass or fail.
MAKEFILE = """\
.PHONY: check test
check: $(VENV)/bin/dvc
\ttest ! -e untidy
test: $(VENV)/bin/dvc
\ttest ! -e failing
\techo tested
$(VENV)/bin/dvc:
\tmkdir -p $(VENV)/bin
\tln -s {dvc} $(VENV)/bin/dvc
"""


def _run(project: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [project / ".ci" / "run"], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.slow
def test_a_stale_lock_is_a_warning_and_the_code_is_of_checks_and_tests(project: Path) -> None:
    (project / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", project / ".ci")
    (project / "Makefile").write_text(MAKEFILE.format(dvc=Path(sys.executable).parent / "dvc"))

    stale = _run(project)
    assert stale.returncode == 0
    assert "WARNING: dvc.lock is stale: numbers double@0" in stale.stdout

    subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "--quiet"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project)},
        check=True,
    )
    shutil.rmtree(project / ".dvc" / "cache")
    for name in ("numbers.txt", "double0.txt", "double1.txt"):
        (project / name).unlink()
    fresh = _run(project)
    assert fresh.returncode == 0
    assert "WARNING" not in fresh.stdout

    (project / "untidy").touch()
    untidy = _run(project)
    assert untidy.returncode != 0
    assert "tested\n" in untidy.stdout.splitlines(keepends=True)
    (project / "untidy").unlink()

    (project / "params.yaml").write_text(
        (project / "params.yaml").read_text().replace("sleep: 0", "sleep: 0.5")
    )
    (project / "failing").touch()
    failed = _run(project)
    assert failed.returncode != 0
    assert "WARNING: dvc.lock is stale: double@0" in failed.stdout

    (project / "dvc.yaml").write_text("stages: 1\n")
    broken = _run(project)
    assert "WARNING: dvc.lock is stale: expected a dictionary" in broken.stdout
