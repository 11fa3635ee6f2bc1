"""Every source's rows stand in the tables as in its file, by plain loops over the file."""

import json
from pathlib import Path

import numpy as np
import own_layouts
import pytest
from layouts import expected_in_order, pairs_in_order, write_json
from vcoco_layouts import CUP, FORK, PERSON, hoi, vcoco_document

from hoiclip.data.annotations import Annotations
from hoiclip.formats.annotations import hico_instances, own, vcoco, vcoco_instances
from hoiclip.splits.splits import SplitsConfig, make_splits

SHARED = Path(__file__).parents[4] / "shared/data"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared")


def instances_in_order(tables):
    """[(image id, instance, class, box)] of the table."""
    return [tuple(row.values()) for row in tables.instances.to_pylist()]


def links(tables):
    """[(image id, human, object instance)] of the table."""
    keys = ("image_id", "human", "object_instance")
    return [tuple(map(row.get, keys)) for row in tables.interactions.to_pylist()]


def coco_in_any_order():
    """Image 10 with 2, the unlabelled 9, a cup 3, then 1 and a fork 4; 20 with 5 between others."""
    rows = [
        (8, 20, PERSON, [1, 1, 9, 9]), (2, 10, PERSON, [20, 1, 10, 20]),
        (9, 10, PERSON, [40, 1, 9, 9]), (5, 20, PERSON, [0, 0, 30, 30]),
        (3, 10, CUP, [5, 5, 2.5, 4]), (1, 10, PERSON, [0.5, 1.25, 10, 20]),
        (7, 20, PERSON, [30, 1, 9, 9]), (4, 10, FORK, [6, 5, 1, 4]),
    ]  # fmt: skip
    return {
        "images": [
            {"id": i, "file_name": f"COCO_train2014_{i:012d}.jpg", "width": 64, "height": 48}
            for i in (20, 10)
        ],
        "annotations": [
            {"id": key, "image_id": image, "category_id": category, "bbox": box}
            for key, image, category, box in rows
        ],
    }


def test_v_coco_has_its_people_as_in_cocos_file_and_its_labels_as_in_its_own(tmp_path):
    path = write_json(tmp_path / "vcoco_test.json", vcoco_document())
    coco = write_json(tmp_path / "coco.json", coco_in_any_order())
    tables, _, _ = vcoco.read(path, [coco])
    assert tables.images["image_id"].to_pylist() == [10, 20]
    cup, fork = 41, 42
    assert instances_in_order(tables) == [
        (10, 0, 0, [20.0, 1.0, 30.0, 21.0]),
        (10, 1, cup, [5.0, 5.0, 7.5, 9.0]),
        (10, 2, 0, [0.5, 1.25, 10.5, 21.25]),
        (10, 3, fork, [6.0, 5.0, 7.0, 9.0]),
        (20, 0, 0, [0.0, 0.0, 30.0, 30.0]),
    ]
    rows = [tuple(row.values()) for row in tables.interactions.to_pylist()]
    assert [(i, h, o, c) for i, h, o, _, c in rows] == [
        (10, 2, 1, hoi("hold_obj", "cup")),
        (10, 0, None, hoi("hold_obj")),
        (20, 0, None, hoi("stand")),
        (10, 2, None, hoi("eat_obj")),
        (10, 2, 3, hoi("eat_instr", "fork")),
    ]
    people = vcoco.unlabelled_people(path, [coco], tables.images, tables.instances)
    listed = [(r["image_id"], r["box_xyxy"][0], r["instances_ahead"]) for r in people.to_pylist()]
    assert listed == [(10, 40.0, 1), (20, 1.0, 0), (20, 30.0, 1)]
    unplaced = vcoco.unlabelled_people(path, [coco], tables.images)
    assert unplaced.equals(people.drop_columns(["instances_ahead"]))


def test_an_unlabelled_person_who_is_an_object_stands_ahead_of_that_instance(tmp_path):
    labels = json.loads(json.dumps(vcoco_document()))
    labels[0]["role_object_id"][3] = 9
    path = write_json(tmp_path / "vcoco_test.json", labels)
    coco = write_json(tmp_path / "coco.json", coco_in_any_order())
    tables, _, _ = vcoco.read(path, [coco], drop_unknown=True)
    assert [row[3][0] for row in instances_in_order(tables)[:3]] == [20.0, 40.0, 0.5]
    people = vcoco.unlabelled_people(path, [coco], tables.images, tables.instances)
    assert people["instances_ahead"].to_pylist() == [1, 0, 1]


def test_a_stranger_in_the_box_of_an_instance_is_not_taken_for_it(tmp_path):
    document = coco_in_any_order()
    stranger = {"image_id": 10, "category_id": PERSON}
    document["annotations"][:0] = [
        stranger | {"id": 11, "bbox": [0.5, 1.25, 10, 20]},
        stranger | {"id": 12, "bbox": [1, 1, 9, 9]},
    ]
    path = write_json(tmp_path / "vcoco_test.json", vcoco_document())
    coco = write_json(tmp_path / "coco.json", document)
    tables, _, _ = vcoco.read(path, [coco])
    people = vcoco.unlabelled_people(path, [coco], tables.images, tables.instances)
    assert people["instances_ahead"].to_pylist() == [0, 0, 1, 0, 1]


def test_people_of_several_coco_files_stand_as_the_files_do(tmp_path):
    document = coco_in_any_order()
    parts = [document | {"annotations": document["annotations"][i::2]} for i in (0, 1)]
    parts[1]["images"] = []
    paths = [write_json(tmp_path / f"{i}.json", part) for i, part in enumerate(parts)]
    path = write_json(tmp_path / "vcoco_test.json", vcoco_document())
    tables, _, _ = vcoco.read(path, paths)
    boxes = [box[0] for image_id, _, _, box in instances_in_order(tables) if image_id == 10]
    assert boxes == [5.0, 20.0, 0.5, 6.0]


def test_own_json(tmp_path):
    vocabulary = write_json(tmp_path / "vocabulary.json", own_layouts.VOCABULARY)
    document = own_layouts.json_document()
    person, ladder = document["annotations"]
    document["images"].reverse()
    document["annotations"] = [
        ladder | {"id": 9, "image_id": 6},
        ladder,
        person | {"id": 7, "image_id": 6},
        person | {"id": 8, "bbox": [0, 0, 9, 9]},
        person,
        ladder | {"id": 4},
    ]
    document["interactions"] = [
        {"human": 1, "object": None, "verb": "pull"},
        {"human": 7, "object": 9, "verb": "climb"},
        {"human": 8, "object": 4, "verb": "climb"},
        {"human": 1, "object": 2, "verb": "climb"},
        {"human": 8, "object": 2, "verb": "climb"},
    ]
    tables, _, report = own.read(write_json(tmp_path / "own.json", document), vocabulary)
    assert report.counts() == {"pair_repeated": 1}
    assert tables.images["image_id"].to_pylist() == [6, 5]
    described = [(i, n, c, box[0]) for i, n, c, box in instances_in_order(tables)]
    assert described == [
        (6, 0, 1, 3.0),
        (5, 0, 1, 3.0),
        (6, 1, 0, 1.0),
        (5, 1, 0, 0.0),
        (5, 2, 0, 1.0),
    ]
    assert links(tables) == [(5, 2, None), (6, 1, 0), (5, 1, 0), (5, 2, 0)]


def test_own_csv_whose_rows_of_an_image_do_not_stand_together(tmp_path):
    vocabulary = write_json(tmp_path / "vocabulary.json", own_layouts.VOCABULARY)
    header, *_ = own_layouts.csv_text().splitlines()
    lines = [
        "b.jpg,100,80,1,2,11,22,,,,,,pull",
        "a.jpg,100,80,5,2,11,22,ladder,3,2.5,13,22.5,climb",
        "b.jpg,100,80,0,2,11,22,ladder,9,2.5,13,22.5,climb",
        "a.jpg,100,80,1,2,11,22,ladder,3,2.5,13,22.5,climb",
        "b.jpg,100,80,1,2,11,22,ladder,9,2.5,13,22.5,climb",
        "b.jpg,100,80,1,2,11,22,,,,,,pull",
    ]
    path = tmp_path / "own.csv"
    path.write_text("\n".join([header, *lines]))
    tables, classes, report = own.read(path, vocabulary)
    assert report.counts() == {"pair_repeated": 1}
    assert tables.images["file_name"].to_pylist() == ["b.jpg", "a.jpg"]
    described = [(i, n, c, box[0]) for i, n, c, box in instances_in_order(tables)]
    assert described == [
        (0, 0, 0, 1.0), (1, 0, 0, 5.0), (1, 1, 1, 3.0), (0, 1, 0, 0.0), (0, 2, 1, 9.0),
        (1, 2, 0, 1.0),
    ]  # fmt: skip
    assert links(tables) == [(0, 0, None), (1, 0, 1), (0, 1, 2), (1, 2, 1), (0, 0, 2)]
    tables.check(path, classes)
    tables.write(tmp_path / "out", {})
    assert Annotations.read(tmp_path / "out") == tables


@pytest.fixture(scope="module")
def hico():
    """The real test partition, and its pairs by plain loops over the file."""
    path = SHARED / "hico_det/instances_test2015.json"
    document = json.loads(path.read_text())
    listed = {}
    for name, entry in zip(document["filenames"], document["annotation"], strict=True):
        rows = zip(entry["boxes_h"], entry["boxes_o"], entry["hoi"], strict=True)
        listed[int(name[-12:-4])] = [(tuple(h), tuple(o), c) for h, o, c in rows]
    tables, vocabulary, _ = hico_instances.read(path)
    return tables, vocabulary, expected_in_order(listed)


@needs_shared
def test_the_real_hico_det_through_import_files_and_splits(tmp_path, hico):
    tables, vocabulary, expected = hico
    assert pairs_in_order(tables) == expected
    assert list(pairs_in_order(tables)) == list(expected)
    tables.write(tmp_path / "test", {})
    back = Annotations.read(tmp_path / "test")
    assert pairs_in_order(back) == expected
    config = SplitsConfig(
        seed=0, validation_fraction=0.1, train_fraction=0.5, zero_shot=None,
        unseen_hois=[3, 57, 170], fraction_file=None, keep_empty_images=True,
    )  # fmt: skip
    splits = make_splits(back, vocabulary, config)
    for part in (splits.train, splits.validation):
        found = pairs_in_order(part)
        assert list(found) == [name for name in expected if name in found]
        for name, pairs in found.items():
            unseen = {pair[:2] for pair in expected[name] if pair[2] in config.unseen_hois}
            assert pairs == [pair for pair in expected[name] if pair[:2] not in unseen]
    assert sum(map(len, pairs_in_order(splits.train).values())) > 10000


@needs_shared
def test_instances_of_the_real_hico_det_are_numbered_as_they_appear(hico):
    tables, vocabulary, expected = hico
    numbers = {}
    for name, pairs in expected.items():
        image_id = int(name[-12:-4])
        for box in [h for h, _, _ in pairs]:
            numbers.setdefault((image_id, vocabulary.person, box), None)
        for _, box, class_ in pairs:
            numbers.setdefault((image_id, vocabulary.hois[class_].object, box), None)
    assert list(numbers) == [(i, c, tuple(box)) for i, _, c, box in instances_in_order(tables)]
    image_ids = tables.instances["image_id"].to_numpy()
    first = np.searchsorted(image_ids, image_ids)
    assert tables.instances["instance"].to_pylist() == (np.arange(len(first)) - first).tolist()


@needs_shared
@pytest.mark.parametrize("name", ["trainval", "test"])
def test_the_real_v_coco(name):
    path = SHARED / f"vcoco/instances_vcoco_{name}.json"
    document = json.loads(path.read_text())
    tables, vocabulary, report = vcoco_instances.read(path, lambda _: (640, 640), drop_unknown=True)
    roles = [role.replace(" ", "_") for role in document["classes"]]
    verbs = [verb.name for verb in vocabulary.verbs]
    classes = [name.replace(" ", "_") for name in document["objects"][1:]]
    objects = [None, *map(vocabulary.objects.index, classes)]
    expected, outside = {}, 0
    for entry in document["annotations"]:
        rows = expected.setdefault(entry["file_name"], [])
        for h, o, action, object_ in zip(
            entry["boxes_h"], entry["boxes_o"], entry["actions"], entry["objects"], strict=True
        ):
            class_ = vocabulary.hoi_ids.get((verbs.index(roles[action]), objects[object_]))
            outside += class_ is None
            rows += [] if class_ is None else [(tuple(map(float, h)), tuple(map(float, o)), class_)]
    found = pairs_in_order(tables)
    assert list(found) == list(expected)
    assert found == expected
    assert report.counts() == ({"hoi_outside_vocabulary": outside} if outside else {})
