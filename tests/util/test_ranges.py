"""Every number of every configuration has a range: walked, so that no new field is left out."""

from __future__ import annotations

import argparse
import ast
import copy
import dataclasses
import math
import types
import typing
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import pytest

from hoiclip.clip.config import ClipConfig
from hoiclip.core.config import from_mapping, read_params
from hoiclip.errors import ParamsError
from hoiclip.experiments.params import SECTIONS
from hoiclip.inference.predict import PredictConfig
from hoiclip.pretraining.clip import ClipPretraining
from hoiclip.util.ranges import Config, Device, Range, Threads, Weight, number, quoted
from hoiclip.verb_vectors.arithmetic import VerbVectorsConfig

ROOT = Path(__file__).parents[2]
CLIP = {
    "model_cfg": {
        "embed_dim": 12,
        "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 128, "layers": 1},
        "text_cfg": {"context_length": 4, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1},
    }
}
ODD = [
    math.nan, math.inf, -math.inf, -1, 0, 1, -0.5, 0.5, 1.5, 10**30, 10**400, -(10**400), 10**5000,
    1e308, 5e-324, "5", "nan", True, False, None, [], {}, [1],
]  # fmt: skip
Path_ = tuple[str | int, ...]


@cache
def roots() -> dict[str, tuple[type, dict[str, Any]]]:
    params = read_params(ROOT / "params.yaml")
    found = {name: (cls, params[name]) for name, cls in SECTIONS.items()}
    found["clip"] = ClipConfig, CLIP
    found["pretraining"] = ClipPretraining, dataclasses.asdict(ClipPretraining())
    return found


def optional(hint: Any) -> tuple[Any, bool]:
    """A hint without its `| None`, and whether it had one."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        parts = typing.get_args(hint)
        (inner,) = [part for part in parts if part is not types.NoneType]
        return inner, types.NoneType in parts
    return hint, False


def leaves(hint: Any, path: Path_, none: bool = False) -> list[tuple[Path_, Any, bool]]:
    """Path, hint and whether null is allowed, of every leaf below; -1 is an item of a list."""
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint, include_extras=True)
        return [
            leaf
            for field in dataclasses.fields(hint)
            for leaf in leaves(*[optional(hints[field.name])[0], (*path, field.name)],
                               none=optional(hints[field.name])[1])
        ]  # fmt: skip
    if typing.get_origin(hint) in (list, tuple):
        return leaves(typing.get_args(hint)[0], (*path, -1))
    return [(path, hint, none)]


NUMBERS = [
    (name, path, hint, none)
    for name, (cls, _) in roots().items()
    for path, hint, none in leaves(cls, ())
    if typing.get_origin(hint) is not Literal and hint not in (str, bool, Device)
]


def placed(mapping: dict[str, Any], path: Path_, value: Any) -> tuple[dict[str, Any], str]:
    """A copy with `value` at `path`, and the name that a message gives it."""
    mapping = copy.deepcopy(mapping)
    section, where = mapping, ""
    for key, after in zip(path, (*path[1:], None), strict=True):
        where += f"[{len(section)}]" if key == -1 else f".{key}"
        if after is None and key == -1:
            section.append(value)
        elif after is None:
            section[key] = value
        elif after == -1:
            section[key] = list(section.get(key) or [])
            section = section[key]
        else:
            section = section[key]
    return mapping, where


def forms(value: Any) -> list[Any]:
    """What a message may call a value: an integer that stands for a float is named as one."""
    if isinstance(value, list):
        return [value, *value]
    is_float = isinstance(value, int) and abs(value) < 1e308
    return [value, float(value)] if is_float else [value]


def test_every_number_has_a_range():
    assert len(NUMBERS) > 80
    bare = [
        (name, path) for name, path, hint, _ in NUMBERS if typing.get_origin(hint) is not Annotated
    ]
    assert not bare, "declare them with a Range, as hoiclip/util/ranges.py does"
    for name, path, hint, _ in NUMBERS:
        kind, limits = typing.get_args(hint)
        assert kind in (int, float), (name, path)
        assert isinstance(limits, Range), (name, path)
        assert math.isfinite(limits.least), (name, path)
        assert limits.least <= limits.most < 1e12, (name, path)


def classes(hint: Any) -> set[type]:
    """A dataclass and those in its fields."""
    hint = optional(hint)[0]
    if typing.get_origin(hint) in (list, tuple):
        return classes(typing.get_args(hint)[0])
    if not dataclasses.is_dataclass(hint):
        return set()
    return {hint}.union(*map(classes, typing.get_type_hints(hint).values()))


CLASSES = set().union(*(classes(cls) for cls, _ in roots().values()))


@pytest.mark.parametrize(
    "cls", sorted(CLASSES, key=lambda cls: cls.__name__), ids=lambda cls: cls.__name__
)
def test_every_class_with_numbers_checks_them(cls):
    """Also where it is made in Python, whether or not it has checks of its own."""
    hints = typing.get_type_hints(cls, include_extras=True)
    if any("Range(" in repr(hint) for hint in hints.values()):
        assert issubclass(cls, Config)


def test_every_class_that_is_read_is_walked():
    """`load(SomeConfig, ...)` and `from_mapping(SomeConfig, ...)` name no class left out here."""
    # Made of sections that are walked: `model` and a method's make a network's.
    made = {"ModelConfig", "Scoring", "GenVlktModelConfig", "DistilledConfig"}
    known, calls = {cls.__name__ for cls in CLASSES} | made, 0
    folders = [ROOT / name for name in ("hoiclip", "stages", "benchmarks")]
    for path in [path for folder in folders for path in folder.rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        if "from hoiclip.core.config import" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            name = getattr(getattr(node, "func", None), "id", "")
            if name in ("load", "from_mapping") and path.name != "config.py":
                first = getattr(node.args[0], "id", "")
                assert first in known | {"cls"}, f"{path}: {first}"
                calls += 1
    assert calls > 12


@pytest.mark.parametrize(
    ("name", "path", "hint", "none"), NUMBERS, ids=[f"{n}:{p}" for n, p, _, _ in NUMBERS]
)
def test_a_number_is_taken_in_its_range_alone(name, path, hint, none):
    cls, mapping = roots()[name]
    kind, limits = typing.get_args(hint)
    step = 1 if kind is int else 1e-9
    ends = [limits.least, limits.most, limits.least - step, limits.most + step * limits.most]
    for value in [*ODD, *ends]:
        changed, where = placed(mapping, path, value)
        is_number = type(value) is int or (kind is float and type(value) is float)
        fits = (none and value is None) or (is_number and value in limits)
        try:
            from_mapping(cls, changed, name)
        except ParamsError as error:
            text = str(error)
            assert "\n" not in text
            assert len(text) < 500
            if not fits:
                assert text.startswith(f"{name}{where}"), text
                assert any(quoted(form) in text for form in forms(value)), text
        else:
            assert fits, f"{name}{where}: {quoted(value)} was taken"
            assert value is None or value in limits


def test_numbers_are_checked_where_the_class_is_made_in_python():
    nms = from_mapping(PredictConfig, read_params(ROOT / "params.yaml")["predict"], "predict").nms
    for value in (-0.1, 1.1, math.nan, math.inf, "0.5", True, None):
        with pytest.raises(ValueError, match=r"^threshold: "):
            dataclasses.replace(nms, threshold=value)
    assert dataclasses.replace(nms, threshold=0).threshold == 0


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1), ("1024", 1024), ("0", None), ("1025", None), ("-1", None),
                        ("1.0", None), ("nan", None), ("x", None), ("", None), ("9" * 9999, None)],
)  # fmt: skip
def test_a_flag_takes_the_same_numbers(text, value):
    if value is None:
        with pytest.raises(argparse.ArgumentTypeError, match=r"expected (at least 1|int)") as info:
            number(Threads)(text)
        assert len(str(info.value)) < 200
    else:
        assert number(Threads)(text) == value


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e400", "-1", "1000001"])
def test_a_flag_refuses_what_is_not_finite(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected at least 0 and at most 1000000"):
        number(Weight)(text)


def test_ends_that_are_left_out():
    assert 0 not in Range(0, 1, above=True)
    assert 1 not in Range(0, 1, below=True)
    assert {0, 1} <= {value for value in (0, 1, 2) if value in Range(0, 1)}
    assert str(Range(0, 1, above=True, below=True)) == "above 0 and below 1"
    assert str(Range(8, 9, why="so")) == "at least 8 and at most 9: so"


@pytest.mark.parametrize("device", ["cpu", "auto", "cuda", "cuda:0", "cuda:12"])
def test_devices_are_taken(device):
    assert number(Device)(device) == device


@pytest.mark.parametrize("device", ["", "mps", "cuda:", "cuda:x", "cuda:1234", "gpu", "CPU"])
def test_other_devices_are_refused_with_what_there_is(device):
    with pytest.raises(argparse.ArgumentTypeError, match="cpu, cuda, cuda:NUMBER or auto; mps has"):
        number(Device)(device)
    mapping = {"device": device, "threads": 1, "batch_size": 1, "workers": 0}
    with pytest.raises(ParamsError, match=r"verb_vectors\.device: .*, expected cpu, cuda"):
        from_mapping(VerbVectorsConfig, mapping | {"accumulation": "correct"}, "verb_vectors")
