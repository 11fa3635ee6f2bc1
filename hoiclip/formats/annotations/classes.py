"""Class lists of a source, by name, as ids of the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hoiclip.errors import InputError
from hoiclip.formats import json_columns
from hoiclip.util import json_values


def listed_ids(
    path: Path, key: str, listed: Sequence[str], names: Sequence[str], fix: str | None = None
) -> np.ndarray:
    """Of each class that the source lists under `key`, its position in the vocabulary's `names`.

    Raises:
        InputError: a class that the vocabulary does not have, with what to do: `fix`.
    """
    ids = {name: index for index, name in enumerate(names)}
    for row, name in enumerate(listed):
        if name not in ids:
            problem = f"{name!r} is not in the vocabulary{json_values.like(name, names)}"
            raise InputError(path, problem, row=row, key=key, fix=fix)
    return np.array([ids[name] for name in listed], np.int64)


def names_of(path: Path, document: dict[str, Any], key: str) -> list[str]:
    """The list of names under `key`."""
    return [
        json_values.text(path, i, key, value)
        for i, value in json_values.entries(path, document, key)
    ]


def mapped(path: Path, key: str, lists: Sequence[Sequence[Any]], ids: np.ndarray) -> np.ndarray:
    """All numbers of `lists`, looked up in `ids`; (R,) int64.

    Raises:
        InputError: a number out of range, with the list it is in as its row.
    """
    values = json_columns.integers(path, key, lists)
    wrong = (values < 0) | (values >= len(ids))
    if wrong.any():
        index = int(np.flatnonzero(wrong)[0])
        problem = f"{values[index]} is out of range 0..{len(ids) - 1}"
        raise InputError(path, problem, row=int(json_columns.rows_of(lists)[index]), key=key)
    return ids[values]
