"""Which format a predictions file has, by its content."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from hoiclip.errors import InputError
from hoiclip.foreign.matlab import is_matlab
from hoiclip.foreign.prediction_entries import prediction_entries

PredictionFormat = Literal["parquet", "hoia", "vcoco", "matlab"]
FORMATS: tuple[PredictionFormat, ...] = get_args(PredictionFormat)

_PARQUET, _MATLAB = b"PAR1", b"MATLAB"
_PICKLES = (b"\x80", b"(l", b"(d", b"]q", b"}q")
"""How pickles begin: of protocols 2 and up; lists and dicts of 0; of 1."""
_PICKLE_SUFFIXES = (".pkl", ".pickle", ".pk", ".p")
_BINARY = {
    b"PK\x03\x04": "an archive, as PyTorch, NumPy and zip make them",
    b"\x93NUMPY": "an array of NumPy's",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a file compressed by gzip",
}


def format_of(path: Path) -> PredictionFormat:
    """The format of a predictions file, or folder of Matlab's.

    Raises:
        InputError: absent, a pickle, or of no format that is read here.
    """
    if path.is_dir():
        return _of_folder(path)
    try:
        with open(path, "rb") as file:
            head = file.read(8)
    except FileNotFoundError:
        raise InputError(path, "no such file") from None
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})") from None
    if head.startswith(_PARQUET):
        return "parquet"
    if head.startswith(_MATLAB) or path.suffix.lower() == ".mat":
        return "matlab"
    for start, what in _BINARY.items():
        if head.startswith(start):
            fix = "Unpack it, or save what is in it as one of the formats in docs/evaluation.md"
            raise InputError(path, f"{what}, which is not read here", fix=fix)
    if head.startswith(_PICKLES) or path.suffix.lower() in _PICKLE_SUFFIXES:
        raise _is_pickle(path)
    for _, entry in prediction_entries(path):
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


def _of_folder(path: Path) -> PredictionFormat:
    if is_matlab(path):
        return "matlab"
    if (path / "images.parquet").is_file():
        fix = "The order is PREDICTIONS ANNOTATIONS"
        raise InputError(path, "holds annotations, not predictions", fix=fix)
    problem = "a folder, in which no Matlab detections stand (detections_01.mat, ...)"
    raise InputError(path, problem, fix="Name a file of predictions")


def _is_pickle(path: Path) -> InputError:
    target = f"{path.with_suffix('.json').name}"
    # UPT, SCG and PViC keep a class of their own, CacheTemplate, which is a dict.
    reader = (
        "type('R', (pickle.Unpickler,), {'find_class': lambda self, module, name: dict "
        "if name == 'CacheTemplate' else pickle.Unpickler.find_class(self, module, name)})"
    )
    lines = (
        "import json, pickle",
        f"entries = {reader}(open({path.name!r}, 'rb'), encoding='latin1').load()",
        f"json.dump(entries, open({target!r}, 'w'), default=lambda v: v.tolist())",
    )
    return InputError(
        path,
        "a pickle, which can run any code when it is opened, so it is not opened here",
        fix=f"Where you trust it, make it JSON in Python: {'; '.join(lines)}",
    )
