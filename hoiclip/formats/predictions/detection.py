"""Which format a predictions file has, by its content."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hoiclip.errors import InputError
from hoiclip.formats.content import Content
from hoiclip.formats.predictions.wrappings import prediction_entries
from hoiclip.formats.registry import PREDICTION_FORMATS

_HEAD = 8
_PICKLES = (b"\x80", b"(l", b"(d", b"]q", b"}q")
"""How pickles begin: of protocols 2 and up; lists and dicts of 0; of 1."""
_PICKLE_SUFFIXES = (".pkl", ".pickle", ".pk", ".p")
_BINARY = {
    b"PK\x03\x04": "an archive, as PyTorch, NumPy and zip make them",
    b"\x93NUMPY": "an array of NumPy's",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a file compressed by gzip",
}


def format_of(path: Path) -> str:
    """The format of a predictions file, or folder of Matlab's: a key of `PREDICTION_FORMATS`.

    Raises:
        InputError: absent, a pickle, or of no format that is read here.
    """
    content = Content(path, _entries)
    for name, format_ in PREDICTION_FORMATS.items():
        if format_.detect(content):
            return name
    raise _unknown(content)


def _entries(path: Path) -> Iterator[tuple[int, Any]]:
    """The entries of a file of text; others say what they are, and are not opened."""
    if path.is_dir():
        yield 0, {}
        return
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    for start, what in _BINARY.items():
        if head.startswith(start):
            fix = "Unpack it, or save what is in it as one of the formats in docs/evaluation.md"
            raise InputError(path, f"{what}, which is not read here", fix=fix)
    if head.startswith(_PICKLES) or path.suffix.lower() in _PICKLE_SUFFIXES:
        raise _is_pickle(path)
    yield from prediction_entries(path)


def _unknown(content: Content) -> InputError:
    """What a file is that no format takes for its own, and what to do about it."""
    path, entry = content.path, content.first_entry or {}
    is_partition = content.is_folder and (path / "images.parquet").is_file()
    if is_partition or entry.keys() & {"hoi_annotation", "action_name"}:
        fix = "The order is PREDICTIONS ANNOTATIONS"
        return InputError(path, "holds annotations, not predictions", fix=fix)
    if content.is_folder:
        problem = "a folder, in which no Matlab detections stand (detections_01.mat, ...)"
        return InputError(path, problem, fix="Name a file of predictions")
    problem = "its first entry has neither hoi_prediction nor person_box"
    return InputError(path, problem, row=0, fix="See docs/evaluation.md for the formats")


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
