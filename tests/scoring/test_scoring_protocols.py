"""The same numbers from other projects' files as from this project's tables."""

from __future__ import annotations

import numpy as np
import port_reference
import pyarrow as pa
import pytest
from hico_worlds import predictions_table, random_world
from prediction_files import (
    close,
    hoia_document,
    names_of,
    score_files,
    with_float_boxes,
    write_json,
    write_parquet,
    write_world,
)

from hoiclip.catalog.vocabularies import COCO_IDS, hico_det, published_rare
from hoiclip.evaluation.ap.protocols import protocol_named
from hoiclip.evaluation.hico import evaluate_hico
from hoiclip.evaluation.outputs import metrics

PROTOCOLS = ("hico", "hoiclip", "pocket")
HICO = hico_det()
RARE = np.flatnonzero(published_rare(HICO)).tolist()


def own_metrics(world, detections, protocol):
    table = predictions_table(detections, world.images)
    return metrics(evaluate_hico(table, *world.parts, protocol_named(protocol)))


def read_metrics(*arguments, **options):
    found = score_files(*arguments, **options).metrics()
    del found["input"]
    return found


@pytest.mark.parametrize("numbering", ["hoia", "zero-based", "hoi", "hoi-category"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_hoia_files_score_as_the_tables_they_were_made_from(tmp_path, protocol, numbering):
    for seed in range(4):
        world = random_world(seed)
        detections = world.detections
        if seed % 2:
            detections = with_float_boxes(detections, seed)
        partition = write_world(tmp_path / str(seed), world)
        document = hoia_document(detections, names_of(world), world.vocabulary, numbering)
        path = write_json(tmp_path / "p.json", document)
        found = read_metrics(path, partition, protocol=protocol, numbering=numbering)
        assert close(found, own_metrics(world, detections, protocol))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("drop", [(), ("hoi_score", "object_score", "clip_score"), ("query",)])
def test_parquet_files_score_as_their_tables(tmp_path, protocol, drop):
    for seed in range(4):
        world = random_world(seed)
        detections = sorted(
            with_float_boxes(world.detections, seed), key=lambda d: (d["image"], d["query"])
        )
        table = predictions_table(detections, world.images)
        path = write_parquet(tmp_path / "p.parquet", table, drop)
        found = read_metrics(path, write_world(tmp_path / str(seed), world), protocol=protocol)
        assert close(found, own_metrics(world, detections, protocol))


def test_images_may_go_by_their_file_names_and_lists_be_of_any_kind(tmp_path):
    world = random_world(3)
    table = world.predictions
    names = dict(zip(world.images["image_id"].to_pylist(), names_of(world), strict=True))
    table = table.append_column(
        "file_name", pa.array([names[i] for i in table["image_id"].to_pylist()])
    ).drop_columns(["image_id"])
    for key in ("human_box_xyxy", "object_box_xyxy"):
        place = table.column_names.index(key)
        table = table.set_column(place, key, table[key].cast(pa.list_(pa.float64())))
    path = write_parquet(tmp_path / "p.parquet", table)
    found = read_metrics(path, write_world(tmp_path, world), protocol="hico")
    assert close(found, own_metrics(world, world.detections, "hico"))


def test_the_convention_of_the_boxes_is_an_option(tmp_path):
    differing = 0
    for seed in range(5):
        world = random_world(seed)
        partition = write_world(tmp_path / str(seed), world)
        detections = with_float_boxes(world.detections, seed)
        table = predictions_table(detections, world.images)
        parquet = write_parquet(tmp_path / "p.parquet", table)
        document = hoia_document(detections, names_of(world), world.vocabulary)
        for entry in document:
            for box in entry["predictions"]:
                box["bbox"] = [*box["bbox"][:2], *(v + 1 for v in box["bbox"][2:])]
        continuous = write_json(tmp_path / "continuous.json", document)
        for protocol in PROTOCOLS:
            expected = read_metrics(parquet, partition, protocol=protocol)
            options = {"protocol": protocol, "numbering": "hoia", "boxes": "continuous"}
            assert close(read_metrics(continuous, partition, **options), expected)
            moved = read_metrics(parquet, partition, protocol=protocol, boxes="inclusive")
            differing += not close(moved, expected)
    assert differing


def random_port_case(seed, fractions):
    """Predictions and annotations on a coarse grid, of a few of HICO-DET's classes."""
    rng = np.random.default_rng(seed)
    hois = [*rng.choice(RARE, 2), *rng.choice(HICO.num_hois, 2)]
    grid = np.unique(rng.choice([1, 2, 3, 4, 6, 8], (6, 4)), axis=0)
    boxes = [[x, y, x + w, y + h] for x, y, w, h in grid.astype(float).tolist()]
    annotations, predictions = {}, {}
    for number in range(1, int(rng.integers(2, 6))):
        name = f"HICO_test2015_{number:08d}.jpg"
        rows = {
            (
                int(rng.integers(len(boxes))),
                int(rng.integers(len(boxes))),
                int(rng.choice(hois[:3])),
            )
            for _ in range(rng.integers(0, 6))
        }
        annotations[name] = {"boxes": boxes, "hois": sorted(rows)}
        predicted = [[v + fractions * rng.normal() / 4 for v in box] for box in boxes]
        predicted = [[a, b, max(a, c), max(b, d)] for a, b, c, d in predicted]
        if rng.random() < 0.8:
            rows = [
                (
                    *rng.integers(len(boxes), size=2).tolist(),
                    int(rng.choice(hois[1:])),
                    float(rng.integers(1, 6)) / 8,
                )
                for _ in range(rng.integers(0, 12))
            ]
            predictions[name] = {"boxes": predicted, "hois": rows}
    return predictions, annotations


def annotation_document(annotations):
    """`test_hico.json`: a box is listed once per class that it has."""
    document = []
    for name, image in annotations.items():
        entry = {"file_name": name, "annotations": [], "hoi_annotation": []}
        for subject, other, hoi in image["hois"]:
            pair = HICO.hois[hoi]
            for box, object_ in ((subject, HICO.person), (other, pair.object)):
                entry["annotations"].append(
                    {"bbox": image["boxes"][box], "category_id": COCO_IDS[object_]}
                )
            count = len(entry["annotations"])
            entry["hoi_annotation"].append(
                {"subject_id": count - 2, "object_id": count - 1, "category_id": pair.verb + 1}
            )
        document.append(entry)
    return document


def in_memory_document(predictions):
    """As the released evaluator holds them: HOI classes from 0, boxes without a class."""
    return [
        {
            "filename": name,
            "predictions": [{"bbox": box} for box in image["boxes"]],
            "hoi_prediction": [
                dict(zip(("subject_id", "object_id", "category_id", "score"), row, strict=True))
                for row in image["hois"]
            ],
        }
        for name, image in predictions.items()
    ]


@pytest.mark.parametrize("fractions", [0, 1])
def test_the_port_protocol_compares_boxes_as_they_are(tmp_path, fractions):
    differing = 0
    for seed in range(25):
        predictions, annotations = random_port_case(seed, fractions)
        expected = port_reference.evaluate(predictions, annotations, set(RARE))
        truth = write_json(tmp_path / "test_hico.json", annotation_document(annotations))
        path = write_json(tmp_path / "p.json", in_memory_document(predictions))
        found = score_files(path, truth, protocol="hoiclip").metrics()
        assert close(found["default"], expected), seed
        other = score_files(path, truth, protocol="hoiclip", boxes="continuous").metrics()
        differing += not close(other["default"], expected)
    assert differing
