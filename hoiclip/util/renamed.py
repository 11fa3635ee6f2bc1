"""What a key of params.yaml that is not known is told: the name that it has now, or those known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from hoiclip.errors import ParamsError
from hoiclip.util.ranges import quoted


@cache
def renamed_keys() -> Mapping[str, str]:
    """Keys of params.yaml of earlier versions, and what they are called now.

    They stand in a file beside this one, which `pipelines` reads, too.
    """
    file = resources.files("hoiclip.util") / "renamed.json"
    return MappingProxyType(json.loads(file.read_text(encoding="utf-8")))


def unknown_key(key: Any, where: str, known: Iterable[str]) -> ParamsError:
    """The error of a key that a section does not have.

    Args:
        key: what YAML gave.
        where: dotted path of the section, perhaps after the name of its file.
        known: the keys that the section has.
    """
    name = key[:60] if isinstance(key, str) else quoted(key)
    if now := renamed_keys().get(f"{where.split()[-1]}.{name}"):
        return ParamsError(f"{where}.{name}: is called {now} now")
    told = ", ".join(known)
    said = f"known are {told}" if told else "there is none"
    return ParamsError(f"{where}.{name}: unknown key; {said}")
