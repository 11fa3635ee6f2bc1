"""Imported annotations as a folder that evaluation, training and people's own code can read."""

from __future__ import annotations

from pathlib import Path

from hoiclip import schema
from hoiclip.data.readers.report import REPORT
from hoiclip.errors import InputError
from hoiclip.files import atomic_folder
from hoiclip.foreign.annotations import Source


def check_target(folder: Path) -> None:
    """Refuses a folder that holds anything, which would be lost.

    Raises:
        InputError: `folder` is a file, or not empty.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(folder, "exists already", fix="Name a new folder")


def write_partition(folder: Path, source: Source, file: Path) -> None:
    """Writes `images`, `instances`, `interactions`, `vocabulary` and `findings` as Parquet, and
    `unlabelled_people` where the source knows them; all or nothing.

    Args:
        folder: absent or empty.
        source: what was read.
        file: where it was read from, for the provenance.

    Raises:
        InputError: see `check_target`; or the tables contradict one another.
    """
    check_target(folder)
    source.annotations.check(file, source.vocabulary)
    provenance = {"source": source.kind, "file": file.name}
    if source.missing_roles is not None:
        provenance["missing_roles"] = source.missing_roles
    if source.numbering is not None:
        provenance["numbering"] = source.numbering.name
    with atomic_folder(folder) as aside:
        source.annotations.write(aside, provenance)
        source.vocabulary.write(aside / "vocabulary.parquet", provenance)
        schema.write_table(aside / "findings.parquet", source.findings, REPORT, provenance)
