"""The crops behind the verb vectors, and the sums that each enters.

`correct` counts every HOI row (pair, HOI class) once: the enclosing rectangle of the human and the
object box for the HOI class, the object box for the class's object. A class without an object has
the human box alone.

`released` accumulates as the authors' generator did: within one image, of several rows of an HOI
class only the last counts, likewise of an object class; and the mean feature of the human boxes of
each image's rows is added to the object class `person`. Classes without rows are left out there
too, where the original divides by zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from hoiclip.core.vocabulary import Vocabulary
from hoiclip.crops import enclosing_box
from hoiclip.data.annotations import Annotations

Accumulation = Literal["correct", "released"]


class Row(NamedTuple):
    """Boxes (4,), the object's NaN where there is none, and the HOI class."""

    human: np.ndarray
    object: np.ndarray
    hoi: int


class Share(NamedTuple):
    """One crop's part in a sum: `weight` times its feature goes to row `row`."""

    box: np.ndarray
    row: int
    weight: float


def rows_by_image(annotations: Annotations, seen: np.ndarray) -> list[tuple[str, list[Row]]]:
    """(file name, rows of seen classes) of each image with such rows, in the tables' order."""
    pairs = annotations.pairs()
    image_of_row = pairs.image_ids[pairs.pair_of_row]
    order = np.argsort(image_of_row, kind="stable")
    order = order[seen[pairs.hoi_of_row[order]]]
    image_ids = annotations.images["image_id"].to_numpy()
    starts = np.searchsorted(image_of_row[order], image_ids, "left")
    stops = np.searchsorted(image_of_row[order], image_ids, "right")

    def rows(chosen: np.ndarray) -> list[Row]:
        of = pairs.pair_of_row[chosen]
        columns = (
            pairs.human_boxes_xyxy[of],
            pairs.object_boxes_xyxy[of],
            pairs.hoi_of_row[chosen],
        )
        return [Row(*row) for row in zip(*columns, strict=True)]

    names = annotations.images["file_name"].to_pylist()
    spans = zip(names, starts, stops, strict=True)
    return [(name, rows(order[start:stop])) for name, start, stop in spans if start < stop]


def shares_of(
    rows: list[Row], vocabulary: Vocabulary, accumulation: Accumulation
) -> Iterator[Share]:
    """The crops of one image and the sums (HOI classes, then objects) that they enter."""
    shares = []
    for human, object_, hoi in rows:
        if np.isnan(object_).any():
            shares.append(Share(human, hoi, 1.0))
            continue
        shares.append(Share(enclosing_box(np.stack([human, object_])), hoi, 1.0))
        shares.append(Share(object_, vocabulary.num_hois + vocabulary.object_of_hoi[hoi], 1.0))
    if accumulation == "correct":
        yield from shares
        return
    yield from {share.row: share for share in shares}.values()
    person = vocabulary.num_hois + vocabulary.person
    yield from (Share(row.human, person, 1 / len(rows)) for row in rows)
