"""What the code of a process says, by file: whether interrupted work may go on with it."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

PACKAGES = ("hoiclip", "stages")

CANNOT_CHANGE_A_RESULT: Mapping[str, str] = {
    "hoiclip.ancestry": "ends a stage when its parent ends",
    # Of its texts one is ever written: what is wrong with an image, in the table of findings.
    "hoiclip.errors": "types and texts of errors, with which a stage ends",
    "hoiclip.inside": "refuses paths of params and changes none",
    "hoiclip.progress": "shows how far work is",
    "hoiclip.launch": "starts as many processes as the environment says, as no dep could",
    "hoiclip.resume.archive": "gives back what was written, or refuses it",
    "hoiclip.resume.source_code": "tells code apart",
    "hoiclip.resume.state_file": "gives back what was saved, or refuses it",
    "hoiclip.util.ranges": "refuses numbers and alters none",
    "hoiclip.util.renamed": "says what unknown keys of params are called now",
    "hoiclip.stage_main": "begins and ends a stage; what it writes is what the stage returned",
}
"""Modules of this project that decide whether a result comes and what a person is told, never what
the result is; each with the reason. No stage of a dvc.yaml depends on them, and no interrupted work
begins anew for them."""


def loaded_code() -> dict[str, str]:
    """SHA-256 of the syntax tree of each of this project's modules that this process has imported.

    By path relative to the folder of the packages, without `CANNOT_CHANGE_A_RESULT`. Positions,
    comments and docstrings are in no syntax tree.
    """
    found = {}
    for name, file in _loaded_files().items():
        if name not in CANNOT_CHANGE_A_RESULT:
            parts = name.split(".") + (["__init__"] if file.stem == "__init__" else [])
            found["/".join(parts) + ".py"] = syntax_sha256(file.read_bytes())
    return dict(sorted(found.items()))


def _loaded_files() -> dict[str, Path]:
    """Source files of this project's modules, by the module's name."""
    found = {}
    for module in list(sys.modules.values()):
        # The name of what `python -m` runs stands only here.
        name = getattr(getattr(module, "__spec__", None), "name", "")
        file = getattr(module, "__file__", None)  # None of a package without an __init__ file
        if file and name.split(".")[0] in PACKAGES:
            found[name] = Path(file)
    return found


@cache
def syntax_sha256(source: bytes) -> str:
    """SHA-256, in hex, of a module's syntax tree without positions, comments and docstrings.

    Of two versions of Python the trees differ; so do then all hashes.

    Raises:
        SyntaxError: `source` is no module.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # Not only a body's first: texts that stand alone after an attribute describe it.
            body[:] = [statement for statement in body if not _is_text(statement)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_text(statement: ast.AST) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def changed_files(code: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Files by which two results of `loaded_code` differ, sorted.

    A module that one process alone has imported is no difference by itself: what the other did
    not import decides nothing there, unless a module that both have imported has changed.
    """
    both = code.keys() & other.keys()
    if both and all(code[file] == other[file] for file in both):
        return []
    return sorted(file for file in {*code, *other} if code.get(file) != other.get(file))
