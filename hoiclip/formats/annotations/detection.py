"""Which layout an annotation file has, by its content."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

from hoiclip.errors import InputError
from hoiclip.formats.annotations.own_csv import SUFFIXES as CSV
from hoiclip.formats.json_stream import list_entries

AnnotationKind = Literal[
    "partition", "hico_mat", "hico_instances", "hoia", "vcoco", "vcoco_instances", "own"
]
KINDS: tuple[AnnotationKind, ...] = get_args(AnnotationKind)

ORDER = "The order is PREDICTIONS ANNOTATIONS"

_HEADER = 4096
_MAT_5, _PARQUET = b"MATLAB 5.0", b"PAR1"
_BY_KEYS: tuple[tuple[AnnotationKind, tuple[bytes, ...]], ...] = (
    ("hico_instances", (b'"correspondence"', b'"filenames"')),
    ("vcoco_instances", (b'"boxes_h"', b'"classes"')),
    ("own", (b'"interactions"', b'"categories"')),
)
"""Keys that a JSON object of each kind has."""
_BY_ENTRY: tuple[tuple[AnnotationKind, str], ...] = (
    ("hoia", "hoi_annotation"),
    ("vcoco", "action_name"),
)
"""Key that the entries of a JSON list of each kind have."""


def kind_of(path: Path) -> AnnotationKind:
    """The kind of an annotation file or folder.

    Raises:
        InputError: absent, or of no kind that is read here.
    """
    if path.is_dir():
        if (path / "images.parquet").is_file():
            return "partition"
        fix = "Name a folder with images.parquet, instances.parquet and interactions.parquet"
        raise InputError(path, "not the folder of a partition", fix=f"{fix}, or a file")
    if path.suffix.lower() in CSV:
        return "own"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(path, "no such file or folder") from None
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})") from None
    if data.startswith(_MAT_5):
        return "hico_mat"
    if data.startswith(_PARQUET):
        fix = f"{ORDER}, and annotations as Parquet are a folder with images.parquet"
        raise InputError(path, "one Parquet table, as predictions are", fix=fix)
    start = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if not start:
        raise InputError(path, "the file is empty")
    if b"human_x1" in data[:_HEADER].partition(b"\n")[0]:
        fix = f"Let its name end in {' or '.join(CSV)}"
        raise InputError(path, "rows with columns, as CSV files have", fix=fix)
    if start == b"[":
        entries = [entry for _, entry in islice(list_entries(path), 1)]
        if not entries:
            raise InputError(path, "an empty list, in which there are no annotations")
        return _kind_of_list(path, entries[0])
    for kind, keys in _BY_KEYS:
        if start == b"{" and all(key in data for key in keys):
            return kind
    if start == b"{" and b'"categories"' in data:
        fix = "With V-COCO's file it is given as --coco"
        raise InputError(path, "COCO instances without interactions", fix=fix)
    raise _unknown(path)


def annotations_in(path: Path) -> AnnotationKind | None:
    """The kind of annotations that a file or folder holds; null where it holds none."""
    try:
        kind = kind_of(path)
        if path.suffix.lower() in CSV:
            with open(path, "rb") as file:
                return kind if b"human_x1" in file.readline() else None
    except (InputError, OSError):
        return None
    return kind


def _kind_of_list(path: Path, entry: Any) -> AnnotationKind:
    keys = entry if isinstance(entry, dict) else {}
    for kind, key in _BY_ENTRY:
        if key in keys:
            return kind
    if "hoi_prediction" in keys or "person_box" in keys:
        raise InputError(path, "holds predictions, not annotations", fix=ORDER)
    raise _unknown(path)


def _unknown(path: Path) -> InputError:
    return InputError(
        path,
        "no annotations of a kind that is read here",
        fix=f"See docs/evaluation.md; --kind names one of {', '.join(KINDS)}",
    )
