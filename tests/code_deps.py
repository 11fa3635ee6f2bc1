"""Which code a stage depends on, read from imports; writes it into the dvc.yaml files.

    python tests/code_deps.py

A folder stands among the deps where the stage imports every module below it, else its modules one
by one, so that a change in any file that is named can change what the stage writes.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import yaml

from hoiclip.resume.source_code import CANNOT_CHANGE_A_RESULT

ROOT = Path(__file__).parents[1]
PACKAGES = ("hoiclip", "stages", "pipelines")
METHODS = sorted(path.parent.name for path in (ROOT / "methods").glob("*/dvc.yaml"))


def source_files(*packages: str) -> list[Path]:
    return [path for name in packages for path in sorted((ROOT / name).rglob("*.py"))]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in source_files(*PACKAGES)}


@cache
def imports(path: Path) -> frozenset[str]:
    """Modules that a file imports anywhere in it, ours as full names, others as they stand."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from package import module` means the module, `from module import thing` the module.
            found |= {name if name in MODULES else node.module for name in names}
    return frozenset(found)


@cache
def closure(module: str, without: frozenset[str] = frozenset()) -> frozenset[str]:
    """Our modules that importing `module` imports, itself included; but for those `without`, and
    what only they import."""
    found, todo = set(), [module]
    while todo:
        name = todo.pop()
        if name in MODULES and name not in found and name not in without:
            found.add(name)
            todo += imports(MODULES[name])
    return frozenset(found)


def closure_files(stage: str) -> set[str]:
    """Source files that decide what a stage writes; `__init__` files hold a docstring alone."""
    modules = closure(f"stages.{stage}", frozenset(CANNOT_CHANGE_A_RESULT))
    files = {MODULES[name].relative_to(ROOT).as_posix() for name in modules}
    return {name for name in files if not name.endswith("__init__.py")}


@cache
def modules_below() -> dict[str, set[str]]:
    """Folder → every source file below it, without `__init__` files."""
    below = defaultdict(set)
    for path in MODULES.values():
        if path.name != "__init__.py":
            file = path.relative_to(ROOT)
            for folder in file.parents[:-1]:
                below[folder.as_posix()].add(file.as_posix())
    return below


def code_deps(stage: str) -> list[str]:
    """What stands for the stage's code among its deps, sorted."""
    files = closure_files(stage)
    deps = set()
    for file in files:
        # From the package's own folder downwards.
        folders = [folder.as_posix() for folder in Path(file).parents][-2::-1]
        whole = (folder for folder in folders if modules_below()[folder] <= files)
        deps.add(next(whole, file))
    return sorted(deps)


def dvc_files() -> dict[Path, str]:
    """Each dvc.yaml and what stands before the names of its stages in `stages`."""
    own = {ROOT / f"methods/{method}/dvc.yaml": f"{method}." for method in METHODS}
    return {ROOT / "dvc.yaml": "", **own}


def read_stages(path: Path) -> dict[str, dict]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]


def is_code(dep: str) -> bool:
    return dep.split("/")[0] in PACKAGES


def write_deps(path: Path, prefix: str) -> None:
    """Rewrites the code among the deps of every stage of a dvc.yaml; all else stays as it is."""
    text = path.read_text(encoding="utf-8")
    for name in read_stages(path):
        start = re.search(rf"^  {name}:\n(?:    .*\n)*?    deps:\n", text, re.MULTILINE)
        assert start, f"{path}: {name} has no deps"
        end = re.compile(r"(?:      - .*\n)*").match(text, start.end()).end()
        others = [line for line in text[start.end() : end].splitlines()
                  if not is_code(line.strip().removeprefix("- ").strip('"'))]  # fmt: skip
        lines = [*others, *(f"      - {dep}" for dep in code_deps(prefix + name))]
        text = text[: start.end()] + "".join(f"{line}\n" for line in lines) + text[end:]
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for path, prefix in dvc_files().items():
        write_deps(path, prefix)
