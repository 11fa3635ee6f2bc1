"""Errors that a person can act on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from hoiclip.printable import printable


class HoiclipError(Exception):
    """Base of every error this package raises for bad input; its text is one printable line."""

    def __str__(self) -> str:
        return printable(" ".join(super().__str__().splitlines()))


class ParamsError(HoiclipError):
    """A key or value in params.yaml is wrong."""


class WeightsError(HoiclipError):
    """A weight file is missing, altered or of another shape than the model."""


class NonFiniteLossError(HoiclipError):
    """Training met a loss that is not a finite number."""


class StoppedError(HoiclipError):
    """Work was told to stop, and has kept what it needs to go on."""


class InputError(HoiclipError):
    """A data file is missing, malformed or contradicts another.

    It survives pickling, so that worker processes can raise it.

    Args:
        path: the file.
        problem: what is wrong, with the value.
        row: 0-based row (or JSON index) where it is wrong, if there is one.
        key: column or key, if there is one.
        fix: what to do about it.
    """

    def __init__(
        self,
        path: str | Path,
        problem: str,
        *,
        row: int | None = None,
        key: str | None = None,
        fix: str | None = None,
    ) -> None:
        # Escaped here, where a line break is still known to belong to the name.
        place = [printable(str(path))]
        if row is not None:
            place.append(f"row {row}")
        if key is not None:
            place.append(key)
        text = f"{', '.join(place)}: {problem}"
        super().__init__(f"{text}. {fix}" if fix else text)
        self.path, self.row, self.key = Path(path), row, key
        self._rebuild = partial(type(self), path, problem, row=row, key=key, fix=fix)

    def __reduce__(self) -> tuple[Callable[[], InputError], tuple[()]]:
        return self._rebuild, ()


class NetworkError(InputError):
    """The network or a server failed in a way that may be gone at the next try."""

    exit_code = 75
    """Of a stage that it ends (EX_TEMPFAIL of sysexits.h), so that who runs it may try again."""
