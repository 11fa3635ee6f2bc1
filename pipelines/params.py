"""Changes to params.yaml that keep its comments and refuse what it does not already have."""

from __future__ import annotations

import difflib
import json
import math
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarstring import DoubleQuotedScalarString
from ruamel.yaml.util import load_yaml_guess_indent

from pipelines.errors import PipelineError
from pipelines.told import without_secrets

_MOST_CHARACTERS = 2**20
_MOST_DEPTH = 32
_LONGEST_KEY = 200
# The package's own table, read as a file: nothing here may import the package.
_RENAMED = Path(__file__).parents[1] / "hoiclip" / "util" / "renamed.json"


class _Representer(RoundTripRepresenter):
    """Scalars as both YAML 1.2 (DVC) and YAML 1.1 (PyYAML) read them, nulls spelled out."""

    def represent_float(self, data: float) -> Any:
        text = repr(data)
        if "e" in text and "." not in text:
            # YAML 1.1 takes 1e-05 without a point for a string.
            return self.represent_scalar("tag:yaml.org,2002:float", text.replace("e", ".0e"))
        return super().represent_float(data)

    def represent_none(self, data: None) -> Any:
        return self.represent_scalar("tag:yaml.org,2002:null", "null")


_Representer.add_representer(float, _Representer.represent_float)
_Representer.add_representer(type(None), _Representer.represent_none)


def read_yaml(text: str) -> Any:
    """A value by DVC's reader of YAML 1.2; as the stages, it refuses what is without end.

    Raises:
        PipelineError: not YAML, an alias, nested over 32 deep, or over a megabyte; one line.
    """
    try:
        if len(text) > _MOST_CHARACTERS:
            raise ValueError(f"over {_MOST_CHARACTERS} characters")
        depth = 0
        # The C composer recurses and would overflow the stack; events come one by one.
        for event in YAML(typ="safe").parse(text):
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            line = event.start_mark.line + 1
            if depth > _MOST_DEPTH:
                raise ValueError(f"line {line} is nested more than {_MOST_DEPTH} deep")
            if isinstance(event, AliasEvent):
                raise ValueError(f"line {line} has the alias *{event.anchor}; write the value out")
        value = YAML(typ="safe").load(text)
        repr(value)  # fails for an integer of more digits than a message can have
        return value
    # The constructor lets through whatever int(), float() or datetime raise.
    except Exception as error:
        problem = " ".join(str(error).split())[:500] or type(error).__name__
        raise PipelineError(f"not YAML ({problem})") from None


def parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Turns `["train.epochs=4"]` into `{"train": {"epochs": 4}}`; values are YAML.

    Raises:
        PipelineError: an override is not `key=value`, or its value is not YAML.
    """
    nested: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        told = f"override {override[:_LONGEST_KEY]!r}"
        if not equals or not all(key.split(".")) or len(key) > _LONGEST_KEY:
            raise PipelineError(f"{told}: not of the form key=value, as train.epochs=4")
        try:
            value = read_yaml(text)
        except PipelineError as error:
            raise PipelineError(f"{told}: the value is {error}") from None
        section = nested
        *sections, last = key.split(".")
        for name in sections:
            section = section.setdefault(name, {})
            if not isinstance(section, dict):
                raise PipelineError(f"{told}: {name} was given a value before")
        section[last] = value
    return nested


def read_overlay(path: str | Path, called: str | None = None) -> dict[str, Any]:
    """Reads a YAML file of nested keys; an empty file changes nothing.

    Args:
        path: the file.
        called: what messages call it, where its folder means nothing to who reads them; else its
            path.

    Raises:
        PipelineError: the file is absent, not YAML, or not a mapping.
    """
    called = called or str(path)
    try:
        overlay = read_yaml(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise PipelineError(f"{called}: {error.strerror}") from None
    except (UnicodeDecodeError, PipelineError) as error:
        raise PipelineError(f"{called}: {error}") from None
    if overlay is None:
        return {}
    if not isinstance(overlay, dict):
        raise PipelineError(f"{called}: holds no keys but {overlay!r}")
    return overlay


@cache
def renamed_keys() -> Mapping[str, str]:
    """Keys of params.yaml of earlier versions, and what they are called now."""
    return MappingProxyType(json.loads(_RENAMED.read_text(encoding="utf-8")))


def apply_changes(path: str | Path, *changes: Mapping[str, Any]) -> list[str]:
    """Sets keys of a YAML file in place, all or none; comments and order stay.

    Messages call the file by its name alone, as it is often a copy in a temporary folder.

    Args:
        path: the file, usually params.yaml.
        changes: nested keys, each of which the file must have, with values of the type it has (an
            integer may stand for a float, a null for anything, anything for a null). Later ones
            win.

    Returns:
        One line `key: old -> new` per value that differs; of a list of sections, their number.

    Raises:
        PipelineError: the file is absent or not YAML, a key is unknown, or a type differs.
    """
    path = Path(path)
    read_overlay(path, path.name)
    editor = YAML()
    editor.Representer = _Representer
    editor.preserve_quotes = True
    editor.width = 4096
    text = path.read_text(encoding="utf-8")
    data, indent, offset = load_yaml_guess_indent(text, yaml=editor)
    changed: list[str] = []
    for change in changes:
        _merge(data if data is not None else {}, change, "", path.name, changed)
    if changed:
        sequence, dash = indent or 2, offset or 0
        editor.indent(mapping=sequence - dash, sequence=sequence, offset=dash)
        _remove_leftovers(path)
        aside = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with aside.open("w", encoding="utf-8") as file:
                editor.dump(data, file)
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)
    return changed


def _remove_leftovers(path: Path) -> None:
    """Removes unfinished versions of `path` whose process, named in theirs, no longer runs."""
    for found in path.parent.glob(f".{path.name}.*.part"):
        pid = found.suffixes[-2].removeprefix(".")
        if pid.isdecimal() and not _runs(int(pid)):
            found.unlink(missing_ok=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _merge(
    data: Any, changes: Mapping[str, Any], prefix: str, path: str, changed: list[str]
) -> None:
    for key, value in changes.items():
        name = f"{prefix}{key}"
        if key not in data:
            if now := renamed_keys().get(name):
                raise PipelineError(f"{path}: no key {name}. It is called {now} now")
            known = [f"{prefix}{other}" for other in data]
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(known)}"
            raise PipelineError(f"{path}: no key {name}. {hint}")
        old = data[key]
        if isinstance(old, dict):
            if not isinstance(value, Mapping):
                raise PipelineError(f"{path}: {name} is a section, {value!r} is a value")
            _merge(old, value, f"{name}.", path, changed)
            continue
        value = _as_type_of(old, value, name, path)
        if value != old:
            changed.append(f"{name}: {_told(old)} -> {_told(value)}")
            data[key] = _writable(value, old)
            if key in data.ca.items:
                # Where the old value was a list of lines, the editor would break the file here.
                data.ca.items[key] = [None, None, data.ca.items[key][2], None]


def _as_type_of(old: Any, value: Any, name: str, path: str) -> Any:
    if old is None or value is None:
        return value
    # The editor's values are subclasses of these; a bool is an int and has to come first.
    kind = next(kind for kind in (bool, int, float, str, list, object) if isinstance(old, kind))
    if kind is float and type(value) in (int, str):
        with suppress(ValueError, OverflowError):
            value = float(value)
    if kind is float and type(value) is float and not math.isfinite(value):
        raise PipelineError(f"{path}: {name} is {old!r}, so {value!r} is not a number to have")
    if type(value) is kind or kind is object:
        return value
    raise PipelineError(f"{path}: {name} is {old!r}, so {value!r} has the wrong type")


def _told(value: Any) -> str:
    """A value on a line of its own; of a list of sections how many there are."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return f"{len(value)} entries"
    return without_secrets(str(value))


def _writable(value: Any, old: Any = None) -> Any:
    """A value in the form in which the editor is to write it.

    A string that a YAML 1.1 reader would take for something else, as `yes`, is quoted. A list of
    plain values stands on one line, unless the list that it replaces had a line for each.
    """
    if isinstance(value, dict):
        return {key: _writable(item) for key, item in value.items()}
    if isinstance(value, list):
        items = CommentedSeq([_writable(item) for item in value])
        lines = isinstance(old, CommentedSeq) and old.fa.flow_style() is False
        if not lines and not any(isinstance(item, (dict, list)) for item in items):
            items.fa.set_flow_style()
        return items
    if isinstance(value, str):
        try:
            plain = yaml.safe_load(value) == value
        except yaml.YAMLError:
            plain = False
        return value if plain else DoubleQuotedScalarString(value)
    return value
