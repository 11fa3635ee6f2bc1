import json

import pytest
from layouts import write_json
from vcoco_layouts import CUP, PERSON, coco_document, vcoco_document

from hoiclip.core import schema
from hoiclip.errors import InputError
from hoiclip.formats.annotations import vcoco
from hoiclip.formats.annotations.coco import CocoInstances


def person(id_, image_id, bbox, **more):
    return {"id": id_, "image_id": image_id, "category_id": PERSON, "bbox": bbox, "area": 5} | more


def documents(people=(), labels=None):
    """COCO's and V-COCO's documents; persons 1 and 2 of image 10 and 5 of image 20 are labelled."""
    coco = coco_document()
    coco["annotations"] += people
    return coco, json.loads(json.dumps(labels or vcoco_document()))


def unlabelled(folder, coco, labels, **options):
    """(image id, box) of each unlabelled person of the partition."""
    coco_path = write_json(folder / "coco.json", coco)
    path = write_json(folder / "vcoco_test.json", labels)
    images = vcoco.read(path, [coco_path], **options)[0].images
    table = vcoco.unlabelled_people(path, [coco_path], images)
    assert table.schema.equals(schema.UNLABELLED)
    schema.write_table(folder / "unlabelled_people.parquet", table, schema.UNLABELLED, {})
    return [(row["image_id"], row["box_xyxy"]) for row in table.to_pylist()]


def test_everybody_is_labelled(tmp_path):
    assert unlabelled(tmp_path, *documents()) == []


def test_people_whom_no_label_names_crowds_included(tmp_path):
    people = [
        person(9, 20, [1, 2, 3, 4]),
        person(7, 20, [5, 5, 10, 20], iscrowd=1),
        person(6, 10, [0, 0, 8, 8]),
        {"id": 8, "image_id": 10, "category_id": CUP, "bbox": [0, 0, 8, 8]},
    ]
    assert unlabelled(tmp_path, *documents(people)) == [
        (10, [0.0, 0.0, 8.0, 8.0]),
        (20, [1.0, 2.0, 4.0, 6.0]),
        (20, [5.0, 5.0, 15.0, 25.0]),
    ]


def test_people_of_other_images_are_left_out(tmp_path):
    coco, labels = documents([person(6, 10, [0, 0, 8, 8]), person(7, 30, [0, 0, 8, 8])])
    coco["images"].append({"id": 30, "file_name": "c.jpg", "width": 9, "height": 9})
    ids = tmp_path / "vcoco_test.ids"
    ids.write_text("20")
    assert unlabelled(tmp_path, coco, labels, image_ids=ids) == []
    ids.write_text("20\n30\n10")
    assert unlabelled(tmp_path, coco, labels, image_ids=ids) == [
        (30, [0.0, 0.0, 8.0, 8.0]),
        (10, [0.0, 0.0, 8.0, 8.0]),
    ]


def test_whoever_any_action_names_is_labelled_and_an_object_alone_is_not(tmp_path):
    coco, labels = documents([person(6, 10, [0, 0, 8, 8])])
    # Person 2 loses its label in all actions but one; person 6 is what person 1 holds.
    for action in labels[1:]:
        roles = len(action["role_name"])
        for position in reversed(range(roles)):
            del action["role_object_id"][position * 3 + 1]
        for key in ("ann_id", "image_id", "label"):
            del action[key][1]
    labels[0]["role_object_id"][3] = 6
    assert unlabelled(tmp_path, coco, labels, drop_unknown=True) == [(10, [0.0, 0.0, 8.0, 8.0])]


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, [5.0, 5.0, 15.0, 25.0]),
        ({"bbox": [-5, 40, 10, 20]}, [0.0, 40.0, 5.0, 48.0]),
        ({"bbox": [5, 5, 1.5, 1.25]}, [5.0, 5.0, 6.5, 6.25]),
        ({"bbox": [5, 5, 1, 20]}, None),
        ({"bbox": [63.5, 5, 20, 20]}, None),
        ({"bbox": [70, 5, 20, 20]}, None),
        ({"bbox": [5, 5, float("nan"), 20]}, None),
        ({"bbox": [5, 5, 0, 20]}, None),
        ({"area": 0}, None),
        ({"ignore": 1}, None),
        ({"ignore": 0}, [5.0, 5.0, 15.0, 25.0]),
    ],
)
def test_which_boxes_count(tmp_path, changes, kept):
    people = [person(6, 10, [5, 5, 10, 20]) | changes]
    assert unlabelled(tmp_path, *documents(people)) == ([(10, kept)] if kept else [])


def test_without_images_and_without_people(tmp_path):
    coco, labels = documents()
    for action in labels:
        for key in ("ann_id", "image_id", "label", "role_object_id"):
            action[key] = []
    assert unlabelled(tmp_path, coco, labels) == []
    assert unlabelled(tmp_path, *documents([]), image_ids=None) == []


def test_what_was_read_from_coco_serves_several_times(tmp_path):
    coco_path = write_json(tmp_path / "coco.json", documents([person(6, 10, [0, 0, 8, 8])])[0])
    path = write_json(tmp_path / "v.json", vcoco_document())
    coco = CocoInstances([coco_path])
    tables = vcoco.read(path, coco)[0]
    assert tables == vcoco.read(path, [coco_path])[0]
    table = vcoco.unlabelled_people(path, coco, tables.images)
    assert table.equals(vcoco.unlabelled_people(path, [coco_path], tables.images))
    assert table.num_rows == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bbox": [1, 2, 3]}, r"coco\.json, row 5, bbox: \[1, 2, 3\], expected a list of 4"),
        ({"area": None}, r"coco\.json, row 5, area: None, expected a number"),
        ({"area": True}, r"coco\.json, row 5, area: True, expected a number"),
        ({"id": 5}, r"coco\.json, row 5, annotations\.id: 5 is also row 4"),
        ({"category_id": "x"}, r"coco\.json, row 5, annotations\.category_id: 'x', expected"),
    ],
)
def test_malformed_coco(tmp_path, changes, message):
    coco, labels = documents([person(6, 10, [5, 5, 10, 20]) | changes])
    with pytest.raises(InputError, match=message):
        unlabelled(tmp_path, coco, labels)


def test_an_image_twice_in_coco(tmp_path):
    coco, labels = documents()
    coco["images"].append(coco["images"][0])
    with pytest.raises(InputError, match=r"coco\.json, row 2, images\.id: 20 is also row 0"):
        unlabelled(tmp_path, coco, labels)
