"""Tests lie where the module lies: those of `hoiclip/splits/splits.py` in `tests/splits/`.

A test file in a folder imports a module of the same folder of the package or of one below it,
itself or by its helpers, or bears the name of one. A file named after a module that it imports lies
at that module's path. Files that import nothing of the package, or go through the command line or
processes of their own, test more than one module and lie by subject; so do those in `tests` itself
of several folders. Names of files are unique.
"""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path, PurePath

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "hoiclip"
# Folders of tests that no folder of the package answers to.
OTHERS = {"benchmarks", "fuzz", "kills", "mutants", "pipelines"}
# What evaluates predictions in files is tested with what evaluates them.
TOGETHER = {PurePath("scoring"): PurePath("evaluation")}

IMPORT = re.compile(r"^\s*from (hoiclip[\w.]*) import ([\w, ]+)$", re.MULTILINE)
BY_PROCESS = {"hoiclip.cli", "subprocess"}

FILES = sorted(TESTS.rglob("test_*.py"))
HELPERS = {path.stem: path for path in TESTS.rglob("*.py") if path.name != "conftest.py"}
MODULES = {
    ".".join(("hoiclip", *path.relative_to(PACKAGE).with_suffix("").parts)): PurePath(
        path.relative_to(PACKAGE)
    )
    for path in PACKAGE.rglob("*.py")
    if not path.name.startswith("__")
}


@cache
def imported(path: Path) -> frozenset[str]:
    """Names that a file imports, and those that its helpers import for it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            # Code for another process.
            for module, found in IMPORT.findall(node.value):
                names |= {module, *(f"{module}.{name.strip()}" for name in found.split(","))}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    helpers = (HELPERS[name] for name in names & set(HELPERS) if HELPERS[name] != path)
    return frozenset(names.union(*map(imported, helpers)))


def misplaced(test: PurePath, names: frozenset[str]) -> str | None:
    """What is wrong with the place of a test file, relative to `tests`, that imports `names`."""
    tested = [MODULES[name] for name in sorted(names) if name in MODULES]
    own = f"{test.stem.removeprefix('test_')}.py"
    at = {module.parent for module in tested if module.name == own}
    if at and test.parent not in at:
        return f"tests {own} of {', '.join(map(str, at))}"
    if not tested or names & BY_PROCESS or test.parts[0] in OTHERS:
        return None
    folders = {parent for module in tested for parent in module.parents if parent.name}
    folders |= {module.parent for module in tested}
    folders |= {module.parent for module in MODULES.values() if module.name == own}
    folders |= {with_ for apart, with_ in TOGETHER.items() if apart in folders}
    several = len({module.parts[0] for module in tested}) > 1
    if test.parent not in folders and not (several and test.parent == PurePath()):
        return f"tests nothing of {test.parent}, but {', '.join(map(str, tested))}"
    return None


def test_places():
    splits = frozenset({"hoiclip.splits.splits", "numpy"})
    assert misplaced(PurePath("splits/test_splits.py"), splits) is None
    assert misplaced(PurePath("splits/test_shares_of_splits.py"), splits) is None
    assert misplaced(PurePath("pipelines/test_shares_of_splits.py"), splits) is None
    assert misplaced(PurePath("model/test_shares_of_splits.py"), splits) is not None
    assert misplaced(PurePath("test_shares_of_splits.py"), splits) is not None
    both = splits | {"hoiclip.batches.boxes"}
    assert misplaced(PurePath("test_splits.py"), both) == "tests splits.py of splits"
    assert misplaced(PurePath("model/test_profiles.py"), frozenset({"numpy"})) is None
    below = frozenset({"hoiclip.evaluation.ap.tables"})
    assert misplaced(PurePath("evaluation/test_sums.py"), below) is None
    assert misplaced(PurePath("test_sums.py"), below) is not None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(TESTS).as_posix())
def test_tests_lie_where_the_module_lies(path):
    assert misplaced(PurePath(path.relative_to(TESTS)), imported(path)) is None


def test_folders_of_tests_are_folders_of_the_package():
    folders = {path.parent.relative_to(TESTS) for path in FILES}
    there = {path.parent.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")}
    assert {folder for folder in folders - there if folder.parts[0] not in OTHERS} == set()


def test_names_of_test_files_are_unique():
    names = Counter(path.name for path in FILES)
    assert [name for name, count in names.items() if count > 1] == []
