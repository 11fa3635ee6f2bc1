"""Reading the files of a run: whatever is wrong with one is an `InputError` that names it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from hoiclip.core import schema
from hoiclip.core.files import read_json
from hoiclip.errors import InputError


def read_text(path: Path) -> str:
    """A UTF-8 file; `InputError` if it is absent or none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(path, "no such file") from None
    except UnicodeDecodeError as error:
        raise InputError(path, f"not UTF-8 ({error})") from None


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; `InputError` if the file is absent or holds anything else."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(path, f"a JSON {type(value).__name__}, expected an object")
    return value


def holds(value: Any, key: str) -> bool:
    """Whether a JSON object has a dotted key, be its value null."""
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True


def read_csv(path: Path, columns: pa.Schema) -> pa.Table:
    """The named columns of a CSV; `InputError` if one is absent or of another type."""
    if not path.is_file():
        raise InputError(path, "no such file", fix="Run evaluate")
    types = csv.ConvertOptions(column_types=columns, include_columns=columns.names)
    try:
        return csv.read_csv(path, convert_options=types)
    except (pa.ArrowInvalid, KeyError) as error:
        names = ", ".join(columns.names)
        raise InputError(path, f"not a table of {names} ({error})") from None


def read_optional(path: Path, columns: pa.Schema) -> pa.Table | None:
    """A Parquet table; None without the file, `InputError` as of `schema.read_table`."""
    return schema.read_table(path, columns) if path.exists() else None


def read_hois(path: Path) -> np.ndarray | None:
    """HOI class of each row of an interactions table; None without the file."""
    table = read_optional(path, schema.INTERACTIONS)
    return None if table is None else table["hoi"].to_numpy()


def read_summaries(runs: Path, stages: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Stage → what it left in `<runs>/<stage>/summary.json`; `InputError` if that is no object."""
    paths = {stage: runs / stage / "summary.json" for stage in stages}
    return {stage: read_object(path) for stage, path in paths.items() if path.exists()}
