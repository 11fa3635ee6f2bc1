import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from hoiclip.core import schema
from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.errors import InputError

VOCABULARY = Vocabulary(
    ("person", "cup", "dog"),
    (Verb("hold", "holding"), Verb("walk", "walking")),
    (Hoi(0, 1), Hoi(0, 2), Hoi(1, 2), Hoi(0, 0)),
)
WITH_MISSING = dataclasses.replace(VOCABULARY, hois=(*VOCABULARY.hois, Hoi(1, None)))
BOX = [0.0, 1.0, 2.0, 3.0]
TABLES = {
    "images": [
        {"image_id": 7, "file_name": "b.jpg", "width": 10, "height": 20},
        {"image_id": 3, "file_name": "a.jpg", "width": 10, "height": 20},
        {"image_id": 5, "file_name": "c.jpg", "width": 10, "height": 20},
    ],
    "instances": [
        {"image_id": 7, "instance": 0, "object": 0, "box_xyxy": BOX},
        {"image_id": 7, "instance": 1, "object": 2, "box_xyxy": [4.0, 1.0, 6.5, 3.0]},
        {"image_id": 3, "instance": 0, "object": 0, "box_xyxy": [5.0, 5.0, 6.0, 6.0]},
        {"image_id": 7, "instance": 2, "object": 0, "box_xyxy": [-3.0, 1.0, 99.0, 3.0]},
    ],
    "interactions": [
        {"image_id": 7, "human": 2, "object_instance": 1, "verb": 0, "hoi": 1},
        {"image_id": 7, "human": 0, "object_instance": 1, "verb": 0, "hoi": 1},
        {"image_id": 3, "human": 0, "object_instance": 0, "verb": 0, "hoi": 3},
        {"image_id": 7, "human": 0, "object_instance": 1, "verb": 1, "hoi": 2},
    ],
}
SCHEMAS = {
    "images": schema.IMAGES,
    "instances": schema.INSTANCES,
    "interactions": schema.INTERACTIONS,
}


def annotations(changes=(), **rows):
    """The tables above; `changes` are (table, row, columns), `rows` replace whole tables."""
    tables = {name: [dict(row) for row in table] for name, table in (TABLES | rows).items()}
    for name, row, columns in changes:
        tables[name][row] |= columns
    return Annotations(
        **{name: pa.Table.from_pylist(table, SCHEMAS[name]) for name, table in tables.items()}
    )


def test_good_tables_pass_and_return_from_disk(tmp_path):
    good = annotations()
    good.check("somewhere", VOCABULARY)
    good.write(tmp_path / "part", {"source": "test"})
    back = Annotations.read(tmp_path / "part")
    assert back.images.equals(good.images)
    assert back.instances.equals(good.instances)
    assert back.interactions.equals(good.interactions)


@pytest.mark.parametrize("kept", [0, 1, 2], ids=["nothing", "images", "instances"])
def test_empty_tables_pass(kept):
    names = list(TABLES)[kept:]
    empty = annotations(**{name: [] for name in names})
    empty.check("somewhere", VOCABULARY)
    assert len(empty.pairs().image_ids) == 0
    assert empty.pairs().hoi_labels(4).shape == (0, 4)


@pytest.mark.parametrize(
    ("table", "row", "columns", "key", "message"),
    [
        ("images", 1, {"image_id": 7}, "image_id", "7 appears twice"),
        ("images", 1, {"width": 0}, "width", "0 is not a size"),
        ("images", 2, {"height": -4}, "height", "-4 is not a size"),
        ("instances", 2, {"image_id": 4}, "image_id", "4 is not in images"),
        ("instances", 1, {"instance": 0}, "instance", "0 appears twice in its image"),
        ("instances", 1, {"object": 3}, "object", r"3 is out of range 0\.\.2"),
        ("instances", 1, {"object": -1}, "object", "-1 is out of range"),
        ("instances", 1, {"box_xyxy": [2.0, 1.0, 2.0, 3.0]}, "box_xyxy", "not x1 < x2"),
        ("instances", 1, {"box_xyxy": [2.0, 3.0, 4.0, 1.0]}, "box_xyxy", "not x1 < x2"),
        ("instances", 3, {"box_xyxy": [float("nan"), 1.0, 2.0, 3.0]}, "box_xyxy", "nan"),
        ("instances", 3, {"box_xyxy": [0.0, 1.0, float("inf"), 3.0]}, "box_xyxy", "inf"),
        ("interactions", 2, {"image_id": 4}, "human", "0 is not an instance of its image"),
        ("interactions", 2, {"image_id": 5}, "human", "0 is not an instance of its image"),
        ("interactions", 1, {"human": 9}, "human", "9 is not an instance"),
        ("interactions", 1, {"human": 1}, "human", "1 is an instance of another class"),
        ("interactions", 1, {"object_instance": 8}, "object_instance", "8 is not an instance"),
        ("interactions", 1, {"object_instance": -1}, "object_instance", "-1 is not an instance"),
        ("interactions", 1, {"object_instance": None}, "object_instance", "is null"),
        ("interactions", 1, {"hoi": 4}, "hoi", r"4 is out of range 0\.\.3"),
        ("interactions", 1, {"hoi": -1}, "hoi", "-1 is out of range"),
        ("interactions", 1, {"verb": 1}, "verb", "1 is not the verb of its hoi"),
        ("interactions", 1, {"verb": -1}, "verb", "-1 is not the verb of its hoi"),
        ("interactions", 1, {"hoi": 0}, "hoi", "0 has another object class"),
    ],
)
def test_a_bad_row_is_named_with_file_row_and_key(table, row, columns, key, message):
    bad = annotations([(table, row, columns)])
    with pytest.raises(InputError, match=message) as info:
        bad.check("some/part", VOCABULARY)
    # Of two rows that repeat one id, the later is the one to fix.
    assert str(info.value).startswith(f"some/part/{table}.parquet, row {row}, {key}: ")
    assert (info.value.row, info.value.key) == (row, key)
    assert "\n" not in str(info.value)


def test_a_missing_object_passes_where_the_class_has_none():
    row = ("interactions", 3, {"object_instance": None, "verb": 1, "hoi": 4})
    annotations([row]).check("part", WITH_MISSING)


def test_a_null_object_of_a_class_that_has_one_is_refused():
    bad = annotations([("interactions", 3, {"object_instance": None})])
    message = "row 3, object_instance: is null, but hoi 2 has an object class"
    with pytest.raises(InputError, match=message):
        bad.check("part", WITH_MISSING)


@pytest.mark.parametrize("hoi", [1, 4], ids=["with object", "without"])
def test_an_interaction_that_is_there_twice_is_refused(hoi):
    row = TABLES["interactions"][1]
    if hoi == 4:
        row = row | {"object_instance": None, "verb": 1, "hoi": 4}
    rows = [row, *TABLES["interactions"][2:], row]
    with pytest.raises(InputError, match=f"row 3, hoi: {hoi} appears twice for its pair"):
        annotations(interactions=rows).check("part", WITH_MISSING)


def test_unlabelled_people_are_beside_the_tables(tmp_path):
    people = pa.Table.from_pylist([{"image_id": 7, "box_xyxy": BOX}], schema.UNLABELLED)
    with_people = dataclasses.replace(annotations(), unlabelled_people=people)
    with_people.write(tmp_path / "part", {"a": 1})
    path = tmp_path / "part/unlabelled_people.parquet"
    assert schema.read_table(path, schema.UNLABELLED).equals(people)
    back = Annotations.read(tmp_path / "part")
    assert back.unlabelled_people.equals(people)
    assert back.outside_vocabulary is None
    assert back.select(np.array([7])).unlabelled_people.equals(people)
    assert len(back.select(np.array([3])).unlabelled_people) == 0
    annotations().write(tmp_path / "part", {"a": 1})
    assert not path.exists()


def test_an_object_of_a_class_without_object_is_refused():
    with pytest.raises(InputError, match="row 3, hoi: 4 has another object class"):
        annotations([("interactions", 3, {"verb": 1, "hoi": 4})]).check("part", WITH_MISSING)


def test_select_keeps_whole_images_in_their_order():
    part = annotations().select(np.array([3, 7]))
    assert part.images["image_id"].to_pylist() == [7, 3]
    assert part.interactions["hoi"].to_pylist() == [1, 1, 3, 2]
    assert annotations().select(np.array([5])).interactions.num_rows == 0


def test_pairs_gather_the_classes_of_equal_human_and_object():
    pairs = annotations().pairs()
    assert pairs.image_ids.tolist() == [3, 7, 7]
    assert pairs.objects.tolist() == [0, 2, 2]
    assert pairs.human_boxes_xyxy.tolist() == [[5, 5, 6, 6], BOX, [-3, 1, 99, 3]]
    assert pairs.object_boxes_xyxy.tolist() == [[5, 5, 6, 6], *[[4, 1, 6.5, 3]] * 2]
    assert pairs.hoi_labels(4).tolist() == [[0, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 0]]
    assert pairs.image_slices([7, 3, 5]) == [slice(1, 3), slice(0, 1), slice(1, 1)]


def test_pairs_without_object_are_nan_and_minus_one():
    changed = [("interactions", 3, {"object_instance": None, "verb": 1, "hoi": 4})]
    pairs = annotations(changed).pairs()
    assert pairs.objects.tolist() == [0, -1, 2, 2]
    assert np.isnan(pairs.object_boxes_xyxy).all(1).tolist() == [False, True, False, False]
    assert pairs.hoi_labels(5)[1].tolist() == [0, 0, 0, 0, 1]
