"""A partition's folder, which evaluation, training and people's own code can read.

A folder with `images.parquet`, `instances.parquet` and `interactions.parquet`, its vocabulary in
it or up to two folders above.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hoiclip.core import schema
from hoiclip.core.files import atomic_folder
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.errors import InputError
from hoiclip.formats.annotations.findings import REPORT, ReadReport
from hoiclip.formats.annotations.hoia_numbering import NAMES, Numbering, named_numbering
from hoiclip.formats.annotations.source import Source, SourceOptions
from hoiclip.formats.content import Content

_VOCABULARY_FOLDERS = (".", "..", "../..")


def detect(content: Content) -> bool:
    """Whether it is a partition's folder."""
    return content.is_folder and (content.path / "images.parquet").is_file()


def load(path: Path, options: SourceOptions) -> Source:
    """Reads and checks a folder.

    Raises:
        InputError: malformed, or its vocabulary stands nowhere.
    """
    vocabulary, folder = options.classes, None
    if vocabulary is None:
        folders = [path / name for name in _VOCABULARY_FOLDERS]
        folder = next((f for f in folders if (f / "vocabulary.parquet").is_file()), None)
        if folder is None:
            problem = "no vocabulary.parquet stands in it or up to two folders above"
            raise InputError(path, problem, fix="Give --vocabulary")
        vocabulary = Vocabulary.read(folder / "vocabulary.parquet")
    annotations = Annotations.read(path)
    annotations.check(path, vocabulary)
    return Source(
        annotations=annotations,
        vocabulary=vocabulary,
        report=ReadReport(path, numbering=_imported_numbering(path, vocabulary)),
        folder=folder,
        missing_roles=annotations.has_missing_roles if vocabulary.has_missing_objects else None,
    )


def _imported_numbering(path: Path, vocabulary: Vocabulary) -> Numbering | None:
    name = schema.read_provenance(path / "interactions.parquet").get("numbering")
    return named_numbering(path, name, vocabulary) if name in NAMES else None


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
    provenance: dict[str, Any] = {"source": source.kind, "file": file.name}
    if source.missing_roles is not None:
        provenance["missing_roles"] = source.missing_roles
    if source.numbering is not None:
        provenance["numbering"] = source.numbering.name
    with atomic_folder(folder) as aside:
        source.annotations.write(aside, provenance)
        source.vocabulary.write(aside / "vocabulary.parquet", provenance)
        schema.write_table(aside / "findings.parquet", source.findings, REPORT, provenance)
