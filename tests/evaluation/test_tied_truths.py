"""Of annotations that a prediction overlaps equally, the first of the file: from the file on."""

from __future__ import annotations

import json

import diagnosis_reference
import hico_reference as reference
import hico_worlds as worlds
import layouts
import numpy as np
import pyarrow as pa
import pytest
from prediction_files import score_files, write_json, write_parquet

from hoiclip.catalog.vocabularies import hico_det, vcoco
from hoiclip.data.annotations import Annotations
from hoiclip.evaluation.ap.protocols import PROTOCOLS
from hoiclip.evaluation.ap.tables import ImageIndex, ground_truth_of
from hoiclip.evaluation.diagnosis import diagnose
from hoiclip.evaluation.hico import evaluate_hico
from hoiclip.formats.annotations import hico_instances, own
from hoiclip.formats.annotations.source import SourceOptions
from hoiclip.formats.reading import read_annotations

NAMES = sorted(PROTOCOLS)
HICO, V_COCO = hico_det(), vcoco()
RIDE = HICO.hoi_ids[[v.name for v in HICO.verbs].index("ride"), HICO.objects.index("horse")]
NUMBER = 7
NAME = layouts.file_name(NUMBER)

# 0-based, x2 and y2 the last pixel inside. Both objects overlap what is predicted first equally.
HUMAN, FIRST, SECOND = (0, 0, 99, 99), (10, 0, 109, 99), (0, 0, 99, 99)
PREDICTED = [((0, 0, 99, 59), (5, 0, 104, 99), 0.9), (HUMAN, FIRST, 0.8)]


def one_based(box):
    return tuple(v + 1 for v in box)


def continuous(box):
    return [float(v) for v in (*box[:2], box[2] + 1, box[3] + 1)]


def pairs(objects):
    return {NUMBER: [(one_based(HUMAN), one_based(box), RIDE) for box in objects]}


def as_instances(folder, objects):
    document = layouts.instances_document(pairs(objects)) | {"size": [[200, 200]]}
    return write_json(folder / "instances.json", document), {}, RIDE


def as_hoia(folder, objects):
    document = layouts.hoia_document(pairs(objects[::-1]))
    return write_json(folder / "hoia.json", document), {}, RIDE


def as_mat(folder, objects):
    images = layouts.mat_images(pairs(objects))
    images[0]["size"] = layouts.structs([{"width": 200, "height": 200, "depth": 3}])
    return layouts.write_mat(folder / "anno_bbox.mat", images), {}, RIDE


def as_vcoco_instances(folder, objects):
    document = {
        "images": [NUMBER],
        "classes": ["ride instr"],
        "objects": ["background", *(name.replace("_", " ") for name in V_COCO.objects)],
        "annotations": [
            {
                "file_name": NAME,
                "boxes_h": [continuous(HUMAN) for _ in objects],
                "boxes_o": [continuous(box) for box in objects],
                "actions": [0 for _ in objects],
                "objects": [1 + V_COCO.objects.index("horse") for _ in objects],
            }
        ],
    }
    verb = [v.name for v in V_COCO.verbs].index("ride_instr")
    hoi = V_COCO.hoi_ids[verb, V_COCO.objects.index("horse")]
    return write_json(folder / "instances_vcoco_test.json", document), {}, hoi


def own_vocabulary(folder):
    document = {
        "objects": ["horse", "person"],
        "verbs": [{"name": "ride", "phrase": "riding"}],
        "hois": [["ride", "horse"]],
    }
    return {"vocabulary": str(write_json(folder / "vocabulary.json", document))}


def as_own_csv(folder, objects):
    sides = [f"{side}_{key}" for side in ("human", "object") for key in ("x1", "y1", "x2", "y2")]
    lines = [",".join(["file_name,width,height", *sides, "object,verb"])]
    for box in objects:
        values = map(str, (*continuous(HUMAN), *continuous(box)))
        lines.append(",".join([NAME, "200", "200", *values, "horse,ride"]))
    path = folder / "own.csv"
    path.write_text("\n".join(lines))
    return path, own_vocabulary(folder), 0


def as_own_json(folder, objects):
    def bbox(box):
        x1, y1, x2, y2 = continuous(box)
        return [x1, y1, x2 - x1, y2 - y1]

    annotations = [{"id": 9, "image_id": NUMBER, "category_id": 2, "bbox": bbox(HUMAN)}]
    # The objects' own order is no matter: that of the interactions is.
    for id_, box in ((5, SECOND), (3, FIRST)):
        row = {"id": id_, "image_id": NUMBER, "category_id": 1, "bbox": bbox(box)}
        annotations.append(row)
    ids = {FIRST: 3, SECOND: 5}
    document = {
        "images": [{"id": NUMBER, "file_name": NAME, "width": 200, "height": 200}],
        "categories": [{"id": 1, "name": "horse"}, {"id": 2, "name": "person"}],
        "annotations": annotations,
        "interactions": [{"human": 9, "object": ids[box], "verb": "ride"} for box in objects],
    }
    return write_json(folder / "own.json", document), own_vocabulary(folder), 0


def as_partition(folder, objects):
    path, options, hoi = as_own_csv(folder, objects)
    tables, vocabulary, _ = own.read(path, options["vocabulary"])
    tables.write(folder / "partition", {})
    vocabulary.write(folder / "vocabulary.parquet", {})
    return folder / "partition", {}, hoi


FORMS = (
    as_instances, as_hoia, as_mat, as_vcoco_instances, as_own_csv, as_own_json, as_partition,
)  # fmt: skip


@pytest.mark.parametrize("protocol", NAMES)
@pytest.mark.parametrize("form", FORMS)
def test_the_order_of_two_pairs_in_the_file_decides(tmp_path, form, protocol):
    # The better scored one takes the first object; the other one fits `FIRST` alone.
    for objects, expected in (((FIRST, SECOND), 600 / 11), ((SECOND, FIRST), 100)):
        path, source, hoi = form(tmp_path, objects)
        rows = [
            {
                "file_name": NAME, "query": query, "hoi": hoi, "score": score,
                "human_box_xyxy": continuous(human), "object_box_xyxy": continuous(object_),
            }
            for query, (human, object_, score) in enumerate(PREDICTED)
        ]  # fmt: skip
        predictions = write_parquet(tmp_path / "p.parquet", pa.Table.from_pylist(rows))
        scored = score_files(predictions, path, source, protocol=protocol, diagnosis=True)
        assert scored.metrics()["default"]["full"] == pytest.approx(expected, abs=1e-9)
        assert scored.diagnosis["map"] == pytest.approx(expected, abs=1e-9)
        assert scored.diagnosis["count"]["duplicate"] == (expected != 100)


CLASSES = [RIDE, 3]
CLASSES_TABLE = worlds.classes_table([False] * HICO.num_hois, [True] * HICO.num_hois)


def at(x):
    """1-based; what stands half way between two neighbours overlaps both by 0.6."""
    return (1 + x, 1, 20 + x, 20)


def tied_content(rng):
    """{image number: [(human, object, hoi)]}, as of `layouts`, in no particular order."""

    def pair():
        human, other = 10 * rng.integers(2), 10 * rng.integers(5)
        return at(int(human)), at(int(other)), int(rng.choice(CLASSES))

    numbers = rng.permutation(50)[:3].tolist()
    return {n: list(dict.fromkeys(pair() for _ in range(rng.integers(0, 16)))) for n in numbers}


def tied_detections(rng, content):
    def box(steps):
        x1, y1, x2, y2 = at(5 * int(rng.integers(steps)))
        return (x1 - 1.0, y1 - 1.0, float(x2), float(y2))

    return [
        {
            "image": image, "query": query, "hoi": int(rng.choice(CLASSES)),
            "human": box(3), "object": box(9), "score": float(rng.integers(1, 30)) / 32,
        }
        for image in range(len(content))
        for query in range(int(rng.integers(5, 25)))
    ]  # fmt: skip


def truths_of_instances(document):
    for image, entry in enumerate(document["annotation"]):
        for human, other, hoi in zip(entry["boxes_h"], entry["boxes_o"], entry["hoi"], strict=True):
            yield image, hoi, [v - 1 for v in human], [v - 1 for v in other]


def truths_of_hoia(document):
    for image, entry in enumerate(document):
        boxes = [row["bbox"] for row in entry["annotations"]]
        for row in entry["hoi_annotation"]:
            human, other = boxes[row["subject_id"]], boxes[row["object_id"]]
            yield image, row["hoi_category_id"] - 1, human, other


def truths_of_mat(images):
    for image, entry in enumerate(images):
        for hoi in entry["hoi"].ravel():
            humans, objects = (
                [[box[key] - 1 for key in ("x1", "y1", "x2", "y2")] for box in hoi[side].ravel()]
                for side in ("bboxhuman", "bboxobject")
            )
            for human, other in hoi["connection"].tolist():
                yield image, hoi["id"] - 1, humans[human - 1], objects[other - 1]


def tied_files(folder, rng, content):
    """(path, truths in its order) of the content in each form, each in an order of its own."""
    mixed = {
        number: [pairs[i] for i in rng.permutation(len(pairs))] for number, pairs in content.items()
    }
    instances = layouts.instances_document(content)
    hoia = layouts.hoia_document(mixed)
    mat = layouts.mat_images(mixed)
    return [
        (write_json(folder / "instances.json", instances), truths_of_instances(instances)),
        (write_json(folder / "hoia.json", hoia), truths_of_hoia(hoia)),
        (layouts.write_mat(folder / "anno_bbox.mat", mat), truths_of_mat(mat)),
    ]


def as_truths(rows):
    return [
        {"image": i, "hoi": hoi, "human": continuous(human), "object": continuous(other)}
        for i, hoi, human, other in rows
    ]


def test_worlds_full_of_ties_equal_the_reference_on_the_order_of_each_file(tmp_path):
    objects, differing = HICO.object_of_hoi.tolist(), 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        content = tied_content(rng)
        detections = tied_detections(rng, content)
        images = pa.table({"image_id": list(content)})
        table = worlds.predictions_table(detections, images, float64=True)
        of_first = None
        for path, rows in tied_files(tmp_path, rng, content)[: 3 if seed < 4 else 2]:
            read, truths = read_annotations(path, SourceOptions()).annotations, as_truths(rows)
            for protocol in NAMES:
                result = evaluate_hico(table, read, HICO, CLASSES_TABLE, PROTOCOLS[protocol])
                expected, recalls = reference.evaluate(detections, truths, objects, protocol)
                for setting, values in expected.items():
                    found = result.scores.average_precision[setting]
                    np.testing.assert_allclose(found, values, rtol=0, atol=1e-9)
                np.testing.assert_allclose(result.scores.max_recall, recalls, rtol=0, atol=1e-9)
                told = diagnosis_reference.of_hico(detections, truths, HICO, protocol)
                diagnosis = diagnose(table, read, HICO, PROTOCOLS[protocol])
                diagnosis_reference.assert_equal(diagnosis, told)
            of_first = expected["default"] if of_first is None else of_first
            differing += not np.allclose(expected["default"], of_first, equal_nan=True)
    assert differing >= 6


@pytest.mark.skipif(not worlds.HICO_TEST.exists(), reason="HICO-DET's annotations are absent")
def test_the_real_file_is_grouped_in_its_order():
    document = json.loads(worlds.HICO_TEST.read_text())
    tables, vocabulary, _ = hico_instances.read(worlds.HICO_TEST)
    index = ImageIndex.of(tables.images)
    truth = ground_truth_of(tables, index, vocabulary, (1, 1, 0, 0))
    rows = list(truths_of_instances(document))
    assert truth.image.tolist() == [row[0] for row in rows]
    assert truth.hoi.tolist() == [row[1] for row in rows]
    one_based = [np.array([row[side] for row in rows]) + 1 for side in (2, 3)]
    np.testing.assert_array_equal(truth.human_boxes_xyxy, one_based[0])
    np.testing.assert_array_equal(truth.object_boxes_xyxy, one_based[1])


@pytest.mark.skipif(not worlds.HICO_TEST.exists(), reason="HICO-DET's annotations are absent")
@pytest.mark.parametrize("protocol", NAMES)
@pytest.mark.parametrize(
    "num_images", [400, pytest.param(None, marks=pytest.mark.slow)], ids=["sample", "all"]
)
def test_the_real_file_as_read_equals_the_reference_on_its_rows(protocol, num_images):
    world = worlds.hico_world(num_images, rows_per_image=12, seed=1)
    tables, vocabulary, _ = hico_instances.read(worlds.HICO_TEST)
    ids = tables.images["image_id"].to_numpy()[:num_images]
    tables = tables.select(ids)
    table = worlds.predictions_table(world.detections, tables.images, float64=True)
    objects = vocabulary.object_of_hoi.tolist()
    expected, _ = reference.evaluate(world.detections, world.truths, objects, protocol)

    def average_precision(part: Annotations):
        result = evaluate_hico(table, part, vocabulary, world.classes, PROTOCOLS[protocol])
        return result.scores.average_precision["default"]

    np.testing.assert_allclose(average_precision(tables), expected["default"], rtol=0, atol=1e-9)
    turned = tables.interactions.take(np.arange(len(tables.interactions))[::-1])
    other = Annotations(tables.images, tables.instances, turned)
    if num_images is None or protocol != "pocket":
        assert not np.allclose(average_precision(other), expected["default"], equal_nan=True)
    if num_images is not None:
        diagnosis = diagnose(table, tables, vocabulary, PROTOCOLS[protocol])
        told = diagnosis_reference.of_hico(world.detections, world.truths, vocabulary, protocol)
        diagnosis_reference.assert_equal(diagnosis, told)
