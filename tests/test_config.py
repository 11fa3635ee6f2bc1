from dataclasses import dataclass, field
from typing import Literal

import pytest
import yaml

from hoiclip.config import check, from_mapping, load, read_params
from hoiclip.errors import ParamsError


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float
    sizes: list[int]


@dataclass(frozen=True, kw_only=True)
class Outer:
    steps: int
    name: str
    on: bool
    kind: Literal["one", "two"]
    limit: int | None
    inner: Inner
    extra: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check(self.steps >= 1, f"steps: {self.steps}, expected at least 1")


GOOD = {
    "steps": 3, "name": "x", "on": True, "kind": "two", "limit": None,
    "inner": {"rate": 0.5, "sizes": [1, 2]},
}  # fmt: skip


def changed(**values):
    return GOOD | values


def inner(**values):
    return changed(inner=GOOD["inner"] | values)


def test_a_good_section_is_read_with_its_types():
    made = from_mapping(Outer, changed(limit=4, inner={"rate": 2, "sizes": []}), "part")
    assert made == Outer(
        steps=3, name="x", on=True, kind="two", limit=4, inner=Inner(rate=2.0, sizes=[])
    )
    assert isinstance(made.inner.rate, float)
    assert made.extra == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (changed(speed=1), r"part\.speed: unknown key; known are steps, name"),
        (inner(sise=1), r"part\.inner\.sise: unknown key"),
        ({k: v for k, v in GOOD.items() if k != "name"}, r"part\.name: missing"),
        (changed(inner={"rate": 1.0}), r"part\.inner\.sizes: missing"),
        (changed(steps="3"), r"part\.steps: '3', expected int"),
        (changed(steps=3.0), r"part\.steps: 3\.0, expected int"),
        (changed(steps=True), r"part\.steps: True, expected int"),
        (changed(steps=None), r"part\.steps: None, expected int"),
        (changed(on=1), r"part\.on: 1, expected bool"),
        (changed(name=5), r"part\.name: 5, expected str"),
        (changed(kind="three"), r"part\.kind: 'three', expected one of 'one', 'two'"),
        (changed(limit="no"), r"part\.limit: 'no', expected int"),
        (inner(rate=True), r"part\.inner\.rate: True, expected float"),
        (inner(rate="1e-4"), r"'1e-4', expected float \(YAML reads 1e-4 as text: write 1\.0e-4\)"),
        (inner(sizes=3), r"part\.inner\.sizes: 3, expected a list"),
        (inner(sizes=[1, "2"]), r"part\.inner\.sizes\[1\]: '2', expected int"),
        (changed(inner=[1]), r"part\.inner: \[1\], expected a section"),
        (changed(inner=None), r"part\.inner: None, expected a section"),
        (changed(steps=0), r"part\.steps: 0, expected at least 1"),
        ("text", r"part: 'text', expected a section"),
    ],
)
def test_a_bad_section_names_the_key_and_the_value(value, message):
    with pytest.raises(ParamsError, match=message) as info:
        from_mapping(Outer, value, "part")
    assert "\n" not in str(info.value)


def test_messages_start_with_file_and_section(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({"part": inner(rate="1e-4")}))
    with pytest.raises(ParamsError) as info:
        load(Outer, "part", path)
    assert str(info.value).startswith(f"{path}: part.inner.rate: '1e-4'")
    with pytest.raises(ParamsError) as info:
        load(Outer, "train", path)
    assert str(info.value) == f"{path}: section 'train' is missing"


def test_yaml_text_that_looks_like_a_number_gets_the_hint(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("part: {rate: 1e-4, sizes: []}")
    with pytest.raises(ParamsError, match=r"write 1\.0e-4"):
        load(Inner, "part", path)
    path.write_text("part: {rate: 1.0e-4, sizes: []}")
    assert load(Inner, "part", path).rate == 1e-4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"a: [1", "not valid YAML"),
        (b"- 1\n- 2\n", "expected a mapping"),
        (b"", "expected a mapping"),
        (b"a: \xff\xfe", "not valid YAML"),
    ],
)
def test_an_unreadable_file_is_one_line(tmp_path, content, message):
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ParamsError, match=message) as info:
        read_params(path)
    assert str(info.value).startswith(f"{path}: ")
    assert "\n" not in str(info.value)
