"""That a method without labels is given none."""

from __future__ import annotations

from pathlib import Path

from hoiclip.errors import InputError

LABELS = ("instances.parquet", "interactions.parquet", "classes.parquet")
"""Files of labels: of boxes, of pairs, and of how many pairs each class has."""


def check_no_labels(files: list[Path], title: str) -> None:
    """Refuses tables of annotated pairs, and folders that hold some.

    Raises:
        InputError: names the first.
    """
    for path in files:
        if any((path / name).exists() or path.name == name for name in LABELS):
            fix = "Give it the table of the images alone"
            raise InputError(path, f"holds labels, and {title} learns without", fix=fix)
