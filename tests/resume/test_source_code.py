"""What of a module decides whether interrupted work may go on with it."""

import subprocess
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from hoiclip.resume.source_code import (
    CANNOT_CHANGE_A_RESULT,
    changed_files,
    loaded_code,
    syntax_sha256,
)

ROOT = Path(__file__).parents[2]
MODULE = b'''"""What it is."""

SIDE = 3
"""What that is."""


class Box:
    """One."""

    def area(self):
        """Of it."""
        return SIDE * SIDE
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"SIDE = 3\n", b"# How long.\nSIDE = 3  # cm\n"),
        (b"What it is.", b"What it was."),
        (b'"""What it is."""\n', b""),
        (b"What that is.", b"Something else."),
        (b'        """Of it."""\n', b""),
        (b'"""One."""', b'"""Two."""'),
        (b"    def area", b"\n\n\n    def area"),
        (b"SIDE * SIDE", b"(SIDE) * (\n    SIDE)"),
    ],
)
def test_comments_docstrings_and_layout_are_not_in_it(old, new):
    assert MODULE.count(old) == 1
    assert syntax_sha256(MODULE.replace(old, new)) == syntax_sha256(MODULE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"SIDE = 3", b"SIDE = 4"),
        (b"SIDE = 3", b"SIDE = 3.0"),
        (b"SIDE = 3", b"SIDE = '3'"),
        (b"SIDE * SIDE", b"SIDE ** SIDE"),
        (b"return", b"yield"),
        (b"area(self)", b"area(self, side=1)"),
        (b'"""Of it."""', b'print("""Of it.""")'),
    ],
)
def test_whatever_runs_is_in_it(old, new):
    assert MODULE.count(old) == 1
    assert syntax_sha256(MODULE.replace(old, new)) != syntax_sha256(MODULE)


def test_a_body_of_a_docstring_alone_needs_no_statement_in_its_place():
    assert syntax_sha256(b'class A:\n    """A."""') == syntax_sha256(b'class A:\n    """B."""')


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Makes this process believe that it has imported a module of a name."""

    def make(name: str, source: str) -> Path:
        path = tmp_path / f"{name}.py"
        path.write_text(source)
        made = types.ModuleType(name)
        made.__spec__, made.__file__ = ModuleSpec(name, None), str(path)
        monkeypatch.setitem(sys.modules, name, made)
        return path

    return make


def test_imported_modules_of_the_project_are_in_it_by_their_path(module):
    module("stages.of_a_test", "SIDE = 3")
    module("others.of_a_test", "SIDE = 3")
    module("hoiclip_of_a_test", "SIDE = 3")
    code = loaded_code()
    assert code["stages/of_a_test.py"] == syntax_sha256(b"SIDE = 3")
    assert "hoiclip/__init__.py" in code
    assert all(name.startswith(("hoiclip/", "stages/")) for name in code)


def test_a_change_of_a_file_changes_its_hash_alone(module):
    path = module("stages.of_a_test", "SIDE = 3")
    before = loaded_code()
    path.write_text("SIDE = 3  # cm")
    assert loaded_code() == before
    path.write_text("SIDE = 4")
    assert changed_files(loaded_code(), before) == ["stages/of_a_test.py"]


def test_modules_that_cannot_change_a_result_are_not_in_it(module):
    files = [f"{name.replace('.', '/')}.py" for name in CANNOT_CHANGE_A_RESULT]
    for name, reason in CANNOT_CHANGE_A_RESULT.items():
        module(name, "SIDE = 3")
        assert reason
    assert all((ROOT / file).exists() for file in files)
    assert not loaded_code().keys() & set(files)


def test_the_module_that_python_runs_is_known_by_its_name(tmp_path):
    """As `python -m stages.train`, whose module is called `__main__`."""
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/some.py").write_text(
        f"import sys; sys.path.append({str(ROOT)!r})\n"
        "from hoiclip.resume.source_code import loaded_code; print(*loaded_code())"
    )
    command = [sys.executable, "-m", "stages.some"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said.split() == [
        "hoiclip/__init__.py", "hoiclip/resume/__init__.py", "stages/some.py",
    ]  # fmt: skip
