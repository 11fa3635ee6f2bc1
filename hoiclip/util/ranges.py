"""Ranges of numbers, declared beside the type; params, flags and model headers share them."""

from __future__ import annotations

import argparse
import numbers
import re
import reprlib
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Union

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 60


def quoted(value: Any) -> str:
    """`repr` for a message: short, also of what is endless or an integer without end."""
    try:
        return _REPR.repr(value)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "a number of thousands of digits"


@dataclass(frozen=True)
class Range:
    """Numbers that a setting may have; NaN and infinities are in none.

    Attributes:
        least: the least of them.
        most: the largest.
        above: whether `least` itself is left out.
        below: whether `most` itself is left out.
        why: why no others, for the message.
    """

    least: float
    most: float
    above: bool = False
    below: bool = False
    why: str = ""

    def __contains__(self, value: float) -> bool:
        return (self.least < value if self.above else self.least <= value) and (
            value < self.most if self.below else value <= self.most
        )

    def __str__(self) -> str:
        least = f"{'above' if self.above else 'at least'} {self.least:.12g}"
        most = f"{'below' if self.below else 'at most'} {self.most:.12g}"
        return f"{least} and {most}" + (f": {self.why}" if self.why else "")


# Upper ends are far above what anybody trains with, and low enough that no typing error asks for
# terabytes or for ever.
Seed = Annotated[int, Range(0, 2**32 - 1)]
Threads = Annotated[int, Range(1, 1024)]
Workers = Annotated[int, Range(0, 256)]
Count = Annotated[int, Range(1, 10_000_000)]
CountOrZero = Annotated[int, Range(0, 10_000_000)]
Images = Annotated[int, Range(1, 1_000_000)]
BatchSize = Annotated[int, Range(1, 16_384)]
Layers = Annotated[int, Range(1, 128)]
Width = Annotated[int, Range(1, 16_384)]
Pixels = Annotated[int, Range(1, 16_384)]
ClassIndex = Annotated[int, Range(0, 1_000_000)]
Probability = Annotated[float, Range(0, 1)]
Dropout = Annotated[float, Range(0, 1, below=True)]
Rate = Annotated[float, Range(0, 100)]
Weight = Annotated[float, Range(0, 1_000_000)]
Power = Annotated[float, Range(0, 100)]


@dataclass(frozen=True)
class Pattern:
    """Texts that a setting may be.

    Attributes:
        pattern: a regular expression of the whole text.
        expected: what a person reads of it.
    """

    pattern: str
    expected: str

    def __contains__(self, value: str) -> bool:
        return re.fullmatch(self.pattern, value) is not None

    def __str__(self) -> str:
        return self.expected


Device = Annotated[
    str,
    Pattern(
        r"cpu|auto|cuda(:[0-9]{1,3})?",
        "cpu, cuda, cuda:NUMBER or auto; mps has no float64, which this program needs",
    ),
]


@dataclass(frozen=True)
class Config:
    """Base of every dataclass of settings: its numbers are checked however it is made.

    Raises:
        ValueError: a number is outside its field's `Range`; begins with the field's name.
    """

    def __post_init__(self) -> None:
        cls: type = type(self)
        for name, hint in _hints(cls).items():
            _check(getattr(self, name), hint, name)


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def _check(value: Any, hint: Any, name: str) -> None:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        kind, limits = inner
        if kind is str:
            if value not in limits:
                raise ValueError(f"{name}: {quoted(value)}, expected {limits}")
            return
        whole = kind is int
        if isinstance(value, bool) or not isinstance(
            value, numbers.Integral if whole else numbers.Real
        ):
            raise ValueError(f"{name}: {quoted(value)}, expected {kind.__name__}")
        if value not in limits:
            raise ValueError(f"{name}: {quoted(value)}, expected {limits}")
    elif origin in (Union, types.UnionType):
        if value is not None:
            _check(value, next(part for part in inner if part is not type(None)), name)
    elif origin in (list, tuple):
        for index, item in enumerate(value):
            _check(item, inner[0], f"{name}[{index}]")


def number(annotated: Any) -> Callable[[str], float]:
    """`type` of an argparse argument that takes such a number, as `number(Threads)`."""
    kind, limits = typing.get_args(annotated)

    def parse(text: str) -> float:
        try:
            value: float = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{quoted(text)}, expected {kind.__name__}") from None
        if value not in limits:
            raise argparse.ArgumentTypeError(f"{quoted(text)}, expected {limits}")
        return value

    return parse
