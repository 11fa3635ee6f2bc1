"""What an installed copy of the package consists of, without building one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def packaged(monkeypatch):
    """Names of the files that a wheel takes from `hoiclip/`, relative to it."""
    setuptools = pytest.importorskip("setuptools", minversion="77")
    monkeypatch.chdir(ROOT)
    distribution = setuptools.dist.Distribution({"script_name": "setup.py"})
    distribution.parse_config_files()
    build = distribution.get_command_obj("build_py")
    build.ensure_finalized()
    # The other ways to ask write a folder of metadata into the project.
    modules = [file for _, _, file in build.find_all_modules()]
    data = [
        Path(folder) / name
        for _, folder, _, names in build.get_data_files_without_manifest()
        for name in names
    ]
    return {Path(file).relative_to("hoiclip").as_posix() for file in [*modules, *data]}


def test_types_are_told_and_every_file_of_the_package_is_packaged(packaged):
    assert "py.typed" in packaged
    there = {
        path.relative_to(ROOT / "hoiclip").as_posix()
        for path in (ROOT / "hoiclip").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packaged == there


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "1000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        # GNU's count would go before the policy.
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None"),
    ],
)
def test_threads_that_wait_soon_sleep_unless_the_environment_says_otherwise(before, after):
    code = (
        "import os, sys, hoiclip\n"
        "assert 'torch' not in sys.modules\n"
        "print(os.environ.get('GOMP_SPINCOUNT'))"
    )
    said = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}
    env = {name: value for name, value in os.environ.items() if name not in said} | before
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [after]
