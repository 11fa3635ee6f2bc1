"""Annotations from any file or folder that this package reads, its kind found out or named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from hoiclip import schema
from hoiclip.data.annotations import Annotations
from hoiclip.data.readers import (
    hico_instances,
    hico_mat,
    hoia,
    own,
    vcoco,
    vcoco_instances,
    vocabularies,
)
from hoiclip.data.readers.coco import CocoInstances
from hoiclip.data.readers.hoia_numbering import (
    NAMES,
    Numbering,
    NumberingName,
    numbering_of,
    usual,
)
from hoiclip.data.readers.image_table import ImageSize
from hoiclip.data.readers.report import REPORT
from hoiclip.errors import InputError
from hoiclip.foreign.annotation_kinds import AnnotationKind, kind_of
from hoiclip.foreign.image_sizes import sizes_from_coco, sizes_from_images, unlimited
from hoiclip.foreign.json_list import list_entries
from hoiclip.vocabulary import Vocabulary

SHIPPED: dict[str, Callable[[], Vocabulary]] = {
    "hico_det": vocabularies.hico_det,
    "vcoco": vocabularies.vcoco,
}
"""Vocabularies that come with the package, by name."""

_VOCABULARY_FOLDERS = (".", "..", "../..")


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What a source does not say itself.

    Attributes:
        kind: of the source; by default found out.
        vocabulary: a name in `SHIPPED`, a `.json` of one's own or a `vocabulary.parquet`; by
            default that of the data set, or the one beside the folder.
        partition: which of the two that `anno_bbox.mat` holds.
        images: folder of images (files or tar shards), for sizes that the source does not state.
        coco: COCO's instances files, for V-COCO.
        image_ids: `vcoco_*.ids`; by default all images that V-COCO's file labels.
        drop_unknown: leaves out what is outside the vocabulary, instead of an error.
        numbering: of the classes in HOIA annotations; by default found out.
        usual_numbering: takes the usual one, where several numberings fit; see
            `hoia_numbering.usual`.
        sizes_needed: whether a source without sizes is an error; otherwise its images count as
            larger than any box.
    """

    kind: AnnotationKind | None = None
    vocabulary: str | None = None
    partition: str = "test"
    images: Path | None = None
    coco: tuple[Path, ...] = ()
    image_ids: Path | None = None
    drop_unknown: bool = False
    numbering: NumberingName | None = None
    usual_numbering: bool = False
    sizes_needed: bool = False


@dataclass(frozen=True)
class Source:
    """Annotations as they were read.

    Attributes:
        kind: of the source.
        annotations: the partition.
        vocabulary: its classes.
        findings: rows of `report.REPORT`: what the reader left out or changed.
        folder: the folder that the vocabulary stands in, for a partition's folder.
        missing_roles: whether the source can tell roles without an object; null for other data
            than V-COCO.
        numbering: of the classes, where the annotations are HOIA or were imported from it.
        notes: what a person should know, one line each.
    """

    kind: AnnotationKind
    annotations: Annotations
    vocabulary: Vocabulary
    findings: pa.Table
    folder: Path | None = None
    missing_roles: bool | None = None
    numbering: Numbering | None = None
    notes: tuple[str, ...] = ()


def read_annotations(path: str | Path, options: SourceOptions) -> Source:
    """Reads a partition.

    Args:
        path: a file in one of the layouts of `data.readers`, or a partition's folder.
        options: what the source does not say.

    Raises:
        InputError: nothing that is read here, malformed, or an option that it needs is missing.
    """
    path = Path(path)
    kind = options.kind or kind_of(path)
    if options.numbering is not None and kind != "hoia":
        problem = f"--annotation-numbering is of HOIA annotations, and these are {kind}"
        raise InputError(path, problem, fix="Leave it out")
    if kind == "partition":
        return _partition(path, options)
    if kind == "vcoco":
        return _vcoco(path, options)
    size, note = _size_of(path, kind, options)
    drop = options.drop_unknown
    if kind == "own":
        if options.vocabulary is None:
            raise InputError(path, "its classes are unknown", fix="Give --vocabulary FILE.json")
        vocabulary = named_vocabulary(options.vocabulary)
        found = own.read(path, vocabulary, drop_unknown=drop)
    elif kind == "hico_mat":
        found = hico_mat.read(path, options.partition, drop_unknown=drop)
    elif kind == "hico_instances":
        name = options.vocabulary
        classes = None if name is None or name in SHIPPED else named_vocabulary(name)
        found = hico_instances.read(path, classes, drop_unknown=drop)
    elif kind == "vcoco_instances":
        found = vcoco_instances.read(path, size, drop_unknown=drop)
    else:
        vocabulary = _hoia_vocabulary(path, options)
        hint = usual(vocabulary) if options.usual_numbering else None
        stated = options.numbering and named_numbering(path, options.numbering, vocabulary)
        found = hoia.read(path, vocabulary, size, numbering=stated, hint=hint, drop_unknown=drop)
    annotations, vocabulary, report = found
    if kind != "own":
        _check_vocabulary(path, vocabulary, options)
    # HOIA files can state -1 for the object; `instances` files list pairs alone.
    missing_roles = kind == "hoia" if vocabulary.has_missing_objects else None
    return Source(
        kind,
        replace(annotations, outside_vocabulary=report.outside_vocabulary or None),
        vocabulary,
        report.table(),
        missing_roles=missing_roles,
        numbering=report.numbering,
        notes=(*report.notes, *([note] if note else [])),
    )


def named_vocabulary(name: str) -> Vocabulary:
    """The vocabulary of that name in `SHIPPED`, or in that file (`.json` or Parquet).

    Raises:
        InputError: no such file, or malformed.
    """
    if name in SHIPPED:
        return SHIPPED[name]()
    if name.lower().endswith(".json"):
        return vocabularies.read_vocabulary(name)
    if not Path(name).is_file():
        raise InputError(name, "no such file", fix=f"Or name one of {', '.join(SHIPPED)}")
    return Vocabulary.read(name)


def named_numbering(path: Path, name: NumberingName, vocabulary: Vocabulary) -> Numbering:
    """`hoia_numbering.numbering_of`, for a file.

    Raises:
        InputError: the vocabulary has no such numbering.
    """
    try:
        return numbering_of(name, vocabulary)
    except ValueError as error:
        raise InputError(path, f"not numbered as {name}: {error}") from None


def _partition(path: Path, options: SourceOptions) -> Source:
    if options.vocabulary is not None:
        vocabulary, folder = named_vocabulary(options.vocabulary), None
    else:
        folders = [path / name for name in _VOCABULARY_FOLDERS]
        folder = next((f for f in folders if (f / "vocabulary.parquet").is_file()), None)
        if folder is None:
            problem = "no vocabulary.parquet stands in it or up to two folders above"
            raise InputError(path, problem, fix="Give --vocabulary")
        vocabulary = Vocabulary.read(folder / "vocabulary.parquet")
    annotations = Annotations.read(path)
    annotations.check(path, vocabulary)
    return Source(
        "partition",
        annotations,
        vocabulary,
        REPORT.empty_table(),
        folder,
        annotations.has_missing_roles if vocabulary.has_missing_objects else None,
        _imported_numbering(path, vocabulary),
    )


def _imported_numbering(path: Path, vocabulary: Vocabulary) -> Numbering | None:
    name = schema.read_provenance(path / "interactions.parquet").get("numbering")
    return named_numbering(path, name, vocabulary) if name in NAMES else None


def _vcoco(path: Path, options: SourceOptions) -> Source:
    if not options.coco:
        problem = "V-COCO's files hold no boxes"
        fix = "Give COCO's annotations too: --coco instances_val2014.json"
        raise InputError(path, problem, fix=fix)
    coco = CocoInstances(options.coco)
    annotations, vocabulary, report = vcoco.read(
        path, coco, image_ids=options.image_ids, drop_unknown=options.drop_unknown
    )
    _check_vocabulary(path, vocabulary, options)
    unlabelled = vcoco.unlabelled_people(path, coco, annotations.images, annotations.instances)
    outside = report.outside_vocabulary or None
    return Source(
        "vcoco",
        replace(annotations, unlabelled_people=unlabelled, outside_vocabulary=outside),
        vocabulary,
        report.table(),
        missing_roles=True,
        notes=tuple(report.notes),
    )


def _size_of(
    path: Path, kind: AnnotationKind, options: SourceOptions
) -> tuple[ImageSize, str | None]:
    """Sizes for kinds that do not state them, and a note where they stay unknown."""
    if options.images is not None:
        return sizes_from_images(options.images), None
    if kind == "vcoco_instances" and options.coco:
        return sizes_from_coco(path, options.coco), None
    if kind not in ("hoia", "vcoco_instances"):
        return unlimited, None
    fix = "--images FOLDER" + (" or --coco FILE" if kind == "vcoco_instances" else "")
    if options.sizes_needed:
        raise InputError(path, "does not state the sizes of its images", fix=f"Give {fix}")
    return unlimited, f"image sizes are unknown, so no box is cut to its image; {fix} tells them"


def _hoia_vocabulary(path: Path, options: SourceOptions) -> Vocabulary:
    if options.vocabulary is not None:
        return named_vocabulary(options.vocabulary)
    for _, entry in list_entries(path):
        name = entry.get("file_name") if isinstance(entry, dict) else None
        for start, vocabulary in (("HICO_", "hico_det"), ("COCO_", "vcoco")):
            if isinstance(name, str) and name.rsplit("/", 1)[-1].startswith(start):
                return SHIPPED[vocabulary]()
        break
    problem = "its first file name tells neither HICO-DET nor V-COCO"
    raise InputError(path, problem, fix="Give --vocabulary")


def _check_vocabulary(path: Path, vocabulary: Vocabulary, options: SourceOptions) -> None:
    if options.vocabulary is not None and named_vocabulary(options.vocabulary) != vocabulary:
        problem = f"its classes are not those of {options.vocabulary}"
        raise InputError(path, problem, fix="Leave --vocabulary out")
