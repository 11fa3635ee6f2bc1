"""HICO-DET from `instances_*2015.json`: one entry per (pair, HOI class), boxes 1-based."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hoiclip.data.annotations import Annotations
from hoiclip.data.readers import source
from hoiclip.data.readers.assembly import assemble
from hoiclip.data.readers.classes import listed_ids, mapped, names_of
from hoiclip.data.readers.image_table import image_table
from hoiclip.data.readers.report import ReadReport
from hoiclip.data.readers.rows import SourceInteractions, boxes_of_pairs
from hoiclip.data.readers.vocabularies import hico_det
from hoiclip.errors import InputError
from hoiclip.files import read_json
from hoiclip.vocabulary import Hoi, Vocabulary

ONE_BASED_INCLUSIVE = np.array([-1.0, -1.0, 0.0, 0.0])
"""Added to 1-based inclusive xyxy boxes, gives the schema's."""


def read(
    path: str | Path, *, drop_unknown: bool = False
) -> tuple[Annotations, Vocabulary, ReadReport]:
    """Reads a partition.

    Args:
        path: the JSON file.
        drop_unknown: see `assemble`.

    Raises:
        InputError: malformed, or made for other classes than HICO-DET's.
    """
    path, vocabulary = Path(path), hico_det()
    document = source.mapping(path, None, "document", read_json(path))
    objects, verbs = (
        listed_ids(path, key, names_of(path, document, key), names)
        for key, names in (
            ("objects", vocabulary.objects),
            ("verbs", [verb.name for verb in vocabulary.verbs]),
        )
    )
    _check_hois(path, document, objects, verbs, vocabulary)
    rows = [value for _, value in source.entries(path, document, "annotation")]
    names = [value for _, value in source.entries(path, document, "filenames")]
    sizes = [[value] for _, value in source.entries(path, document, "size")]
    if not len(rows) == len(names) == len(sizes):
        lengths = f"{len(names)}, {len(rows)}, {len(sizes)}"
        raise InputError(path, f"filenames, annotation and size differ in length: {lengths}")
    images = image_table(path, names, source.number_rows(path, "size", sizes, width=2))
    lists = {
        key: source.column(path, rows, key, "annotation")
        for key in ("boxes_h", "boxes_o", "hoi", "object", "verb")
    }
    source.same_lengths(path, lists)
    human_boxes, object_boxes = (
        source.number_rows(path, key, lists[key]) + ONE_BASED_INCLUSIVE
        for key in ("boxes_h", "boxes_o")
    )
    image = source.rows_of(lists["hoi"])
    object_ = mapped(path, "object", lists["object"], objects)
    boxes, human, other = boxes_of_pairs(
        image, vocabulary.person, object_, human_boxes, object_boxes
    )
    stated = mapped(path, "hoi", lists["hoi"], np.arange(vocabulary.num_hois))
    verb = mapped(path, "verb", lists["verb"], verbs)
    interactions = SourceInteractions(human, other, verb, stated, image)
    report = ReadReport(path)
    tables = assemble(images, boxes, interactions, vocabulary, report, drop_unknown=drop_unknown)
    return tables, vocabulary, report


def _check_hois(
    path: Path,
    document: dict[str, Any],
    objects: np.ndarray,
    verbs: np.ndarray,
    vocabulary: Vocabulary,
) -> None:
    lists = [[value] for _, value in source.entries(path, document, "correspondence")]
    for row, (hoi, object_, verb) in enumerate(
        source.number_rows(path, "correspondence", lists, width=3).tolist()
    ):
        fits = (
            0 <= hoi < vocabulary.num_hois
            and 0 <= object_ < len(objects)
            and 0 <= verb < len(verbs)
            and vocabulary.hois[int(hoi)] == Hoi(int(verbs[int(verb)]), int(objects[int(object_)]))
        )
        if not fits:
            problem = f"{[hoi, object_, verb]} is not HICO-DET's [hoi, object, verb]"
            raise InputError(path, problem, row=row, key="correspondence")
