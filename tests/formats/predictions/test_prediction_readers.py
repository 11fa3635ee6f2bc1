"""What the readers of predictions refuse, and what they say about it."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hico_worlds import World, classes_table, partition, predictions_table, small_vocabulary
from prediction_files import score_files, write_json, write_parquet, write_world

from hoiclip.catalog.vocabularies import hico_det, published_rare, vcoco
from hoiclip.core.vocabulary import Hoi
from hoiclip.errors import InputError
from hoiclip.formats import json_stream
from hoiclip.formats.json_stream import list_entries
from hoiclip.formats.predictions import hoia, hoia_numbering
from hoiclip.formats.predictions.image_names import ImageNames
from hoiclip.formats.predictions.rows import Places, Rows, number_boxes, number_by_first
from hoiclip.scoring.classes import UNKNOWN_COUNT, classes_of

VOCABULARY = small_vocabulary()
HOLD_CUP = VOCABULARY.hoi_ids[0, 1]
PERSON, CUP = (1.0, 2.0, 11.0, 22.0), (5.0, 5.0, 9.0, 9.0)


def hand_world():
    """Two images; in the first, somebody holds a cup."""
    truths = [{"image": 0, "hoi": HOLD_CUP, "human": PERSON, "object": CUP}]
    count = VOCABULARY.num_hois
    return World(
        [],
        truths,
        VOCABULARY,
        **partition(truths, [7, 9], VOCABULARY),
        classes=classes_table([False] * count, [True] * count),
    )


def hand_document():
    """That pair, and a false alarm in the other image."""
    boxes = [
        {"bbox": [1, 2, 10, 21], "category_id": 1},
        {"bbox": [5.0, 5.0, 8.0, 8.0], "category_id": 2},
    ]
    pair = {"subject_id": 0, "object_id": 1, "category_id": 1, "score": 0.5}
    return [
        {"file_name": "7.png", "predictions": boxes, "hoi_prediction": [pair]},
        {
            "file_name": "9.png",
            "predictions": json.loads(json.dumps(boxes)),
            "hoi_prediction": [pair | {"score": 1}],
        },
    ]


@pytest.fixture
def folder(tmp_path):
    return write_world(tmp_path, hand_world())


def score(tmp_path, folder, document, **options):
    return score_files(write_json(tmp_path / "p.json", document), folder, **options)


def error_of(tmp_path, folder, document, **options):
    with pytest.raises(InputError) as caught:
        score(tmp_path, folder, document, **options)
    text = str(caught.value)
    assert text.startswith(str(tmp_path / "p.json"))
    assert "\n" not in text
    return text


def test_a_file_by_hand(tmp_path, folder):
    found = score(tmp_path, folder, hand_document(), protocol="hico").metrics()
    # The false alarm comes first: precision 1/2 at every recall.
    assert found["default"]["full"] == pytest.approx(50.0)
    assert found["known_object"]["full"] == pytest.approx(100.0)
    assert found["recall"] == 100.0
    assert found["input"] == {
        "format": "hoia", "boxes": "inclusive", "numbering": "hoia", "rows": 2, "images": 2,
        "images_without_predictions": 0,
    }  # fmt: skip


def test_images_without_predictions_count(tmp_path, folder):
    found = score(tmp_path, folder, hand_document()[:1]).metrics()
    assert found["default"]["full"] == pytest.approx(100.0)
    assert found["input"]["images_without_predictions"] == 1
    found = score(tmp_path, folder, []).metrics()
    assert found["default"]["full"] == 0.0
    assert found["input"]["rows"] == 0


def test_images_by_id(tmp_path, folder):
    document = hand_document()
    for entry, image_id in zip(document, (7, 9), strict=True):
        del entry["file_name"]
        entry["image_id"] = image_id
    assert score(tmp_path, folder, document).metrics()["default"]["full"] == pytest.approx(50.0)


def changed(path, value):
    document = hand_document()
    place = document
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ((1,), 5, ["row 1, entry: 5, expected an object"]),
        ((1, "file_name"), "8.png", ["row 1, file_name: '8.png' is none of the 2 annotated images",
                                     "'7.png', 7"]),
        ((1, "file_name"), 9, ["row 1, file_name: 9 is none of"]),
        ((1, "file_name"), ..., ["row 1: neither file_name nor image_id"]),
        ((1, "file_name"), "7.png", ["row 1: the image is also row 0", "Join"]),
        ((1, "predictions"), ..., ["row 1, predictions: missing"]),
        ((1, "hoi_prediction"), {}, ["row 1, hoi_prediction: {}, expected a list"]),
        ((1, "hoi_prediction", 0), 3, ["row 1, hoi_prediction[0]: 3, expected an object"]),
        ((1, "predictions", 1, "bbox"), ..., ["row 1, predictions[1].bbox: missing"]),
        ((1, "predictions", 1, "bbox"), [1, 2, 3], ["row 1, predictions[1].bbox: [1, 2, 3]"]),
        ((1, "predictions", 1, "bbox"), [1, 2, 3, "4x"], ["predictions[1].bbox: '4x'",
                                                             "text, not a number"]),
        ((1, "predictions", 1, "bbox"), [1, 2, 3, 10**400], ["predictions[1].bbox: 1000"]),
        ((1, "predictions", 1, "bbox"), [1, 2, 3, math.nan], ["predictions[1].bbox", "finite"]),
        ((1, "predictions", 1, "bbox"), [5, 5, 4, 9], ["predictions[1].bbox", "x1 <= x2"]),
        ((1, "hoi_prediction", 0, "score"), ..., ["row 1, hoi_prediction[0].score: missing"]),
        ((1, "hoi_prediction", 0, "score"), math.nan, ["hoi_prediction[0].score: nan"]),
        ((1, "hoi_prediction", 0, "score"), math.inf, ["hoi_prediction[0].score: inf"]),
        ((1, "hoi_prediction", 0, "score"), True, ["hoi_prediction[0].score: True, expected a"]),
        ((1, "hoi_prediction", 0, "subject_id"), 2, ["subject_id: 2 is not one of the 2 boxes"]),
        ((1, "hoi_prediction", 0, "subject_id"), -1, ["subject_id: -1 is not one of"]),
        ((1, "hoi_prediction", 0, "object_id"), -1, ["object_id: -1 is not one of"]),
        ((1, "hoi_prediction", 0, "object_id"), 0.5, ["object_id: 0.5, expected a whole number"]),
        ((1, "hoi_prediction", 0, "category_id"), 5, ["category_id: 5 is out of range 1..4"]),
        ((1, "hoi_prediction", 0, "category_id"), ..., ["row 1, hoi_prediction[0].category_id"]),
        ((1, "hoi_prediction", 0, "hoi_category_id"), 8, ["hoi_category_id", "has none"]),
        ((1, "predictions", 0, "category_id"), 2, ["category_id of the subject: 2 is not a pers"]),
        ((1, "predictions", 1, "category_id"), 4, ["category_id of the object: 4 is no object"]),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told(tmp_path, folder, path, value, told):
    text = error_of(tmp_path, folder, changed(path, value))
    assert all(part in text for part in told), text


def test_numberings_are_found_out_where_one_fits(tmp_path, folder):
    def document(human, cup, category, **extra):
        made = hand_document()
        for entry in made:
            for box, category_id in zip(entry["predictions"], (human, cup), strict=True):
                box["category_id"] = category_id
                if category_id is None:
                    del box["category_id"]
            entry["hoi_prediction"][0] |= {"category_id": category} | extra
        return made

    cases = {
        "hoia": document(1, 2, 1),
        "hoi": document(None, None, HOLD_CUP),
        "hoi-category": document(0, 0, 99, hoi_category_id=HOLD_CUP + 1),
    }
    for name, made in cases.items():
        found = score(tmp_path, folder, made).metrics()
        assert found["input"]["numbering"] == name
        assert found["default"]["full"] == pytest.approx(50.0)
    # Verb 0 or HOI class 0?
    text = error_of(tmp_path, folder, document(0, 1, 0))
    assert "zero-based or hoi" in text
    assert "--numbering" in text
    found = score(tmp_path, folder, document(0, 1, 0), numbering="zero-based")
    assert found.metrics()["default"]["full"] == pytest.approx(50.0)
    assert "5 is out of range" in error_of(
        tmp_path, folder, document(0, 1, 5), numbering="zero-based"
    )


def test_pairs_that_are_no_class_and_repetitions_are_noted(tmp_path, folder):
    document = hand_document()
    pair = document[0]["hoi_prediction"][0]
    # Eating a cup is none of the classes.
    document[0]["hoi_prediction"] += [pair | {"category_id": 4, "score": 0.9}, dict(pair)]
    scored = score(tmp_path, folder, document)
    assert any("1 rows name a verb and object that are no HOI class" in n for n in scored.notes)
    assert any("1 rows repeat" in note for note in scored.notes)
    assert scored.metrics()["default"]["full"] == pytest.approx(50.0)
    assert scored.metrics()["input"]["rows"] == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the file is empty, expected a JSON list, which begins with ["),
        ("{}", "begins with ["),
        ('"a"', "begins with ["),
        ("[", "row 0: the file is cut short"),
        ('[{"file_name": "7.p', "row 0: the file is cut short"),
        ('[{"file_name": "7.png"', "row 0: the file is cut short"),
        ("[1", "row 1: the file is cut short"),
        ("[1,", "row 1: the file is cut short"),
        ('[{"a": 1},,]', "row 1: not valid JSON"),
        ('[{"a": 1} {"b": 2}]', "row 1: not valid JSON (expected , or ]"),
        ("[1] 2", "something follows the list"),
        ("[" * 100_000, "not valid JSON"),
        ("[" + "9" * 5000 + "]", "not valid JSON"),
        ("[NULL]", "row 0: not valid JSON"),
    ],
)
def test_broken_json_is_told(tmp_path, text, told):
    path = tmp_path / "p.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        list(list_entries(path))
    assert told in str(caught.value)


@pytest.mark.parametrize("chunk", [1, 2, 7, 1000])
def test_json_is_read_in_pieces(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    values = [{"a": [1.5, -2e-7, 'é]\\"[,']}, [], 12345, -2.5, 1e-7, None, "x" * 50, {"b": {}}]
    for text in (json.dumps(values), json.dumps(values, indent=3), " \n[ ] \n"):
        path = tmp_path / "p.json"
        path.write_text(text, encoding="utf-8")
        assert list(list_entries(path)) == list(enumerate(json.loads(text)))
    path.write_text(json.dumps(values)[:-5], encoding="utf-8")
    with pytest.raises(InputError, match="cut short"):
        list(list_entries(path))


def test_a_pickle_is_refused_with_the_way_to_convert_it(tmp_path, folder):
    document = [entry | {"extra": np.arange(3)} for entry in hand_document()]
    document[0]["hoi_prediction"][0]["score"] = np.float32(0.5)
    path = tmp_path / "p.pickle"
    path.write_bytes(pickle.dumps(document))
    with pytest.raises(InputError) as caught:
        score_files(path, folder)
    text = str(caught.value)
    assert "a pickle" in text
    lines = text.split("make it JSON in Python: ")[1]
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(tmp_path)
        exec(lines, {})
    found = score_files(tmp_path / "p.json", folder).metrics()
    assert found["default"]["full"] == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([{"annotations": [], "hoi_annotation": []}], "holds annotations"),
        ([{"a": 1}], "neither hoi_prediction nor person_box"),
        ([5], "neither hoi_prediction nor person_box"),
    ],
)
def test_other_files_are_told(tmp_path, folder, document, told):
    assert told in error_of(tmp_path, folder, document)


@pytest.mark.parametrize(
    ("name", "start", "told"),
    [
        ("p.pkl", b"", "a pickle"),
        ("p.p", b"x", "a pickle"),
        ("p.json", b"(lp0\n.", "a pickle"),
        ("p.json", b"]q\x00.", "a pickle"),
        ("p.pth", b"PK\x03\x04", "an archive"),
        ("p.npy", b"\x93NUMPY", "an array"),
        ("p.h5", b"\x89HDF\r\n", "an HDF5 file"),
        ("p.json.gz", b"\x1f\x8b\x08", "compressed by gzip"),
    ],
)
def test_other_binary_files_are_told(tmp_path, folder, name, start, told):
    (tmp_path / name).write_bytes(start)
    with pytest.raises(InputError, match=told) as caught:
        score_files(tmp_path / name, folder)
    assert name in str(caught.value)


def parquet_with(world, **columns):
    table = predictions_table(
        [
            {"image": 0, "query": q, "hoi": HOLD_CUP, "human": PERSON, "object": CUP, "score": 0.5}
            for q in range(2)
        ],
        world.images,
    )
    for key, values in columns.items():
        place = table.column_names.index(key)
        if values is ...:
            table = table.remove_column(place)
        else:
            table = table.set_column(place, key, pa.array(values))
    return table


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"image_id": [7, 8]}, "row 1, image_id: 8 is none of the 2 annotated images"),
        ({"image_id": ["7", "8.png"]}, "row 1, image_id: '8.png', expected a whole number"),
        ({"image_id": ...}, "image_id: column is missing"),
        ({"hoi": [0, 7]}, "row 1, hoi: 7 is out of range 0..6"),
        ({"hoi": [0, -1]}, "row 1, hoi: -1 is out of range 0..6"),
        ({"hoi": ["a", "b"]}, "hoi: type string"),
        ({"score": [0.5, math.nan]}, "row 1, score: nan is not finite"),
        ({"score": [0.5, None]}, "row 1, score: null"),
        ({"query": [0, -1]}, "row 1, query: -1 is out of range"),
        ({"human_box_xyxy": [list(PERSON), [5.0, 0.0, 4.0, 9.0]]}, "row 1, human_box_xyxy"),
        ({"human_box_xyxy": [list(PERSON), [5.0, 0.0, math.inf, 9.0]]}, "row 1, human_box_xyxy"),
        ({"human_box_xyxy": [list(PERSON), [5.0, 0.0]]}, "human_box_xyxy: type list"),
        ({"object_box_xyxy": [list(CUP), None]}, "row 1, object_box_xyxy: 3 is a class with an ob"),
        ({"object_box_xyxy": [None, [5.0, 0.0, 4.0, 9.0]]}, "row 0, object_box_xyxy"),
    ],
)
def test_a_wrong_column_is_told(tmp_path, folder, columns, told):
    path = write_parquet(tmp_path / "p.parquet", parquet_with(hand_world(), **columns))
    with pytest.raises(InputError) as caught:
        score_files(path, folder)
    assert str(caught.value).startswith(str(path))
    assert told in str(caught.value)


@pytest.mark.parametrize("image_ids", [["7", "7"], ["7.png", "7.png"]])
def test_image_ids_as_text_in_parquet(tmp_path, folder, image_ids):
    plain = write_parquet(tmp_path / "p.parquet", parquet_with(hand_world()))
    text = write_parquet(tmp_path / "q.parquet", parquet_with(hand_world(), image_id=image_ids))
    expected = score_files(plain, folder).metrics()
    assert expected["default"]["full"] == 100.0
    assert score_files(text, folder).metrics() == expected


def test_a_damaged_parquet_file_is_told(tmp_path, folder):
    path = tmp_path / "p.parquet"
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        score_files(path, folder)


def test_numbering_is_of_hoia_alone(tmp_path, folder):
    path = write_parquet(tmp_path / "p.parquet", parquet_with(hand_world()))
    with pytest.raises(InputError, match="--numbering is of HOIA predictions"):
        score_files(path, folder, numbering="hoi")


def test_the_protocol_of_v_coco_needs_its_vocabulary(tmp_path, folder):
    path = write_json(tmp_path / "p.json", hand_document())
    with pytest.raises(InputError, match="no verb named"):
        score_files(path, folder, protocol="vcoco")


def test_rare_classes_come_from_a_table_beside_or_as_published(tmp_path):
    rare = np.flatnonzero(published_rare(hico_det())).tolist()
    assert len(rare) == 138
    assert all(0 <= hoi < hico_det().num_hois for hoi in rare)
    table, note = classes_of(hico_det(), None, None)
    assert "publishes" in note
    assert np.flatnonzero(table["rare"].to_numpy()).tolist() == rare
    assert set(table["train_instances"].to_pylist()) == {UNKNOWN_COUNT}
    table, note = classes_of(vcoco(), None, tmp_path)
    assert "unknown" in note
    assert not any(table["rare"].to_pylist())
    write_world(tmp_path, hand_world())
    table, note = classes_of(VOCABULARY, None, tmp_path)
    assert note is None
    assert table.equals(hand_world().classes)
    with pytest.raises(InputError, match="7 rows are not the 600 HOI classes"):
        classes_of(hico_det(), tmp_path / "splits/classes.parquet", None)


def test_the_published_rare_classes_are_those_of_the_test_file():
    path = pytest.importorskip("hico_worlds").HICO_TEST
    if not path.exists():
        pytest.skip("needs HICO-DET's instances file")
    rare = np.flatnonzero(published_rare(hico_det()))
    assert sorted(json.loads(path.read_text())["rare"]) == rare.tolist()


def test_numbers_follow_the_first_appearance():
    assert number_by_first(np.array([5, 3, 5, 9, 3])).tolist() == [0, 1, 0, 2, 1]
    assert number_by_first(np.zeros(0, np.int64)).tolist() == []
    nan = math.nan
    boxes = np.array([[1.0, 0.0], [nan, nan], [1.0, -0.0], [-nan, nan], [0.0, 1.0]])
    assert number_boxes(boxes).tolist() == [0, 1, 0, 1, 2]
    assert number_boxes(np.zeros((0, 8))).tolist() == []


def test_repetitions_are_counted_once_each():
    columns = np.array([[1, 0, 2, 3]] * 3 + [[1, 1, 2, 3], [2, 0, 2, 3], [1, 0, 2, 4]]).T
    empty = np.zeros((6, 4))
    assert Rows(*columns, empty, empty, np.zeros(6)).repeated == 2
    none = np.zeros((0, 4))
    assert Rows(*np.zeros((4, 0), np.int64), none, none, np.zeros(0)).repeated == 0


def test_a_pair_is_its_subject_and_its_object(tmp_path):
    document = hand_document()[:1]
    pair = document[0]["hoi_prediction"][0]
    document[0]["predictions"].append({"bbox": [6, 5, 8, 8], "category_id": 2})
    document[0]["hoi_prediction"] = [
        pair, pair | {"object_id": 2}, pair | {"category_id": 2}, pair | {"subject_id": 0},
    ]  # fmt: skip
    path = write_json(tmp_path / "p.json", document)
    rows, _ = hoia.read(path, ImageNames(hand_world().images), VOCABULARY)
    assert rows.query.tolist() == [0, 1, 0, 0]
    assert rows.verb.tolist() == [0, 0, 1, 0]
    assert rows.hoi.tolist() == [VOCABULARY.hoi_ids[v, 1] for v in (0, 0, 1, 0)]
    assert rows.object_boxes_xyxy[1].tolist() == [6, 5, 8, 8]


def test_an_action_without_objects_is_its_class_whatever_object_it_is_paired_with():
    hois = vcoco().hoi_ids
    stand, hold = ([v.name for v in vcoco().verbs].index(n) for n in ("stand", "hold_obj"))
    cup, kite = (vcoco().objects.index(name) for name in ("cup", "kite"))
    absent = np.full(4, hoia_numbering.ABSENT)
    raw = hoia_numbering.RawClasses(
        np.full(4, vcoco().person),
        np.array([cup, hoia_numbering.NO_OBJECT, cup, hoia_numbering.NO_OBJECT]),
        np.array([stand, stand, hold, hold]),
        absent,
    )
    places = Places(Path("p.json"), np.arange(4))
    classes = hoia_numbering.class_ids(raw, vcoco(), places, "zero-based")
    assert classes.verb.tolist() == [stand, stand, hold, hold]
    expected = [hois[stand, None], hois[stand, None], hois[hold, cup], hois[hold, None]]
    assert classes.hoi.tolist() == expected
    # COCO's ids have gaps, and V-COCO's verbs count from 0 in its files.
    raw = hoia_numbering.RawClasses(np.array([1]), np.array([38]), np.array([hold]), absent[:1])
    classes = hoia_numbering.class_ids(raw, vcoco(), Places(Path("p.json"), np.arange(1)), "hoia")
    assert classes.hoi.tolist() == [hois[hold, kite]]


def test_verbs_alone_do_not_make_a_vocabulary_that_of_v_coco(tmp_path):
    vocabulary = replace(VOCABULARY, hois=(*VOCABULARY.hois, Hoi(3, None)))
    world = replace(
        hand_world(), vocabulary=vocabulary, classes=classes_table([False] * 8, [True] * 8)
    )
    found = score(tmp_path, write_world(tmp_path, world), hand_document()).metrics()
    assert found["protocol"] == "hico"
    assert found["default"]["full"] == pytest.approx(50.0)


def test_predictions_made_for_other_classes_are_refused(tmp_path, folder):
    world = hand_world()
    (tmp_path / "made").mkdir()
    path = write_parquet(tmp_path / "made/p.parquet", parquet_with(world))
    world.vocabulary.write(tmp_path / "made/vocabulary.parquet", {})
    score_files(path, folder)
    vcoco().write(tmp_path / "made/vocabulary.parquet", {})
    with pytest.raises(InputError, match=r"p\.parquet: made for the classes of .*vocabulary"):
        score_files(path, folder)
