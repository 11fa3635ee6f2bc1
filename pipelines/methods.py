"""The methods of a project: folders `methods/<method>/`, of which params.yaml chooses one."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.errors import PipelineError
from pipelines.params import read_overlay

FOLDER = "methods"
KEY = "method"
PARAMS = "params.yaml"
_MOST_TOLD = 60
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def stage_file(method: str) -> str:
    """The dvc.yaml of a method, relative to the project."""
    return f"{FOLDER}/{method}/dvc.yaml"


def method_names(root: str | Path) -> list[str]:
    """The methods that have stages, sorted; none in a project without them."""
    found = {path.parent.name for path in Path(root, FOLDER).glob("*/dvc.yaml")}
    return sorted(name for name in found if _NAME.fullmatch(name))


def check_method(root: str | Path, method: object) -> str:
    """Gives a method's name back.

    Raises:
        PipelineError: there is no such method.
    """
    known = method_names(root)
    if not isinstance(method, str) or method not in known:
        told = repr(method)[:_MOST_TOLD]
        raise PipelineError(f"{KEY}: no method {told}. Methods: {', '.join(known) or 'none'}")
    return method


def chosen_method(root: str | Path) -> str | None:
    """The method that `root/params.yaml` chooses; None in a project without methods.

    Raises:
        PipelineError: params.yaml cannot be read, or there is no such method.
    """
    if not method_names(root):
        return None
    method = read_overlay(Path(root, PARAMS), PARAMS).get(KEY)
    try:
        return check_method(root, method)
    except PipelineError as error:
        raise PipelineError(f"{PARAMS}: {error}") from None
