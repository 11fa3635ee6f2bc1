"""Which format a predictions file has, by its content."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from hoiclip.errors import InputError
from hoiclip.foreign.json_list import list_entries

PredictionFormat = Literal["parquet", "hoia", "vcoco"]
FORMATS: tuple[PredictionFormat, ...] = get_args(PredictionFormat)

_PARQUET, _PICKLE = b"PAR1", b"\x80"
_PICKLE_SUFFIXES = (".pkl", ".pickle")


def format_of(path: Path) -> PredictionFormat:
    """The format of a predictions file.

    Raises:
        InputError: absent, a pickle, or of no format that is read here.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(4)
    except FileNotFoundError:
        raise InputError(path, "no such file") from None
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})") from None
    if head == _PARQUET:
        return "parquet"
    if head[:1] == _PICKLE or path.suffix.lower() in _PICKLE_SUFFIXES:
        raise _is_pickle(path)
    for _, entry in list_entries(path):
        keys = entry if isinstance(entry, dict) else {}
        for name, key in (("hoia", "hoi_prediction"), ("vcoco", "person_box")):
            if key in keys:
                return name
        if "hoi_annotation" in keys or "action_name" in keys:
            fix = "The order is PREDICTIONS ANNOTATIONS"
            raise InputError(path, "holds annotations, not predictions", fix=fix)
        break
    else:
        return "hoia"
    problem = "its first entry has neither hoi_prediction nor person_box"
    raise InputError(path, problem, row=0, fix="See docs/evaluation.md for the formats")


def _is_pickle(path: Path) -> InputError:
    target = f"{path.with_suffix('.json').name}"
    lines = (
        "import json, pickle",
        f"json.dump(pickle.load(open({path.name!r}, 'rb')), open({target!r}, 'w'), "
        "default=lambda v: v.tolist())",
    )
    return InputError(
        path,
        "a pickle, which can run any code when it is opened, so it is not opened here",
        fix=f"Where you trust it, make it JSON in Python: {'; '.join(lines)}",
    )
