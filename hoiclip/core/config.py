"""Reading sections of params.yaml into frozen dataclasses, which stand beside their code."""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar, Union

from hoiclip.errors import ParamsError
from hoiclip.util.ranges import quoted
from hoiclip.util.renamed import unknown_key


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


T = TypeVar("T", bound=_Dataclass)
_MOST_BYTES = 2**20
_MOST_DEPTH = 32
# Folders bear it, so that it is no path.
_METHOD = re.compile(r"[a-z][a-z0-9_]*")


def check(condition: bool, problem: str) -> None:
    """For `__post_init__` of configurations: ValueError(`problem`) unless `condition`.

    `problem` starts with the field's name; `from_mapping` puts the section before it.
    """
    if not condition:
        raise ValueError(problem)


def _parse(value: Any, expected: Any, where: str) -> Any:
    """`value` checked against a type annotation; int is taken where float is meant."""
    if isinstance(expected, type) and dataclasses.is_dataclass(expected):
        return from_mapping(expected, value, where)
    origin = typing.get_origin(expected)
    if origin is Literal:
        choices = typing.get_args(expected)
        if value not in choices:
            raise ParamsError(
                f"{where}: {quoted(value)}, expected one of {', '.join(map(repr, choices))}"
            )
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in typing.get_args(expected):
            return None
        (inner,) = [t for t in typing.get_args(expected) if t is not type(None)]
        return _parse(value, inner, where)
    if origin in (list, tuple):
        if not isinstance(value, list):
            raise ParamsError(f"{where}: {quoted(value)}, expected a list")
        inner = typing.get_args(expected)[0]
        return origin(_parse(item, inner, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise ParamsError(f"{where}: {quoted(value)}, expected a mapping")
        _, inner = typing.get_args(expected)
        return {str(key): _parse(item, inner, f"{where}.{key}") for key, item in value.items()}
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            raise ParamsError(f"{where}: {quoted(value)}, expected a smaller number") from None
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise ParamsError(f"{where}: {quoted(value)}, expected {expected.__name__}")
    if expected is float and not math.isfinite(value):
        raise ParamsError(f"{where}: {value}, expected a finite number")
    return value


def from_mapping(cls: type[T], value: Any, where: str) -> T:
    """Builds the dataclass `cls` from a mapping, refusing unknown and missing keys.

    Args:
        cls: a dataclass; nested dataclasses, lists and Literals are followed.
        value: what YAML gave.
        where: dotted path of `value`, for messages.

    Raises:
        ParamsError: names the key, its value and what was expected.
    """
    if not isinstance(value, dict):
        raise ParamsError(f"{where}: {quoted(value)}, expected a section with keys")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    for key in value:
        if key not in fields:
            raise unknown_key(key, where, fields)
    parsed = {key: _parse(item, hints[key], f"{where}.{key}") for key, item in value.items()}
    for name, f in fields.items():
        if name not in parsed and f.default is dataclasses.MISSING:
            if f.default_factory is not dataclasses.MISSING:
                continue
            raise ParamsError(f"{where}.{name}: missing")
    try:
        return cls(**parsed)
    except ValueError as error:
        raise ParamsError(f"{where}.{error}") from None


def read_params(path: str | Path) -> dict[str, Any]:
    """Reads params.yaml by the reader that DVC takes, so that its hash is of what is used.

    Aliases, over 32 levels and over a megabyte are refused: they are ways to ask for a value
    without end.

    Raises:
        ParamsError: absent, not YAML 1.2, or not a mapping of sections.
    """
    try:
        value = _parse_yaml(Path(path).read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file") from None
    except OSError as error:
        raise ParamsError(f"{path}: cannot be read ({error.strerror})") from None
    # The constructor lets through whatever int(), float() or datetime raise.
    except Exception as error:
        problem = " ".join(str(error).split())[:500] or type(error).__name__
        raise ParamsError(f"{path}: not valid YAML: {problem}") from None
    if not isinstance(value, dict):
        raise ParamsError(f"{path}: expected a mapping of sections")
    return value


def _parse_yaml(text: str) -> Any:
    # Here, so that the network and its configurations need no reader of YAML.
    from ruamel.yaml import YAML
    from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

    if len(text) > _MOST_BYTES:
        raise ValueError(f"over {_MOST_BYTES} characters")
    depth = 0
    # The C composer recurses and would overflow the stack; events come one by one.
    for event in YAML(typ="safe").parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        line = event.start_mark.line + 1
        if depth > _MOST_DEPTH:
            raise ValueError(f"line {line} is nested more than {_MOST_DEPTH} deep")
        if isinstance(event, AliasEvent):
            raise ValueError(f"line {line} has the alias *{event.anchor}; write the value out")
    return YAML(typ="safe").load(text)


def load(cls: type[T], section: str, path: str | Path = "params.yaml") -> T:
    """The section `section` of the params file at `path` as `cls`.

    Raises:
        ParamsError: see `from_mapping`.
    """
    params = read_params(path)
    if section not in params:
        raise ParamsError(f"{path}: section {section!r} is missing")
    return from_mapping(cls, params[section], f"{path}: {section}")


def chosen_method(path: str | Path) -> str:
    """The name of the method that params.yaml chooses, under whose name its files are in `runs/`.

    Raises:
        ParamsError: the file cannot be read, or `method` is missing, no name, or none of the
            methods of the working folder, where that has any.
    """
    method = read_params(path).get("method")
    known = sorted(file.parent.name for file in Path("methods").glob("*/dvc.yaml"))
    if isinstance(method, str) and _METHOD.fullmatch(method) and (method in known or not known):
        return method
    expected = f"one of {', '.join(known)}" if known else "the name of a method"
    raise ParamsError(f"{path}: method: {quoted(method)}, expected {expected}")
