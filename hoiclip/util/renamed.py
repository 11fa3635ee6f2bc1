"""What a key of params.yaml that is not known is told: the name that it has now, or those known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hoiclip.errors import ParamsError
from hoiclip.util.ranges import quoted

RENAMED = {
    "model.interaction": "hoiclip.interaction",
    "model.verb": "hoiclip.verb",
    "predict.enhancement_k": "hoiclip.enhancement.k",
    "predict.sweep_k": "hoiclip.enhancement.sweep_k",
    "predict.enhancement_weight": "hoiclip.enhancement.weight",
    "predict.enhancement_kind": "hoiclip.enhancement.kind",
    "gen_vlkt.text_classifiers": "gen_vlkt.classifier_start",
    "train.keep": "select.weights",
    "train.validate_every": "train.keep_every",
}
"""Keys of params.yaml of earlier versions, and what they are called now."""


def unknown_key(key: Any, where: str, known: Iterable[str]) -> ParamsError:
    """The error of a key that a section does not have.

    Args:
        key: what YAML gave.
        where: dotted path of the section, perhaps after the name of its file.
        known: the keys that the section has.
    """
    name = key[:60] if isinstance(key, str) else quoted(key)
    if now := RENAMED.get(f"{where.split()[-1]}.{name}"):
        return ParamsError(f"{where}.{name}: is called {now} now")
    told = ", ".join(known)
    said = f"known are {told}" if told else "there is none"
    return ParamsError(f"{where}.{name}: unknown key; {said}")
