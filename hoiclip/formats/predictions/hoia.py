"""Predictions as the "HOIA" JSON of PPDM, QPIC, CDN, GEN-VLKT and HOICLIP.

A list with one entry per image: `file_name` (or `filename`, or `image_id`); `predictions`, a list
of {`bbox`: x1, y1, x2, y2, `category_id`}; `hoi_prediction`, a list of {`subject_id`, `object_id`
(positions in `predictions`; -1: no object), `category_id`, `score`}. How the classes are numbered
differs from project to project: see `numbering`. Where the vocabulary knows pairs without an
object, an object's box that is empty, null, NaN or of four zeros, and a class after the last one,
say so, too.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hoiclip.core.vocabulary import Vocabulary
from hoiclip.errors import InputError
from hoiclip.formats.annotations.hoia_numbering import Numbering
from hoiclip.formats.content import Content
from hoiclip.formats.json_columns import EntryObjects
from hoiclip.formats.predictions.hoia_numbering import (
    ABSENT,
    NO_OBJECT,
    NumberingName,
    RawClasses,
    class_ids,
)
from hoiclip.formats.predictions.image_names import ImageNames
from hoiclip.formats.predictions.options import PredictionOptions, Predictions
from hoiclip.formats.predictions.rows import Places, Rows, number_by_first
from hoiclip.formats.predictions.wrappings import prediction_entries
from hoiclip.progress import track
from hoiclip.util import json_values

_EMPTY_BOXES: tuple[Any, ...] = (None, [], [None] * 4)
_BOXES, _PAIRS = "predictions", "hoi_prediction"


def detect(content: Content) -> bool:
    """Whether it is a list of HOIA predictions; an empty list is one."""
    entry = content.first_entry
    return entry is None or "hoi_prediction" in entry


def load(path: Path, options: PredictionOptions) -> Predictions:
    """`read`, as every format is read."""
    annotated = options.source.numbering
    rows, numbering = read(path, options.images, options.vocabulary, options.numbering, annotated)
    return Predictions(rows=rows, numbering=numbering)


def read(
    path: str | Path,
    images: ImageNames,
    vocabulary: Vocabulary,
    numbering: NumberingName | None = None,
    annotated: Numbering | None = None,
) -> tuple[Rows, NumberingName]:
    """Reads and checks a file; images that it does not name have no predictions.

    Args:
        path: the JSON file.
        images: the annotated images.
        vocabulary: the classes.
        numbering: how the file numbers them; see `hoia_numbering.class_ids`.
        annotated: how the annotations do, where these are HOIA.

    Returns:
        The rows, boxes as the file has them; the numbering as given or found out.

    Raises:
        InputError: malformed, an unknown image, one with two entries, a position or class out of
            range, a box that is not one, a score that is not finite, an object missing where every
            class has one, or class numbers that can be read in several ways.
    """
    collected = _Collected(Path(path), images, vocabulary)
    for row, entry in track(prediction_entries(path), "images read", len(images)):
        collected.add(row, entry)
    return collected.rows(numbering, annotated)


class _Collected:
    """The rows of the entries met so far."""

    def __init__(self, path: Path, images: ImageNames, vocabulary: Vocabulary) -> None:
        self._path, self._images, self._vocabulary = path, images, vocabulary
        self._may_miss = vocabulary.has_missing_objects
        self._row_of_image: dict[int, int] = {}
        self._entries: list[tuple[int, int]] = []
        self._ids = [np.zeros((0, 6), np.int64)]
        self._boxes_xyxy = [np.zeros((0, 8))]
        self._scores = [np.zeros(0)]

    def add(self, row: int, value: Any) -> None:
        """Adds the rows of one entry."""
        path = self._path
        entry = json_values.mapping(path, row, "entry", value)
        image_id = self._images.of_entry(path, row, entry)
        if self._row_of_image.setdefault(image_id, row) != row:
            problem = f"the image is also row {self._row_of_image[image_id]}"
            raise InputError(path, problem, row=row, fix="Join the two entries")
        listed = EntryObjects.of(path, row, entry, _BOXES)
        pairs = EntryObjects.of(path, row, entry, _PAIRS)
        boxes_xyxy, empty = self._boxes_of(listed)
        places = _places(path, row, pairs)
        subject, other = pairs.integers("subject_id"), pairs.integers("object_id")
        scores = pairs.numbers("score")
        places.check_scores(scores)
        for key, index, least in (
            ("subject_id", subject, 0), ("object_id", other, -1 if self._may_miss else 0),
        ):  # fmt: skip
            outside = (index < least) | (index >= len(listed))
            places.refuse(outside, index, key, f"is not one of the {len(listed)} boxes")
        people_xyxy = boxes_xyxy[subject]
        places.refuse(np.isnan(people_xyxy[:, 0]), subject, "subject_id", "is an empty box")
        other = np.where(np.append(empty, True)[other], -1, other)
        # One row more, at -1: no object.
        boxes_xyxy = np.concatenate([boxes_xyxy, np.full((1, 4), np.nan)])
        category = np.append(listed.integers("category_id", ABSENT), NO_OBJECT)
        own, hoi = (pairs.integers(k, ABSENT) for k in ("category_id", "hoi_category_id"))
        self._entries.append((image_id, len(pairs)))
        self._ids.append(
            np.stack([subject, other, category[subject], category[other], own, hoi], 1)
        )
        self._boxes_xyxy.append(np.concatenate([people_xyxy, boxes_xyxy[other]], 1))
        self._scores.append(scores)

    def _boxes_of(self, listed: EntryObjects) -> tuple[np.ndarray, np.ndarray]:
        """(N, 4) listed boxes, NaN where there is none, and (N,) whether they are no object's."""
        if self._may_miss:
            values = [
                value | {"bbox": [math.nan] * 4} if value.get("bbox", 0) in _EMPTY_BOXES else value
                for value in listed.values
            ]
            listed = replace(listed, values=values)
        boxes_xyxy = listed.boxes("bbox")
        empty = np.isnan(boxes_xyxy).all(axis=1) | (boxes_xyxy == 0).all(axis=1)
        empty &= self._may_miss
        numbers = np.flatnonzero(~empty)
        places = Places(listed.path, np.full(len(numbers), listed.row), _BOXES, numbers)
        places.check_boxes(boxes_xyxy[numbers], "bbox")
        return boxes_xyxy, empty

    def rows(
        self, numbering: NumberingName | None, annotated: Numbering | None
    ) -> tuple[Rows, NumberingName]:
        """Everything added, its classes translated."""
        image_ids, counts = np.array(self._entries, np.int64).reshape(-1, 2).T
        entry = np.repeat(np.arange(len(counts)), counts)
        number = np.arange(len(entry)) - np.repeat(np.cumsum(counts) - counts, counts)
        subject, other, *numbers = np.concatenate(self._ids).T
        places = Places(self._path, entry, _PAIRS, number)
        raw = RawClasses(*numbers)
        classes = class_ids(raw, self._vocabulary, places, numbering, annotated)
        size = 2 + max(subject.max(initial=0), other.max(initial=0))
        boxes_xyxy = np.concatenate(self._boxes_xyxy)
        boxes_xyxy[classes.without_object, 4:] = np.nan
        rows = Rows(
            image_ids[entry],
            number_by_first((entry * size + subject) * size + other + 1),
            classes.verb,
            classes.hoi,
            boxes_xyxy[:, :4],
            boxes_xyxy[:, 4:],
            np.concatenate(self._scores),
        )
        return rows, classes.numbering


def _places(path: Path, row: int, listed: EntryObjects) -> Places:
    return Places(path, np.full(len(listed), row), listed.within, np.arange(len(listed)))
