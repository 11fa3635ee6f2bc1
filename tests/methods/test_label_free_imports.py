"""No label can reach the label-free method: by what its modules import."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from label_free_world import label_free_methods

PACKAGES = ("hoiclip.methods", "stages")
ROOT = Path(__file__).parents[2]
# Who reads labels, or works on them. Of `hoiclip.training` nobody does: it takes data and method as
# arguments. `hoiclip.core.schema` names the columns of every table, and reads what it is told to.
FORBIDDEN = (
    "hoiclip.data.annotations",
    "hoiclip.data.instance_rows",
    "hoiclip.formats.annotations",
    "hoiclip.datasets",
    "hoiclip.splits.splits",
    "hoiclip.datasets.toy",
    "hoiclip.splits.zero_shot",
    "hoiclip.evaluation",
    "hoiclip.experiments",
    "hoiclip.formats.predictions",
    "hoiclip.pretraining",
    "hoiclip.scoring",
    "hoiclip.inference.selection",
    "hoiclip.set_prediction",
    "hoiclip.verb_",
)
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("hoiclip", "stages")
    for path in sorted((ROOT / package).rglob("*.py"))
}


def imported(module: str) -> set[str]:
    """Our modules that a module names in an import, anywhere in it, and their packages."""
    names = set()
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return {name for name in names if name in FILES}


def reached(module: str) -> set[str]:
    found, todo = set(), [module]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += imported(name)
    return found


def labelled(modules: set[str]) -> list[str]:
    return sorted(name for name in modules if name.startswith(FORBIDDEN))


LABEL_FREE = label_free_methods()
PREFIXES = tuple(f"{package}.{name}" for name in LABEL_FREE for package in PACKAGES)


def test_the_methods_that_say_they_use_no_labels():
    assert LABEL_FREE == ["clip_distill"]


@pytest.mark.parametrize("module", [name for name in FILES if name.startswith(PREFIXES)])
def test_nothing_that_reads_labels_is_imported(module):
    assert labelled(reached(module)) == []


def test_the_rule_sees_what_it_forbids():
    """Else the test above would hold of anything."""
    assert "hoiclip.data.annotations" in labelled(reached("stages.hoiclip.train"))
    assert "hoiclip.data.annotations" in labelled(reached("hoiclip.experiments.teacher_alone"))
    assert labelled(reached("hoiclip.set_prediction.dataset"))
    assert all(any(name.startswith(part) for name in FILES) for part in FORBIDDEN)


@pytest.mark.parametrize("prefix", FORBIDDEN)
def test_each_forbidden_name_is_of_a_module(prefix):
    assert any(name.startswith(prefix) for name in FILES)
