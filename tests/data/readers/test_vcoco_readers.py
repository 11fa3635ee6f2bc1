import json
from pathlib import Path

import pyarrow.compute as pc
import pytest
import vcoco_layouts
from layouts import size_of, write_json
from vcoco_layouts import CUP, PERSON, V_COCO, coco_document, hoi, vcoco_document

from hoiclip.data.readers import vcoco, vcoco_instances
from hoiclip.errors import InputError

REAL = Path(__file__).parents[4] / "shared/data/vcoco"
needs_shared = pytest.mark.skipif(not REAL.exists(), reason="needs ../shared")


@pytest.fixture
def coco_path(tmp_path):
    return write_json(tmp_path / "instances_train2014.json", coco_document())


def read(tmp_path, coco_path, document, **options):
    path = write_json(tmp_path / "vcoco_val.json", document)
    tables, vocabulary, report = vcoco.read(path, [coco_path], **options)
    tables.check("test", vocabulary)
    return tables, report


def described(tables):
    """{(image id, human box, object box or None, HOI class)}."""
    boxes = {
        (row["image_id"], row["instance"]): tuple(row["box_xyxy"])
        for row in tables.instances.to_pylist()
    }
    return {
        (
            row["image_id"],
            boxes[row["image_id"], row["human"]],
            boxes.get((row["image_id"], row["object_instance"])),
            row["hoi"],
        )
        for row in tables.interactions.to_pylist()
    }


FIRST, SECOND = (0.5, 1.25, 10.5, 21.25), (20.0, 1.0, 30.0, 21.0)
CUP_BOX, FORK_BOX = (5.0, 5.0, 7.5, 9.0), (6.0, 5.0, 7.0, 9.0)


def test_roles_people_and_boxes(tmp_path, coco_path):
    tables, report = read(tmp_path, coco_path, vcoco_document())
    assert report.counts() == {}
    assert tables.images["image_id"].to_pylist() == [10, 20]
    assert described(tables) == {
        (10, FIRST, CUP_BOX, hoi("hold_obj", "cup")),
        (10, SECOND, None, hoi("hold_obj")),
        (10, FIRST, None, hoi("eat_obj")),
        (10, FIRST, FORK_BOX, hoi("eat_instr", "fork")),
        (20, (0.0, 0.0, 30.0, 30.0), None, hoi("stand")),
    }


def test_people_without_an_action_are_instances(tmp_path, coco_path):
    document = vcoco_document()
    for action in document:
        action["label"] = [0, 0, 0]
    tables, _ = read(tmp_path, coco_path, document)
    assert tables.instances["image_id"].to_pylist() == [10, 10, 20]
    assert tables.interactions.num_rows == 0


def test_image_ids_choose_images(tmp_path, coco_path):
    ids = tmp_path / "vcoco_val.ids"
    ids.write_text("20\n")
    tables, _ = read(tmp_path, coco_path, vcoco_document(), image_ids=ids)
    assert tables.images["image_id"].to_pylist() == [20]
    assert tables.instances.num_rows == tables.interactions.num_rows == 1
    for text, message in (
        ("20\nten", "row 1, image_id: 'ten'"),
        ("30", "row 0, image_id: 30 is"),
        ("20 20", "row 1, file_name"),
    ):
        ids.write_text(text)
        with pytest.raises(InputError, match=message):
            read(tmp_path, coco_path, vcoco_document(), image_ids=ids)


def test_several_coco_files(tmp_path):
    document = coco_document()
    paths = []
    for image_id in (10, 20):
        part = {
            "images": [i for i in document["images"] if i["id"] == image_id],
            "annotations": [a for a in document["annotations"] if a["image_id"] == image_id],
        }
        paths.append(write_json(tmp_path / f"{image_id}.json", part))
    path = write_json(tmp_path / "vcoco_val.json", vcoco_document())
    whole = write_json(tmp_path / "whole.json", document)
    assert vcoco.read(path, paths)[0] == vcoco.read(path, [whole])[0]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: d[0].update(action_name="juggle"), "row 0, action_name: 'juggle_obj' is not"),
        (lambda d: d[0].update(role_name=["obj"]), "row 0, role_name: .* expected agent first"),
        (lambda d: d[2]["role_object_id"].pop(), "row 2, eat: .* differ in length: 3, 3, 3, 8"),
        (lambda d: d[0].update(label=[0, 2, 0]), r"row 0, hold\.label: a label other than 0 and 1"),
        (lambda d: d[0].update(ann_id=[1, 99, 5]), "row 1, annotation id: 99 is not in"),
        (
            lambda d: d[0].update(image_id=[10, 20, 20]),
            "row 1, image_id: annotation 2 is of image 10",
        ),
        (lambda d: d[0].update(image_id=[10, 30, 20]), "row 2, image_id: 30 is not in"),
        (lambda d: d[0].update(ann_id=5), "row 0, ann_id: 5, expected a list"),
    ],
)
def test_malformed_labels(tmp_path, coco_path, damage, message):
    document = vcoco_document()
    damage(document)
    with pytest.raises(InputError, match=message):
        read(tmp_path, coco_path, document)


def test_object_outside_the_vocabulary(tmp_path, coco_path):
    document = coco_document()
    document["annotations"][2]["category_id"] = PERSON + 12 - 1
    write_json(coco_path, document)
    with pytest.raises(InputError, match="1 boxes of object classes outside the vocabulary"):
        read(tmp_path, coco_path, vcoco_document())
    tables, report = read(tmp_path, coco_path, vcoco_document(), drop_unknown=True)
    assert report.counts() == {"interaction_of_bad_box": 1, "object_outside_vocabulary": 1}
    assert tables.interactions.num_rows == 4


def test_instances_layout_gives_the_pairs_with_an_object(tmp_path, coco_path):
    path = write_json(tmp_path / "instances.json", vcoco_layouts.instances_document())
    tables, vocabulary, report = vcoco_instances.read(path, size_of)
    tables.check(path, vocabulary)
    assert vocabulary == V_COCO
    assert report.counts() == {}
    assert tables.images.equals(read(tmp_path, coco_path, vcoco_document())[0].images)
    assert described(tables) == {(10, FIRST, CUP_BOX, hoi("hold_obj", "cup"))}


def test_instances_layout_malformed(tmp_path):
    document = vcoco_layouts.instances_document()
    document["annotations"][0]["objects"] = [0]
    path = write_json(tmp_path / "instances.json", document)
    with pytest.raises(InputError, match="row 0: 1 boxes of object classes outside"):
        vcoco_instances.read(path, size_of)
    document["objects"] = document["objects"][1:]
    write_json(path, document)
    with pytest.raises(InputError, match=r"objects: begins with .* expected background"):
        vcoco_instances.read(path, size_of)


@needs_shared
@pytest.mark.parametrize(
    ("name", "images", "pairs", "outside"),
    [("trainval", 5400, 13817, 0), ("test", 4946, 12402, 23)],
)
def test_real_instances(name, images, pairs, outside):
    path = REAL / f"instances_vcoco_{name}.json"
    tables, vocabulary, report = vcoco_instances.read(path, lambda _: (640, 640), drop_unknown=True)
    tables.check(path, vocabulary)
    assert (tables.images.num_rows, tables.interactions.num_rows) == (images, pairs - outside)
    assert report.counts() == ({"hoi_outside_vocabulary": outside} if outside else {})


@needs_shared
def test_real_labels_on_made_up_boxes(tmp_path):
    path = REAL / "vcoco_val.json"
    actions = json.loads(path.read_text())
    image_of, people = {}, set()
    for action in actions:
        people.update(action["ann_id"])
        repeated = action["image_id"] * len(action["role_name"])
        image_of |= dict(zip(action["role_object_id"], repeated, strict=True))
    image_of.pop(0)
    document = {
        "images": [
            {"id": i, "file_name": f"COCO_train2014_{i:012d}.jpg", "width": 640, "height": 640}
            for i in set(image_of.values())
        ],
        "annotations": [
            {"id": k, "image_id": i, "category_id": 1 if k in people else CUP, "bbox": [0, 0, n, 1]}
            for n, (k, i) in enumerate(image_of.items(), 1)
        ],
    }
    coco = write_json(tmp_path / "coco.json", document)
    tables, vocabulary, report = vcoco.read(
        path, [coco], image_ids=REAL / "vcoco_val.ids", drop_unknown=True
    )
    tables.check(path, vocabulary)
    rows = sum(sum(a["label"]) * max(1, len(a["role_name"]) - 1) for a in actions)
    assert tables.images.num_rows == 2867
    assert tables.instances.num_rows == len(image_of)
    left_out = report.table().filter(pc.invert(report.table()["kept"]))
    assert tables.interactions.num_rows + left_out.num_rows == rows
