"""From boxes and interactions, as any source lists them, to the schema's tables.

The tables keep the source's order, by which evaluators decide between equal overlaps. Boxes of
equal class and coordinates are one instance, which stands where the first of them does; nothing is
merged by overlap. Instances are numbered within their image as they stand.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from hoiclip.core import schema
from hoiclip.core.schema import numpy_to_fixed_lists
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.formats.annotations import filters
from hoiclip.formats.annotations.findings import ReadReport
from hoiclip.formats.annotations.source_rows import NO_OBJECT, SourceBoxes, SourceInteractions


def assemble(
    images: pa.Table,
    boxes: SourceBoxes,
    interactions: SourceInteractions,
    vocabulary: Vocabulary,
    report: ReadReport,
    *,
    drop_unknown: bool,
) -> Annotations:
    """Builds a partition.

    Boxes that leave their image are cut to it and reported. Left out and reported: boxes of which
    nothing is left (see `filters.clip_to_image`), and the interactions they take part in;
    interactions whose human is not a person; of equal (human, object, HOI class) all but the first.

    Args:
        images: rows of `schema.IMAGES`.
        boxes: all boxes, in the order that instances are to have.
        interactions: all interactions, in their order; their positions and verbs within range.
        vocabulary: of the data set.
        report: receives the findings.
        drop_unknown: leaves out, with a finding, interactions with boxes of unknown classes, those
            outside the vocabulary, and those whose stated HOI class is not that of verb and object;
            otherwise they are an error. Boxes of unknown classes that no interaction has are left
            out anyway.

    Raises:
        InputError: such boxes or interactions, counted, when `drop_unknown` is false.
    """
    boxes, usable = filters.fitted_boxes(
        images, boxes, interactions, report, drop_unknown=drop_unknown
    )
    interactions = filters.with_usable_boxes(interactions, usable, vocabulary, report)
    interactions = filters.with_humans(boxes, interactions, vocabulary, report)
    interactions, outside = filters.with_hois(
        boxes, interactions, vocabulary, report, drop_unknown=drop_unknown
    )
    instances, instance_of_box = _merge(images, boxes, usable)
    table = _interactions_table(images, boxes, interactions, instance_of_box, vocabulary, report)
    left_out = _outside_table(images, boxes, outside, instance_of_box)
    return Annotations(images, instances, table, outside_vocabulary=left_out or None)


def _merge(images: pa.Table, boxes: SourceBoxes, usable: np.ndarray) -> tuple[pa.Table, np.ndarray]:
    """Instances table, and of each box its instance number within the image (-1: not usable)."""
    chosen = np.flatnonzero(usable)
    # Adding zero turns -0.0 into 0.0, so that equal boxes are equal bytes.
    values, image, object_ = (
        boxes.boxes_xyxy[chosen] + 0.0,
        boxes.image[chosen],
        boxes.object[chosen],
    )
    keys = np.column_stack([image, object_, np.ascontiguousarray(values).view(np.int64)])
    first, instance = _distinct(keys)
    image, number = image[first], _number_within(image[first])
    instance_of_box = np.full(len(usable), -1, np.int32)
    instance_of_box[chosen] = number[instance]
    table = pa.Table.from_arrays(
        [
            pa.array(images["image_id"].to_numpy()[image], pa.int64()),
            pa.array(number, pa.int32()),
            pa.array(object_[first], pa.int32()),
            numpy_to_fixed_lists(values[first]),
        ],
        schema=schema.INSTANCES,
    )
    return table, instance_of_box


def _distinct(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of (N, K) rows, (U,) rising positions where each first appears; (N,) which one each is."""
    _, first, number = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order], np.argsort(order)[number.reshape(-1)]


def _number_within(groups: np.ndarray) -> np.ndarray:
    """(N,) int32: how many earlier ones of `groups` (N,) are equal."""
    order = np.argsort(groups, kind="stable")
    begin = np.searchsorted(groups[order], groups[order])
    number = np.empty(len(groups), np.int32)
    number[order] = np.arange(len(groups)) - begin
    return number


def _interactions_table(
    images: pa.Table,
    boxes: SourceBoxes,
    interactions: SourceInteractions,
    instance_of_box: np.ndarray,
    vocabulary: Vocabulary,
    report: ReadReport,
) -> pa.Table:
    pairs = _numbered_pairs(boxes, interactions, instance_of_box)
    keys = np.column_stack([*pairs, interactions.hoi]).astype(np.int64)
    first, _ = _distinct(keys)
    repeated = np.delete(np.arange(len(keys)), first)
    names = (vocabulary.hoi_name(hoi) for hoi in keys[repeated, 3])
    report.add("pair_repeated", interactions.row[repeated], names)
    image, human, object_, hoi = keys[first].T
    return pa.Table.from_arrays(
        [
            pa.array(images["image_id"].to_numpy()[image], pa.int64()),
            pa.array(human, pa.int32()),
            pa.array(object_.astype(np.int32), pa.int32(), mask=object_ < 0),
            pa.array(vocabulary.verb_of_hoi[hoi], pa.int32()),
            pa.array(hoi, pa.int32()),
        ],
        schema=schema.INTERACTIONS,
    )


def _outside_table(
    images: pa.Table,
    boxes: SourceBoxes,
    interactions: SourceInteractions,
    instance_of_box: np.ndarray,
) -> pa.Table:
    pairs = _numbered_pairs(boxes, interactions, instance_of_box)
    keys = np.column_stack([*pairs, interactions.verb]).astype(np.int64)
    image, human, object_, verb = keys[_distinct(keys)[0]].T
    return pa.Table.from_arrays(
        [
            pa.array(images["image_id"].to_numpy()[image], pa.int64()),
            pa.array(human, pa.int32()),
            pa.array(object_.astype(np.int32), pa.int32(), mask=object_ < 0),
            pa.array(verb, pa.int32()),
        ],
        schema=schema.OUTSIDE_VOCABULARY,
    )


def _numbered_pairs(
    boxes: SourceBoxes, interactions: SourceInteractions, instance_of_box: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image position, human and object instance of each interaction; -1 for no object."""
    alone = interactions.object == NO_OBJECT
    object_ = np.full(len(alone), NO_OBJECT)
    object_[~alone] = instance_of_box[interactions.object[~alone]]
    return boxes.image[interactions.human], instance_of_box[interactions.human], object_
