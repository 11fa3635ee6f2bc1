import json
from pathlib import Path

import numpy as np
import pytest
from layouts import (
    HICO,
    HUMAN,
    OBJECT,
    SIT_ON_BENCH,
    instances_document,
    pairs_of,
    write_json,
)

from hoiclip.core.schema import fixed_lists_to_numpy
from hoiclip.errors import InputError
from hoiclip.formats.annotations import hico_instances
from hoiclip.splits.splits import classes_table

REAL = Path(__file__).parents[4] / "shared/data/hico_det/instances_test2015.json"


def test_boxes_merge_only_when_class_and_coordinates_are_equal(tmp_path):
    bench = HICO.objects.index("bench")
    person = next(i for i, hoi in enumerate(HICO.hois) if hoi.object == HICO.person)
    near = (10, 10, 20, 31)
    content = {
        1: [
            (HUMAN, OBJECT, SIT_ON_BENCH),
            (near, OBJECT, SIT_ON_BENCH),
            (HUMAN, HUMAN, person),
            (HUMAN, HUMAN, SIT_ON_BENCH),
        ]
    }
    tables, _, _ = hico_instances.read(write_json(tmp_path / "i.json", instances_document(content)))
    assert tables.instances["object"].to_pylist() == [0, 0, bench, bench]
    assert tables.instances["instance"].to_pylist() == [0, 1, 2, 3]
    assert fixed_lists_to_numpy(tables.instances["box_xyxy"]).tolist() == [
        [9.0, 9.0, 20.0, 30.0],
        [9.0, 9.0, 20.0, 31.0],
        [14.0, 11.0, 18.0, 13.0],
        [9.0, 9.0, 20.0, 30.0],
    ]


def test_instances_are_numbered_within_their_image(tmp_path):
    content = {1: [(HUMAN, OBJECT, SIT_ON_BENCH)], 2: [(HUMAN, OBJECT, SIT_ON_BENCH)]}
    tables, _, _ = hico_instances.read(write_json(tmp_path / "i.json", instances_document(content)))
    numbers = tables.instances.select(["image_id", "instance"]).to_pylist()
    assert [tuple(row.values()) for row in numbers] == [(1, 0), (1, 1), (2, 0), (2, 1)]


@pytest.mark.parametrize("box", [(20, 10, 19, 30), (10, 30, 20, 29)])
def test_boxes_without_width_or_height_are_left_out(tmp_path, box):
    document = instances_document({1: [(HUMAN, box, SIT_ON_BENCH)]})
    tables, _, report = hico_instances.read(write_json(tmp_path / "i.json", document))
    assert tables.instances.num_rows == 1
    assert report.counts() == {"box_degenerate": 1, "interaction_of_bad_box": 1}


def test_odd_rows_are_reported(tmp_path):
    backwards, huge = (20, 10, 10, 30), (1, 1, 65, 48)
    content = {
        1: [(HUMAN, OBJECT, SIT_ON_BENCH), (backwards, OBJECT, SIT_ON_BENCH)],
        2: [
            (huge, OBJECT, SIT_ON_BENCH),
            (HUMAN, OBJECT, SIT_ON_BENCH),
            (HUMAN, OBJECT, SIT_ON_BENCH),
        ],
    }
    path = write_json(tmp_path / "i.json", instances_document(content))
    tables, _, report = hico_instances.read(path)
    tables.check("test", HICO)
    assert tables.interactions["image_id"].to_pylist() == [1, 2, 2]
    rows = report.table().to_pylist()
    assert [(r["row"], r["kind"], r["kept"], r["value"]) for r in rows] == [
        (0, "box_degenerate", False, '"[19.0, 9.0, 10.0, 30.0]"'),
        (1, "box_clipped", True, '"[0.0, 0.0, 65.0, 48.0]"'),
        (0, "interaction_of_bad_box", False, '"sit_on"'),
        (1, "pair_repeated", False, '"sit_on bench"'),
    ]
    assert {r["file"] for r in rows} == {str(path)}
    report.write(tmp_path / "report.parquet", {})


def test_boxes_that_are_not_finite_are_reported(tmp_path):
    content = {1: [(HUMAN, OBJECT, SIT_ON_BENCH)]}
    document = instances_document(content)
    for value in (float("nan"), float("inf"), -float("inf")):
        document["annotation"][0]["boxes_o"][0][2] = value
        tables, _, report = hico_instances.read(write_json(tmp_path / "i.json", document))
        assert report.counts() == {"box_not_finite": 1, "interaction_of_bad_box": 1}
        assert tables.instances.num_rows == 1
        assert tables.interactions.num_rows == 0


def change(document, key, value):
    document["annotation"][0][key][0] = value


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda d: change(d, "boxes_h", [1, 2, 3]),
            r"row 0, boxes_h: \[1, 2, 3\], expected a list of 4",
        ),
        (lambda d: change(d, "boxes_h", [1, 2, 3, None]), "row 0, boxes_h"),
        (lambda d: change(d, "boxes_h", [1, 2, 3, 10**400]), "row 0, boxes_h"),
        (lambda d: change(d, "verb", 117), r"row 0, verb: 117 is out of range 0\.\.116"),
        (lambda d: change(d, "verb", True), "row 0, verb: True, expected a whole number"),
        (lambda d: change(d, "object", -1), "row 0, object: -1 is out of range"),
        (
            lambda d: change(d, "hoi", 2),
            "row 0: stated HOI class is not that of .*: 1 rows: sit_on bench",
        ),
        (lambda d: change(d, "verb", 0), "row 0: .*outside the vocabulary: 1 rows: adjust bench"),
        (lambda d: d["annotation"][0]["hoi"].append(1), "row 0: lists differ in length"),
        (lambda d: d["annotation"][0].pop("hoi"), "row 0, hoi: missing"),
        (
            lambda d: d["annotation"].append(3),
            "filenames, annotation and size differ in length: 1, 2, 1",
        ),
        (lambda d: d.pop("size"), "size: missing"),
        (lambda d: d["size"][0].pop(), "row 0, size"),
        (lambda d: d.update(size=[[0, 5]]), "row 0, size: .* is not a width and a height"),
        (
            lambda d: d.update(filenames=["../../etc/passwd"]),
            "row 0, file_name: .* inside the folder",
        ),
        (lambda d: d.update(filenames=["\ud800.jpg"]), "row 0, file_name: .* not valid Unicode"),
        (
            lambda d: d["objects"].append("unicorn"),
            "row 80, objects: 'unicorn' is not in the vocabulary",
        ),
        (lambda d: d["correspondence"][3].reverse(), "row 3, correspondence"),
    ],
)
def test_malformed_instances_json(tmp_path, damage, message):
    document = instances_document({1: [(HUMAN, OBJECT, SIT_ON_BENCH)]})
    damage(document)
    path = tmp_path / "i.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=message) as caught:
        hico_instances.read(path)
    assert str(path) in str(caught.value)


def test_images_that_are_there_twice(tmp_path):
    document = instances_document({1: [], 2: []})
    document["filenames"][1] = document["filenames"][0]
    with pytest.raises(InputError, match=r"row 1, file_name: .* is also row 0"):
        hico_instances.read(write_json(tmp_path / "i.json", document))


@pytest.mark.skipif(not REAL.exists(), reason="needs ../shared")
def test_real_test_partition():
    tables, vocabulary, report = hico_instances.read(REAL)
    tables.check(REAL, vocabulary)
    assert (tables.images.num_rows, tables.interactions.num_rows) == (9658, 33405)
    assert report.counts() == {}
    document = json.loads(REAL.read_text())
    rows = [h for entry in document["annotation"] for h in entry["hoi"]]
    classes = classes_table(tables, vocabulary, np.zeros(600, bool))
    assert classes["train_instances"].to_pylist() == np.bincount(rows, minlength=600).tolist()
    assert (len(document["rare"]), len(document["non_rare"])) == (138, 462)
    pairs = pairs_of(tables)
    for name, entry in list(zip(document["filenames"], document["annotation"], strict=True))[:300]:
        listed = zip(entry["boxes_h"], entry["boxes_o"], entry["hoi"], strict=True)
        expected = [
            ((h[0] - 1, h[1] - 1, h[2], h[3]), (o[0] - 1, o[1] - 1, o[2], o[3]), hoi)
            for h, o, hoi in listed
        ]
        assert pairs[name] == sorted(expected)
    width = {r["file_name"]: (r["width"], r["height"]) for r in tables.images.to_pylist()}
    assert width["HICO_test2015_00000005.jpg"] == (480, 640)
