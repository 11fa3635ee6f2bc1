"""Which boxes and interactions of a source can become rows of the schema; the rest is reported.

Boxes are cut to their image before equal ones become one instance: no image holds two instances of
equal class and box, and a file whose boxes were cut by somebody else gives the same tables.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from hoiclip.core.vocabulary import Vocabulary
from hoiclip.errors import InputError
from hoiclip.formats.annotations.findings import WHOLE_FILE, ReadReport
from hoiclip.formats.annotations.frame import frame_notes
from hoiclip.formats.annotations.source_rows import (
    NO_OBJECT,
    UNKNOWN,
    SourceBoxes,
    SourceInteractions,
)

_TOLD = 5
_NO_IMAGE_REACHES = 2.0**31
"""Pixels; widths and heights of images are int32."""


class Clipped(NamedTuple):
    """N boxes, held against their images.

    Attributes:
        boxes_xyxy: (N, 4) cut to 0..width, 0..height; without meaning where not `usable`.
        usable: (N,) bool: something of the box lies inside its image.
        findings: kind (see `report`) → (N,) bool; at most one of them is true of a box.
    """

    boxes_xyxy: np.ndarray
    usable: np.ndarray
    findings: dict[str, np.ndarray]


def clip_to_image(boxes_xyxy: np.ndarray, image_sizes: np.ndarray) -> Clipped:
    """The rule for boxes that leave their image: what lies inside stays, if it is a box.

    Args:
        boxes_xyxy: (N, 4) in the schema's coordinates; may hold anything.
        image_sizes: (N, 2) width and height of each box's image.
    """
    finite = np.isfinite(boxes_xyxy).all(1)
    sane = finite & (np.abs(boxes_xyxy) < _NO_IMAGE_REACHES).all(1)
    proper = sane & _has_area(boxes_xyxy)
    clipped = np.clip(boxes_xyxy, 0, np.tile(image_sizes, 2))
    usable = proper & _has_area(clipped)
    findings = {
        "box_not_finite": ~finite,
        "box_absurd": finite & ~sane,
        "box_degenerate": sane & ~proper,
        "box_outside_image": proper & ~usable,
        "box_clipped": usable & (clipped != boxes_xyxy).any(1),
    }
    return Clipped(clipped, usable, findings)


def _has_area(boxes_xyxy: np.ndarray) -> np.ndarray:
    return np.all(boxes_xyxy[:, 2:] > boxes_xyxy[:, :2], axis=1)


def fitted_boxes(
    images: pa.Table,
    boxes: SourceBoxes,
    interactions: SourceInteractions,
    report: ReadReport,
    *,
    drop_unknown: bool,
) -> tuple[SourceBoxes, np.ndarray]:
    """The boxes cut to their images, and which of them (N,) bool are usable.

    Usable is a box of a known class of which something lies inside its image. A row of the source
    that states a box several times gives one finding.

    Raises:
        InputError: a box of an unknown class that an interaction has, when `drop_unknown` is false.
    """
    unknown = boxes.object == UNKNOWN
    taking_part = np.zeros(len(unknown), bool)
    taking_part[interactions.human] = True
    taking_part[interactions.object[interactions.object != NO_OBJECT]] = True
    if unknown.any() and not drop_unknown:
        refused = np.flatnonzero(unknown & taking_part)
        chosen = refused if len(refused) else np.flatnonzero(unknown)
        problem = f"{len(chosen)} boxes of object classes outside the vocabulary"
        named = [boxes.unknown[i] for i in chosen.tolist() if i in boxes.unknown]
        problem += f": {_most_common(named)}" if named else ""
        if len(refused):
            row = int(boxes.row[refused[0]])
            raise InputError(report.file, problem, row=row, fix=report.unknown_fix)
        report.notes.append(f"{problem}: left out, as they take part in no interaction")
    sizes = np.stack([images["width"].to_numpy(), images["height"].to_numpy()], 1)
    clipped = clip_to_image(boxes.boxes_xyxy, sizes[boxes.image])
    notes = frame_notes("annotations", boxes.boxes_xyxy, sizes[boxes.image])
    report.notes += notes
    report.add("boxes_of_another_frame", np.full(len(notes), WHOLE_FILE), notes, kept=True)
    findings = {"object_outside_vocabulary": unknown}
    findings |= {kind: found & ~unknown for kind, found in clipped.findings.items()}
    usable = clipped.usable & ~unknown
    for kind, found in findings.items():
        told = _first_of_equals(boxes, np.flatnonzero(found))
        values = map(str, boxes.boxes_xyxy[told].tolist())
        report.add(kind, boxes.row[told], values, kept=bool(usable[told].any()))
    return SourceBoxes(boxes.image, boxes.object, clipped.boxes_xyxy, boxes.row), usable


def _first_of_equals(boxes: SourceBoxes, chosen: np.ndarray) -> np.ndarray:
    """Of the positions `chosen`, in order, the first of equal (row, class, box)."""
    # Bit patterns, so that NaN equals NaN.
    values = np.ascontiguousarray(boxes.boxes_xyxy[chosen]).view(np.int64)
    keys = np.column_stack([boxes.row[chosen], boxes.object[chosen], values])
    return chosen[np.sort(np.unique(keys, axis=0, return_index=True)[1])]


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
) -> tuple[SourceInteractions, SourceInteractions]:
    """The interactions with the HOI class of (verb, object class), and those that have none.

    Raises:
        InputError: an interaction outside the vocabulary, or one whose stated HOI class is another,
            when `drop_unknown` is false.
    """
    has_object = interactions.object != NO_OBJECT
    objects = np.full(len(has_object), vocabulary.num_objects)
    objects[has_object] = boxes.object[interactions.object[has_object]]
    hoi, stated = vocabulary.hoi_of[interactions.verb, objects], interactions.hoi
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
            told = f"{problem}: {len(names)} rows: {_most_common(names)}"
            raise InputError(report.file, told, row=row, fix=report.unknown_fix)
        report.add(kind, interactions.row[wrong], names)
    with_hoi = SourceInteractions(
        interactions.human, interactions.object, interactions.verb, hoi, interactions.row
    )
    return with_hoi.select(~unknown & ~differs), with_hoi.select(unknown)


def _most_common(names: list[str]) -> str:
    common = Counter(names).most_common(_TOLD)
    told = ", ".join(f"{name} ({count})" for name, count in common)
    more = len(set(names)) - len(common)
    return told + (f" and {more} more" if more else "")
