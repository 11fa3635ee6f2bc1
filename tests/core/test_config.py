import time
from dataclasses import dataclass, field
from typing import Literal

import pytest
import yaml
from dvc.utils.serialize import load_yaml

from hoiclip.core.config import check, from_mapping, load, read_params
from hoiclip.errors import ParamsError

LAUGHS = b"\n".join(
    [b"a0: &a0 [lol, lol]"]
    + [b"a%d: &a%d [*a%d, *a%d]" % (i, i, i - 1, i - 1) for i in range(1, 40)]
)


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
        (inner(rate="1e-4"), r"part\.inner\.rate: '1e-4', expected float"),
        (inner(rate=float("nan")), r"part\.inner\.rate: nan, expected a finite number"),
        (inner(rate=float("-inf")), r"part\.inner\.rate: -inf, expected a finite number"),
        (inner(rate=10**400), r"part\.inner\.rate: 1000.*, expected a smaller number"),
        (changed(steps=[10**5000]), r"part\.steps: a number of thousands of digits, expected int"),
        (changed(steps="x" * 10**6), r"part\.steps: 'xx.*, expected int"),
        (changed(**{"x" * 10**6: 1}), r"part\.x{60}: unknown key"),
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
    path.write_text(yaml.safe_dump({"part": inner(rate="fast")}))
    with pytest.raises(ParamsError) as info:
        load(Outer, "part", path)
    assert str(info.value).startswith(f"{path}: part.inner.rate: 'fast'")
    with pytest.raises(ParamsError) as info:
        load(Outer, "train", path)
    assert str(info.value) == f"{path}: section 'train' is missing"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1.0e-4", 1e-4),
        ("yes", "yes"),
        ("off", "off"),
        ("010", 10),
        ("0o17", 15),
        ("12:30:00", "12:30:00"),
        ("true", True),
        ("~", None),
        ("1_000", 1000),
    ],
)
def test_a_scalar_reads_as_dvc_reads_it(tmp_path, text, value):
    """YAML 1.2: else DVC would hash another value than is used."""
    path = tmp_path / "params.yaml"
    path.write_text(f"a: {text}\n")
    found = read_params(path)["a"]
    assert found == load_yaml(str(path))["a"] == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"a: [1", "not valid YAML"),
        (b"- 1\n- 2\n", "expected a mapping"),
        (b"", "expected a mapping"),
        (b"a: \xff\xfe", "not valid YAML"),
        (b"a: " + b"[" * 10_000, "nested more than 32 deep"),
        (b"a: " + b"[" * 200_000 + b"]" * 200_000, "nested more than 32 deep"),
        (b"a: " + b"{a: " * 10_000, "nested more than 32 deep"),
        (b"- " * 10_000, "nested more than 32 deep"),
        (b"a: &a [*a]", r"line 1 has the alias \*a"),
        (b"a: &a {<<: *a}", r"line 1 has the alias \*a"),
        (LAUGHS, r"line 2 has the alias \*a0; write the value out"),
        (b"a: " + b"9" * 100_000, "not valid YAML: Exceeds the limit"),
        (b"a: " + b"9" * 2**21, "not valid YAML: over 1048576 characters"),
        (b"a: 1\na: 2", "not valid YAML.*duplicate key"),
        (b"a:\n\t- 1", "not valid YAML"),
        (b"a: \0", "not valid YAML"),
        (b"a: 1\n---\nb: 1", "not valid YAML"),
        (b"a: !!python/object/apply:os.getcwd []", "not valid YAML"),
        (b"a: !!int x", "not valid YAML"),
        (b"a: !!float x", "not valid YAML"),
        (b"a: !!bool x", "not valid YAML"),
        (b"a: !!timestamp x", "not valid YAML"),
    ],
)
def test_an_unreadable_file_is_one_line(tmp_path, content, message):
    started = time.monotonic()
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ParamsError, match=message) as info:
        read_params(path)
    assert str(info.value).startswith(f"{path}: ")
    assert "\n" not in str(info.value)
    assert len(str(info.value)) < 1000
    assert time.monotonic() - started < 1
