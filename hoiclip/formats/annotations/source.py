"""Annotations as every format gives them, and what their files do not say themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from hoiclip.catalog.vocabularies import named_vocabulary
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.errors import InputError
from hoiclip.formats.annotations.findings import ReadReport
from hoiclip.formats.annotations.hoia_numbering import Numbering, NumberingName


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What a source does not say itself.

    Attributes:
        kind: name of its format; by default found out.
        vocabulary: see `vocabularies.named_vocabulary`; by default that of the data set, or the
            one beside the folder.
        partition: which of the two that `anno_bbox.mat` holds.
        images: folder of images (files or tar shards), for sizes that the source does not state.
        skip_bad_images: whether an image that is missing or unreadable counts as larger than any
            box, instead of an error.
        coco: COCO's instances files, for V-COCO.
        image_ids: `vcoco_*.ids`; by default all images that V-COCO's file labels.
        valid_pairs: `corre_hico.npy`, which HOIA annotations are held against.
        drop_unknown: leaves out what is outside the vocabulary, instead of an error.
        numbering: of the classes in HOIA annotations; by default found out.
        usual_numbering: takes the usual one, where several numberings fit; see
            `hoia_numbering.usual`.
        sizes_needed: whether a source without sizes is an error; otherwise its images count as
            larger than any box.
    """

    kind: str | None = None
    vocabulary: str | Vocabulary | None = None
    partition: Literal["train", "test"] = "test"
    images: Path | None = None
    skip_bad_images: bool = False
    coco: tuple[Path, ...] = ()
    image_ids: Path | None = None
    valid_pairs: Path | None = None
    drop_unknown: bool = False
    numbering: NumberingName | None = None
    usual_numbering: bool = False
    sizes_needed: bool = False

    @property
    def classes(self) -> Vocabulary | None:
        """The vocabulary that is given.

        Raises:
            InputError: no such file, or malformed.
        """
        given = self.vocabulary
        return named_vocabulary(given) if isinstance(given, str) else given


@dataclass(frozen=True, kw_only=True)
class Source:
    """Annotations as they were read.

    Attributes:
        kind: name of the format in the registry; None before it was looked up.
        annotations: the partition.
        vocabulary: its classes.
        report: what the reader left out or changed.
        folder: the folder that the vocabulary stands in, for a partition's folder.
        missing_roles: whether the source can tell roles without an object; null for other data
            than V-COCO.
    """

    annotations: Annotations
    vocabulary: Vocabulary
    report: ReadReport
    kind: str | None = None
    folder: Path | None = None
    missing_roles: bool | None = None

    @classmethod
    def of(
        cls,
        read: tuple[Annotations, Vocabulary, ReadReport],
        *,
        says_missing_roles: bool = False,
        expected: SourceOptions | None = None,
    ) -> Source:
        """What a reader gives, as a source.

        Args:
            read: annotations, vocabulary and report.
            says_missing_roles: whether the format can tell roles without an object.
            expected: for a format with classes of its own, its options: what they give as
                vocabulary has to be these classes.

        Raises:
            InputError: the classes are others than expected.
        """
        annotations, vocabulary, report = read
        given = expected.classes if expected is not None else None
        if expected is not None and given is not None and given != vocabulary:
            problem = f"its classes are not those of {expected.vocabulary}"
            raise InputError(report.file, problem, fix="Leave --vocabulary out")
        roles = says_missing_roles if vocabulary.has_missing_objects else None
        return cls(
            annotations=annotations, vocabulary=vocabulary, report=report, missing_roles=roles
        )

    @property
    def findings(self) -> pa.Table:
        """Rows of `findings.REPORT`."""
        return self.report.table()

    @property
    def numbering(self) -> Numbering | None:
        """Of the classes, where the annotations are HOIA or were imported from it."""
        return self.report.numbering

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know, one line each."""
        return tuple(self.report.notes)
