"""Writing a partition of a real source: images held against the tables, then both."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from hoiclip.data.annotations import Annotations
from hoiclip.datasets.image_checks import BAD, ListedImage, Verdict, examine_all
from hoiclip.datasets.orientation import UPRIGHT, turned_rows, turned_sizes
from hoiclip.datasets.partition import SourcePartition
from hoiclip.errors import InputError
from hoiclip.formats.annotations.findings import ReadReport
from hoiclip.images.store import write_shards
from hoiclip.progress import track

_TOLD = 5


def write_partition(
    source: SourcePartition,
    *,
    annotations: Path,
    images: Path,
    workers: int,
    bad_images: Literal["error", "drop"],
) -> tuple[Annotations, pa.Table]:
    """Writes image shards and tables of a partition; gives the tables and all findings.

    The bytes of the images stay as they are. Where EXIF turns an image and its boxes are those of
    the stored pixels, the boxes are turned.

    Args:
        source: the partition.
        annotations: folder to write the tables to.
        images: folder to write the tar shards to.
        workers: processes that decode.
        bad_images: `drop` leaves out bad images with all their rows, as findings.

    Returns:
        The tables as written, and rows of `findings.REPORT`.

    Raises:
        InputError: some images are bad and `bad_images` is `error`; the message counts them all.
            Nothing is written then.
    """
    source.annotations.check(source.report.file, source.vocabulary)
    verdicts = _write_images(source, images, workers, keep_going=bad_images == "drop")
    findings = _findings(source, verdicts)
    tables = _fitted(source, verdicts)
    tables.check(annotations, source.vocabulary)
    tables.write(annotations, source.provenance)
    return tables, pa.concat_tables([source.report.table(), findings.table()])


def _write_images(
    source: SourcePartition, folder: Path, workers: int, *, keep_going: bool
) -> dict[int, Verdict]:
    """Verdicts of the images that are not just as stated, by position."""
    columns = (
        source.annotations.images[key].to_pylist() for key in ("file_name", "width", "height")
    )
    listed = [ListedImage(*values) for values in zip(*columns, strict=True)]
    verdicts: dict[int, Verdict] = {}

    def usable() -> Iterator[tuple[str, bytes]]:
        examined = examine_all(source.images, listed, workers)
        what = f"images of {folder.name}"
        for position, (data, verdict) in enumerate(track(examined, what, len(listed))):
            if verdict.kind is not None:
                verdicts[position] = verdict
            if verdict.kind not in BAD:
                yield listed[position].file_name, data
        bad = {p: v for p, v in verdicts.items() if v.kind in BAD}
        if bad and not keep_going:
            # Raised in here, so that the shards are not left behind.
            raise _error(source, listed, bad)

    write_shards(folder, usable())
    return verdicts


def _error(
    source: SourcePartition, listed: list[ListedImage], bad: dict[int, Verdict]
) -> InputError:
    told = [
        f"{os.fspath(source.images / listed[position].file_name)!r} "
        f"(row {source.row_of(position)}): {_reason(verdict)}"
        for position, verdict in list(bad.items())[:_TOLD]
    ]
    more = f" and {len(bad) - _TOLD} more" if len(bad) > _TOLD else ""
    problem = f"{len(bad)} of {len(listed)} images cannot be used: {'; '.join(told)}{more}"
    fix = "Mend them, or set dataset.bad_images to drop to leave them out"
    return InputError(source.report.file, problem, fix=fix)


def _reason(verdict: Verdict) -> str:
    if "problem" in verdict.told:
        return verdict.told["problem"]
    (width, height), (stated_width, stated_height) = verdict.told["shown"], verdict.told["stated"]
    return f"is {width} x {height}, stated as {stated_width} x {stated_height}"


def _findings(source: SourcePartition, verdicts: dict[int, Verdict]) -> ReadReport:
    """One finding for each verdict, with the number of rows that go with the image."""
    report = ReadReport(source.report.file)
    images = source.annotations.images
    ids = [images["image_id"][position].as_py() for position in verdicts]
    counts = {}
    for name in ("instances", "interactions"):
        column = getattr(source.annotations, name)["image_id"].to_numpy()
        values, numbers = np.unique(column, return_counts=True)
        counts[name] = dict(zip(values.tolist(), numbers.tolist(), strict=True))
    for image_id, (position, verdict) in zip(ids, verdicts.items(), strict=True):
        told = {
            "file_name": images["file_name"][position].as_py(),
            **verdict.told,
            **{name: of_image.get(image_id, 0) for name, of_image in counts.items()},
        }
        row = np.array([source.row_of(position)])
        report.add(str(verdict.kind), row, [told], kept=verdict.kind not in BAD)
    return report


def _fitted(source: SourcePartition, verdicts: dict[int, Verdict]) -> Annotations:
    """The tables without the bad images, and turned as EXIF says."""
    tables = source.annotations
    ids = tables.images["image_id"].to_numpy()
    turned = {
        int(ids[position]): verdict.orientation
        for position, verdict in verdicts.items()
        if verdict.orientation != UPRIGHT
    }
    if turned:
        stored, people = tables.images, tables.unlabelled_people
        tables = replace(
            tables,
            images=turned_sizes(stored, turned),
            instances=turned_rows(tables.instances, stored, turned),
            unlabelled_people=None if people is None else turned_rows(people, stored, turned),
        )
    bad = [position for position, verdict in verdicts.items() if verdict.kind in BAD]
    tables = tables.select(np.delete(ids, bad)) if bad else tables
    return replace(tables, outside_vocabulary=tables.outside_vocabulary or None)
