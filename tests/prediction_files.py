"""Predictions and partitions written as the files that other projects have."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from hico_worlds import World

from hoiclip.catalog.vocabularies import COCO_IDS
from hoiclip.core import schema
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.evaluation.evaluation import Evaluation
from hoiclip.formats.annotations.source import SourceOptions
from hoiclip.scoring.score import Request, score


def inclusive(box: tuple | None) -> list[float] | None:
    return None if box is None else [box[0], box[1], box[2] - 1, box[3] - 1]


def class_numbers(vocabulary: Vocabulary, hoi: int, numbering: str) -> tuple[int, dict]:
    """`category_id` of the object's box, and the keys of the pair, by the four numberings."""
    verb, object_ = vocabulary.hois[hoi].verb, vocabulary.hois[hoi].object
    object_ = 0 if object_ is None else object_
    of_coco = vocabulary.num_objects == len(COCO_IDS)
    return {
        "hoia": (COCO_IDS[object_] if of_coco else object_ + 1, {"category_id": verb + 1}),
        "zero-based": (object_, {"category_id": verb}),
        "hoi": (object_, {"category_id": hoi}),
        "hoi-category": (77, {"category_id": -5, "hoi_category_id": hoi + 1}),
    }[numbering]


def hoia_document(
    detections: list[dict], names: list[str], vocabulary: Vocabulary, numbering: str = "hoia"
) -> list[dict]:
    """HOIA predictions: each query's boxes are listed once for each object class it is given."""
    document = [{"file_name": name, "predictions": [], "hoi_prediction": []} for name in names]
    places: dict[tuple, int] = {}
    categories: dict[tuple, int] = {}

    def place(entry: dict, key: tuple, box: tuple | None, category: int) -> int:
        if box is None:
            return -1
        if key not in places:
            places[key] = len(entry["predictions"])
            entry["predictions"].append({"bbox": inclusive(box), "category_id": category})
        return places[key]

    person, _ = class_numbers(vocabulary, 0, numbering)
    person += vocabulary.person - (vocabulary.hois[0].object or 0)
    for d in sorted(detections, key=lambda d: (d["image"], d["query"], d["hoi"])):
        entry, query = document[d["image"]], (d["image"], d["query"])
        category, keys = class_numbers(vocabulary, d["hoi"], numbering)
        if vocabulary.hois[d["hoi"]].object is None:
            category = categories.get(query, category)
        categories[query] = category
        entry["hoi_prediction"].append(
            keys
            | {
                "subject_id": place(entry, (*query, "human"), d["human"], person),
                "object_id": place(entry, (*query, category), d["object"], category),
                "score": d["score"],
            }
        )
    return document


def write_json(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def write_world(folder: Path, world: World) -> Path:
    """`vocabulary.parquet`, `splits/classes.parquet` and the partition; gives the partition."""
    world.vocabulary.write(folder / "vocabulary.parquet", {})
    schema.write_table(folder / "splits/classes.parquet", world.classes, schema.CLASSES, {})
    partition = folder / "annotations" / "test"
    Annotations(world.images, world.instances, world.interactions).write(partition, {})
    return partition


def score_files(
    predictions: Path, annotations: Path, source: dict | None = None, **options
) -> Evaluation:
    return score(
        Request(
            predictions=predictions,
            annotations=annotations,
            source=SourceOptions(**(source or {})),
            **options,
        )
    )


def write_parquet(path: Path, table, drop: tuple[str, ...] = ()) -> Path:
    pq.write_table(table.drop_columns(list(drop)), path)
    return path


def close(a: object, b: object, tolerance: float = 1e-9) -> bool:
    """Whether two metrics are the same, key by key."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[k], b[k], tolerance) for k in a)
    if isinstance(a, float):
        return isinstance(b, float) and math.isclose(a, b, rel_tol=0, abs_tol=tolerance)
    return a == b


def names_of(world: World) -> list[str]:
    return world.images["file_name"].to_pylist()


def with_float_boxes(detections: list[dict], seed: int) -> list[dict]:
    """Boxes moved by fractions that float32 holds, so that nothing is a whole number."""
    rng = np.random.default_rng(seed)

    def moved(box: tuple) -> tuple:
        x1, y1, x2, y2 = (float(np.float32(v)) for v in np.array(box) + rng.normal(0, 0.3, 4))
        return (min(x1, x2 - 1.5), min(y1, y2 - 1.5), x2, y2)

    boxes: dict[tuple, tuple] = {}
    for d in detections:
        key = (d["image"], d["query"])
        if key not in boxes:
            boxes[key] = tuple(
                tuple(map(float, np.float32(moved(d[k])))) for k in ("human", "object")
            )
    return [
        d | dict(zip(("human", "object"), boxes[d["image"], d["query"]], strict=True))
        for d in detections
    ]
