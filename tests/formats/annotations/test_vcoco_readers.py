import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import vcoco_layouts
from layouts import size_of, write_json
from vcoco_layouts import PERSON, V_COCO, coco_document, hoi, vcoco_document, verb

from hoiclip.catalog.vocabularies import COCO_IDS
from hoiclip.core import schema
from hoiclip.errors import InputError
from hoiclip.formats.annotations import vcoco, vcoco_instances

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
    assert (tables.outside_vocabulary is None) == (outside == 0)
    left_out = tables.outside_vocabulary or schema.OUTSIDE_VOCABULARY.empty_table()
    assert left_out.schema.equals(schema.OUTSIDE_VOCABULARY)
    assert left_out.num_rows == outside
    known = set(vocabulary.hoi_ids)
    objects = {
        (row["image_id"], row["instance"]): row["object"] for row in tables.instances.to_pylist()
    }
    for row in left_out.to_pylist():
        assert objects[row["image_id"], row["human"]] == vocabulary.person
        object_ = objects[row["image_id"], row["object_instance"]]
        assert (row["verb"], object_) not in known


def made_up_coco(actions):
    """A COCO file for V-COCO's labels: annotation k has the box 0, 0, k-th width, 1.

    An object is of a class that as many as possible of its roles know. Each image has one person
    more, whom V-COCO does not label.
    """
    roles_of, image_of, people = {}, {}, set()
    for action in actions:
        count = len(action["ann_id"])
        people.update(action["ann_id"])
        for index, id_ in enumerate(action["role_object_id"]):
            if id_:
                image_of[id_] = action["image_id"][index % count]
                role = action["role_name"][index // count]
                roles_of.setdefault(id_, set()).add(f"{action['action_name']}_{role}")
    category_of = {}
    for id_ in image_of:
        known = Counter(
            hoi.object
            for hoi in V_COCO.hois
            if hoi.object is not None and V_COCO.verbs[hoi.verb].name in roles_of[id_]
        )
        category_of[id_] = PERSON if id_ in people else COCO_IDS[known.most_common(1)[0][0]]
    strangers = {-i: i for i in set(image_of.values())}
    return {
        "images": [
            {"id": i, "file_name": f"COCO_train2014_{i:012d}.jpg", "width": 10**5, "height": 9}
            for i in strangers.values()
        ],
        "annotations": [
            {"id": id_, "image_id": i, "category_id": category_of.get(id_, PERSON),
             "bbox": [0, 0, width, 9]}
            for width, (id_, i) in enumerate((image_of | strangers).items(), 2)
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The actions of V-COCO's val file, a COCO file made up for it, and its path."""
    actions = json.loads((REAL / "vcoco_val.json").read_text())
    coco = made_up_coco(actions)
    path = write_json(tmp_path_factory.mktemp("vcoco") / "coco.json", coco)
    return actions, coco, path


@needs_shared
def test_real_labels_on_made_up_boxes(real):
    actions, coco, coco_path = real
    path = REAL / "vcoco_val.json"
    tables, vocabulary, report = vcoco.read(path, [coco_path], image_ids=REAL / "vcoco_val.ids")
    tables.check(path, vocabulary)
    assert tables.images.num_rows == 2867
    annotation_of = {a["bbox"][2]: a["id"] for a in coco["annotations"]}
    category_of = {a["id"]: a["category_id"] for a in coco["annotations"]}
    listed = {i for action in actions for i in action["role_object_id"]} - {0}
    assert tables.instances.num_rows == len(listed)
    ids = {
        (row["image_id"], row["instance"]): annotation_of[row["box_xyxy"][2]]
        for row in tables.instances.to_pylist()
    }
    made = Counter(
        (row["image_id"], ids[row["image_id"], row["human"]],
         ids.get((row["image_id"], row["object_instance"]), 0), row["verb"])
        for row in tables.interactions.to_pylist()
    )  # fmt: skip
    expected = Counter()
    for action in actions:
        count = len(action["ann_id"])
        for person in range(count):
            if not action["label"][person]:
                continue
            roles = action["role_name"][1:]
            for position, role in enumerate(roles, 1):
                object_ = action["role_object_id"][position * count + person]
                number = verb(f"{action['action_name']}_{role}")
                class_ = COCO_IDS.index(category_of[object_]) if object_ else None
                assert (number, class_) in V_COCO.hoi_ids
                key = (action["image_id"][person], action["ann_id"][person], object_, number)
                expected[key] += 1
            if not roles:
                number = verb(action["action_name"])
                expected[action["image_id"][person], action["ann_id"][person], 0, number] += 1
    assert made == expected
    assert report.counts() == {}


@needs_shared
def test_real_labels_agree_with_the_instances_file(real):
    """Both files hold the val images: equal numbers of pairs by image and role."""
    actions, _, _ = real
    document = json.loads((REAL / "instances_vcoco_trainval.json").read_text())
    names = [name.replace(" ", "_") for name in document["classes"]]
    images = set(map(int, (REAL / "vcoco_val.ids").read_text().split()))
    listed = Counter(
        (image, names[action])
        for image, entry in zip(document["images"], document["annotations"], strict=True)
        if image in images
        for action in entry["actions"]
    )
    original = Counter()
    for row, action in enumerate(actions):
        read_action = vcoco._action(REAL / "vcoco_val.json", row, action, V_COCO)
        for role_verb, objects in read_action.roles:
            for person in np.flatnonzero((read_action.label == 1) & (objects != 0)).tolist():
                image = int(read_action.image_ids[person])
                original[image, V_COCO.verbs[role_verb].name] += 1
    assert {name for _, name in original} - {name for _, name in listed} == {"point_instr"}
    assert sum(listed.values()) == 7417
    assert {key: n for key, n in original.items() if key[1] != "point_instr"} == listed


@needs_shared
def test_unlabelled_people_of_the_real_file(real):
    _, coco, coco_path = real
    path = REAL / "vcoco_val.json"
    images = vcoco.read(path, [coco_path], drop_unknown=True)[0].images
    table = vcoco.unlabelled_people(path, [coco_path], images)
    labelled = set(json.loads(path.read_text())[0]["ann_id"])
    people = [a for a in coco["annotations"] if a["category_id"] == PERSON]
    expected = {(a["image_id"], a["bbox"][2]) for a in people if a["id"] not in labelled}
    made = [(row["image_id"], row["box_xyxy"][2]) for row in table.to_pylist()]
    assert sorted(made) == sorted(expected)
    assert len(made) >= 2867
