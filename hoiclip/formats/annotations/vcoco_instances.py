"""V-COCO from `instances_vcoco_{trainval,test}.json`: pairs with an object only.

It leaves out the actions without an object and the roles whose object is not visible, so AP for
scenario 1 needs the original files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hoiclip.catalog.vocabularies import vcoco
from hoiclip.core.files import read_json
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.errors import InputError
from hoiclip.formats import json_columns
from hoiclip.formats.annotations.assemble import assemble
from hoiclip.formats.annotations.classes import listed_ids, mapped, names_of
from hoiclip.formats.annotations.findings import ReadReport
from hoiclip.formats.annotations.image_sizes import ImageSize, sizes_for
from hoiclip.formats.annotations.image_table import image_table
from hoiclip.formats.annotations.source import Source, SourceOptions
from hoiclip.formats.annotations.source_rows import UNKNOWN, SourceInteractions, boxes_of_pairs
from hoiclip.formats.content import Content
from hoiclip.util import json_values

_BACKGROUND = "background"


def detect(content: Content) -> bool:
    """Whether it is a JSON object with this layout's keys."""
    return content.has_keys("boxes_h", "classes")


def load(path: Path, options: SourceOptions) -> Source:
    """`read`, as every format is read."""
    size = sizes_for(path, options, by_coco_id=True)
    return Source.of(read(path, size, drop_unknown=options.drop_unknown), expected=options)


def read(
    path: str | Path, image_size: ImageSize, *, drop_unknown: bool = False
) -> tuple[Annotations, Vocabulary, ReadReport]:
    """Reads a partition; its boxes are the schema's already.

    Args:
        path: the JSON file.
        image_size: sizes, which the file does not state.
        drop_unknown: see `assemble`; the test file holds pairs outside the vocabulary.

    Raises:
        InputError: malformed, or made for other classes than V-COCO's.
    """
    path, vocabulary = Path(path), vcoco()
    document = json_values.mapping(path, None, "document", read_json(path))
    actions = [name.replace(" ", "_") for name in names_of(path, document, "classes")]
    verbs = listed_ids(path, "classes", actions, [verb.name for verb in vocabulary.verbs])
    classes = [name.replace(" ", "_") for name in names_of(path, document, "objects")]
    if classes[:1] != [_BACKGROUND]:
        raise InputError(path, f"begins with {classes[:1]}, expected background", key="objects")
    objects = np.array(
        [UNKNOWN, *listed_ids(path, "objects", classes[1:], vocabulary.objects)], np.int64
    )
    rows = [value for _, value in json_values.entries(path, document, "annotations")]
    listed = [[value] for _, value in json_values.entries(path, document, "images")]
    image_ids = json_columns.integers(path, "images", listed)
    if len(rows) != len(image_ids):
        problem = f"{len(image_ids)} images, but {len(rows)} annotations"
        raise InputError(path, problem, key="images")
    lists = {
        key: json_columns.column(path, rows, key, "annotations")
        for key in ("boxes_h", "boxes_o", "actions", "objects")
    }
    json_columns.same_lengths(path, lists)
    names = [json_values.file_name(path, i, row.get("file_name")) for i, row in enumerate(rows)]
    sizes = np.array([image_size(name) for name in names], np.float64).reshape(-1, 2)
    images = image_table(path, names, sizes, image_ids)
    image = json_columns.rows_of(lists["actions"])
    human_boxes, object_boxes = (
        json_columns.number_rows(path, key, lists[key]) for key in ("boxes_h", "boxes_o")
    )
    object_ = mapped(path, "objects", lists["objects"], objects)
    boxes, human, other = boxes_of_pairs(
        image, vocabulary.person, object_, human_boxes, object_boxes
    )
    verb = mapped(path, "actions", lists["actions"], verbs)
    interactions = SourceInteractions(human, other, verb, np.full(len(image), UNKNOWN), image)
    report = ReadReport(path)
    tables = assemble(images, boxes, interactions, vocabulary, report, drop_unknown=drop_unknown)
    return tables, vocabulary, report
