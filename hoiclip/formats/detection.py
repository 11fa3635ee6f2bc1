"""Which format an annotation file or folder has, by its content."""

from __future__ import annotations

from pathlib import Path

from hoiclip.errors import InputError
from hoiclip.formats.annotations.own_csv import SUFFIXES as CSV
from hoiclip.formats.annotations.own_csv import has_rows
from hoiclip.formats.content import Content
from hoiclip.formats.json_stream import list_entries
from hoiclip.formats.registry import ANNOTATION_FORMATS

ORDER = "The order is PREDICTIONS ANNOTATIONS"

_PARQUET = b"PAR1"


def kind_of(path: Path) -> str:
    """The format of an annotation file or folder, a key of `ANNOTATION_FORMATS`.

    Raises:
        InputError: absent, or of no format that is read here.
    """
    content = Content(path, list_entries)
    for name, format_ in ANNOTATION_FORMATS.items():
        if format_.detect(content):
            return name
    raise _unknown(content)


def annotations_in(path: Path) -> str | None:
    """The format of the annotations that a file or folder holds; null where it holds none."""
    content = Content(path, list_entries)
    try:
        kind = kind_of(path)
        # Any file may be named so.
        return kind if content.suffix not in CSV or has_rows(content) else None
    except InputError:
        return None


def _unknown(content: Content) -> InputError:
    """What a file is that no format takes for its own, and what to do about it."""
    path = content.path
    if content.is_folder:
        fix = "Name a folder with images.parquet, instances.parquet and interactions.parquet"
        return InputError(path, "not the folder of a partition", fix=f"{fix}, or a file")
    if content.data.startswith(_PARQUET):
        fix = f"{ORDER}, and annotations as Parquet are a folder with images.parquet"
        return InputError(path, "one Parquet table, as predictions are", fix=fix)
    if not content.sign:
        return InputError(path, "the file is empty")
    if has_rows(content):
        fix = f"Let its name end in {' or '.join(CSV)}"
        return InputError(path, "rows with columns, as CSV files have", fix=fix)
    if content.sign == b"[" and content.first_entry is None:
        return InputError(path, "an empty list, in which there are no annotations")
    if content.sign == b"[" and {"hoi_prediction", "person_box"} & set(content.first_entry or ()):
        return InputError(path, "holds predictions, not annotations", fix=ORDER)
    if content.has_keys("categories"):
        fix = "With V-COCO's file it is given as --coco"
        return InputError(path, "COCO instances without interactions", fix=fix)
    names = ", ".join(ANNOTATION_FORMATS)
    fix = f"See docs/evaluation.md; --kind names one of {names}"
    return InputError(path, "no annotations of a kind that is read here", fix=fix)
