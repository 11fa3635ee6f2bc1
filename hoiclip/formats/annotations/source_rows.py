"""Boxes and interactions as a source lists them, before they become the schema's tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hoiclip.core.vocabulary import Vocabulary
from hoiclip.util import json_values

NO_OBJECT = -1
UNKNOWN = -1


@dataclass(frozen=True)
class SourceBoxes:
    """Boxes as listed; N of them, repetitions allowed.

    Attributes:
        image: (N,) position of the image in the images table.
        object: (N,) object class; `UNKNOWN` for one that the vocabulary does not have.
        boxes_xyxy: (N, 4) in the schema's coordinates; may hold anything.
        row: (N,) row of the source, for the report.
        unknown: position → class as the source has it, of boxes of `UNKNOWN` classes.
    """

    image: np.ndarray
    object: np.ndarray
    boxes_xyxy: np.ndarray
    row: np.ndarray
    unknown: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceInteractions:
    """Interactions as listed; R of them.

    Attributes:
        human: (R,) position among the boxes.
        object: (R,) position among the boxes; `NO_OBJECT` for none.
        verb: (R,) verb.
        hoi: (R,) HOI class as the source states it; `UNKNOWN` where it does not.
        row: (R,) row of the source.
    """

    human: np.ndarray
    object: np.ndarray
    verb: np.ndarray
    hoi: np.ndarray
    row: np.ndarray

    def select(self, wanted: np.ndarray) -> SourceInteractions:
        """The interactions where `wanted` (R,) is true."""
        columns = (self.human, self.object, self.verb, self.hoi, self.row)
        return SourceInteractions(*(c[wanted] for c in columns))


def boxes_of_pairs(
    image: np.ndarray,
    person: int,
    object_: np.ndarray,
    human_boxes_xyxy: np.ndarray,
    object_boxes_xyxy: np.ndarray,
) -> tuple[SourceBoxes, np.ndarray, np.ndarray]:
    """Boxes of a source that lists pairs, not boxes: of each image the humans', then the objects'.

    Args:
        image: (R,) rising, image of each pair, which is its row of the source.
        person: class of the humans.
        object_: (R,) class of the objects.
        human_boxes_xyxy: (R, 4).
        object_boxes_xyxy: (R, 4).

    Returns:
        2 R boxes; (R,) positions of the humans; (R,) positions of the objects.
    """
    both = np.tile(image, 2)
    order = np.argsort(both, kind="stable")
    classes = np.concatenate([np.full(len(image), person), object_])[order]
    values = np.concatenate([human_boxes_xyxy, object_boxes_xyxy])[order]
    human, other = np.split(np.argsort(order), 2)
    return SourceBoxes(both[order], classes, values, both[order]), human, other


def positions(index: np.ndarray, image: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(R,) position among all boxes of the box `index` of its image; -1 where there is none.

    Args:
        index: (R,) 0-based within the image; may hold anything.
        image: (R,) image of each.
        counts: (I,) boxes of each image, which are listed image after image.
    """
    first = np.cumsum(counts) - counts
    inside = (index >= 0) & (index < counts[image])
    return np.where(inside, first[image] + index, -1)


def named(unknown: Mapping[int, str], vocabulary: Vocabulary) -> dict[int, str]:
    """`SourceBoxes.unknown` of names, with the nearest class that the vocabulary has."""
    told = {
        name: f"{name!r}{json_values.like(name, vocabulary.objects)}" for name in unknown.values()
    }
    return {position: told[name] for position, name in unknown.items()}
