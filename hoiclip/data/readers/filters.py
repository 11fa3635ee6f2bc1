"""Which boxes and interactions of a source can become rows of the schema; the rest is reported."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa

from hoiclip.data.readers.report import ReadReport
from hoiclip.data.readers.rows import NO_OBJECT, UNKNOWN, SourceBoxes, SourceInteractions
from hoiclip.errors import InputError
from hoiclip.vocabulary import Vocabulary

_FIX = "Read with the vocabulary of this file, or set drop_unknown to leave them out"
_TOLD = 5


def usable_boxes(
    images: pa.Table, boxes: SourceBoxes, report: ReadReport, *, drop_unknown: bool
) -> np.ndarray:
    """(N,) bool: a known class and a finite box with x1 < x2, y1 < y2.

    Raises:
        InputError: a box of an unknown class when `drop_unknown` is false.
    """
    values = boxes.boxes_xyxy
    unknown = boxes.object == UNKNOWN
    if unknown.any() and not drop_unknown:
        row = int(boxes.row[unknown][0])
        problem = f"{unknown.sum()} boxes of object classes outside the vocabulary"
        raise InputError(report.file, problem, row=row, fix=_FIX)
    finite = np.isfinite(values).all(1)
    proper = finite & (values[:, 2:] > values[:, :2]).all(1)
    width, height = (images[key].to_numpy()[boxes.image] for key in ("width", "height"))
    leaves = (values[:, :2] < 0).any(1) | (values[:, 2] > width) | (values[:, 3] > height)
    for kind, wrong, kept in (
        ("object_outside_vocabulary", unknown, False),
        ("box_not_finite", ~unknown & ~finite, False),
        ("box_degenerate", ~unknown & finite & ~proper, False),
        ("box_leaves_image", ~unknown & proper & leaves, True),
    ):
        report.add(kind, boxes.row[wrong], map(str, values[wrong].tolist()), kept=kept)
    return ~unknown & proper


def with_usable_boxes(
    interactions: SourceInteractions,
    usable: np.ndarray,
    vocabulary: Vocabulary,
    report: ReadReport,
) -> SourceInteractions:
    """The interactions whose boxes are all `usable` (N,)."""
    whole = usable[interactions.human]
    has_object = interactions.object != NO_OBJECT
    whole[has_object] &= usable[interactions.object[has_object]]
    names = (vocabulary.verbs[v].name for v in interactions.verb[~whole])
    report.add("interaction_of_bad_box", interactions.row[~whole], names)
    return interactions.select(whole)


def with_humans(
    boxes: SourceBoxes,
    interactions: SourceInteractions,
    vocabulary: Vocabulary,
    report: ReadReport,
) -> SourceInteractions:
    """The interactions whose human is of the class `person`."""
    classes = boxes.object[interactions.human]
    wrong = classes != vocabulary.person
    names = (vocabulary.objects[c] for c in classes[wrong])
    report.add("human_is_not_a_person", interactions.row[wrong], names)
    return interactions.select(~wrong)


def with_hois(
    boxes: SourceBoxes,
    interactions: SourceInteractions,
    vocabulary: Vocabulary,
    report: ReadReport,
    *,
    drop_unknown: bool,
) -> SourceInteractions:
    """The interactions with the HOI class of (verb, object class), without those that have none.

    Raises:
        InputError: an interaction outside the vocabulary, or one whose stated HOI class is another,
            when `drop_unknown` is false.
    """
    hoi_of = np.full((vocabulary.num_verbs, vocabulary.num_objects + 1), UNKNOWN, np.int64)
    hoi_of[vocabulary.verb_of_hoi, vocabulary.object_of_hoi] = np.arange(vocabulary.num_hois)
    has_object = interactions.object != NO_OBJECT
    objects = np.full(len(has_object), vocabulary.num_objects)
    objects[has_object] = boxes.object[interactions.object[has_object]]
    hoi, stated = hoi_of[interactions.verb, objects], interactions.hoi
    unknown = hoi == UNKNOWN
    differs = ~unknown & (stated != UNKNOWN) & (stated != hoi)
    object_names = [*vocabulary.objects, "(no object)"]
    for wrong, kind, problem in (
        (unknown, "hoi_outside_vocabulary", "(verb, object) outside the vocabulary"),
        (differs, "stated_hoi_differs", "stated HOI class is not that of (verb, object)"),
    ):
        wrong_pairs = zip(interactions.verb[wrong], objects[wrong], strict=True)
        names = [f"{vocabulary.verbs[v].name} {object_names[o]}" for v, o in wrong_pairs]
        if names and not drop_unknown:
            row = int(interactions.row[wrong][0])
            raise InputError(report.file, f"{problem}: {_count(names)}", row=row, fix=_FIX)
        report.add(kind, interactions.row[wrong], names)
    with_hoi = SourceInteractions(
        interactions.human, interactions.object, interactions.verb, hoi, interactions.row
    )
    return with_hoi.select(~unknown & ~differs)


def _count(names: list[str]) -> str:
    common = Counter(names).most_common(_TOLD)
    told = ", ".join(f"{name} ({count})" for name, count in common)
    more = len(set(names)) - len(common)
    return f"{len(names)} rows: {told}" + (f" and {more} more" if more else "")
