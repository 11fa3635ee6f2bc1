import numpy as np
import pytest
from layouts import (
    HICO,
    HUMAN,
    OBJECT,
    SIT_ON_BENCH,
    hoia_document,
    same,
    size_of,
    write_json,
)

from hoiclip.catalog.vocabularies import vcoco
from hoiclip.errors import InputError
from hoiclip.formats.annotations import hoia

BENCH = HICO.objects.index("bench")


def test_pairs_outside_the_vocabulary_are_dropped_on_request(tmp_path):
    document = hoia_document(
        {1: [(HUMAN, OBJECT, SIT_ON_BENCH)], 2: [(HUMAN, OBJECT, SIT_ON_BENCH)]}, state_hoi=False
    )
    document[1]["hoi_annotation"][0]["category_id"] = 1
    path = write_json(tmp_path / "h.json", document)
    with pytest.raises(InputError, match=r"row 1: .*outside the vocabulary.*adjust bench \(1\)"):
        hoia.read(path, HICO, size_of)
    tables, _, report = hoia.read(path, HICO, size_of, drop_unknown=True)
    assert tables.interactions["image_id"].to_pylist() == [1]
    assert tables.images.num_rows == 2
    assert report.table().select(["row", "kind", "value"]).to_pylist() == [
        {"row": 1, "kind": "hoi_outside_vocabulary", "value": '"adjust bench"'}
    ]


def test_pairs_outside_the_vocabulary_are_counted_and_listed(tmp_path):
    names = [verb.name for verb in HICO.verbs]
    strange = [verb for verb in names if (names.index(verb), BENCH) not in HICO.hoi_ids][:7]
    counts = dict(zip(strange, (3, 1, 1, 2, 1, 1, 1), strict=True))
    document = hoia_document({1: [], 2: [(HUMAN, OBJECT, SIT_ON_BENCH)]}, state_hoi=False)
    (pair,) = document[1]["hoi_annotation"]
    document[1]["hoi_annotation"] += [
        pair | {"category_id": names.index(verb) + 1}
        for verb, count in counts.items()
        for _ in range(count)
    ]
    path = write_json(tmp_path / "h.json", document)
    with pytest.raises(InputError) as caught:
        hoia.read(path, HICO, size_of)
    listed = [strange[i] for i in (0, 3, 1, 2, 4)]
    told = ", ".join(f"{verb} bench ({counts[verb]})" for verb in listed)
    assert f"row 1: (verb, object) outside the vocabulary: 10 rows: {told} and 2 more." in str(
        caught.value
    )
    tables, _, report = hoia.read(path, HICO, size_of, drop_unknown=True)
    assert tables.interactions["hoi"].to_pylist() == [SIT_ON_BENCH]
    assert report.counts() == {"hoi_outside_vocabulary": 10}


def test_the_hoi_class_is_stated_by_some_pairs_alone(tmp_path):
    content = {1: [(HUMAN, OBJECT, SIT_ON_BENCH), (OBJECT, HUMAN, SIT_ON_BENCH)]}
    stated = hoia_document(content)
    plain = hoia.read(write_json(tmp_path / "h.json", stated), HICO, size_of)[0]
    del stated[0]["hoi_annotation"][0]["hoi_category_id"]
    tables, _, report = hoia.read(write_json(tmp_path / "h.json", stated), HICO, size_of)
    assert report.counts() == {}
    assert same(tables, plain)


@pytest.mark.parametrize("number", [0, SIT_ON_BENCH, 601, -7])
def test_a_stated_hoi_class_that_contradicts_verb_and_object(tmp_path, number):
    document = hoia_document({1: [(HUMAN, OBJECT, SIT_ON_BENCH)]})
    document[0]["hoi_annotation"][0]["hoi_category_id"] = number
    path = write_json(tmp_path / "h.json", document)
    with pytest.raises(InputError, match=r"row 0: stated HOI class is not that .*: 1 rows: sit_on"):
        hoia.read(path, HICO, size_of)
    tables, _, report = hoia.read(path, HICO, size_of, drop_unknown=True)
    assert tables.interactions.num_rows == 0
    assert report.counts() == {"stated_hoi_differs": 1}


@pytest.mark.parametrize("verb", [0, 118, -3])
def test_a_verb_that_hico_det_does_not_have(tmp_path, verb):
    document = hoia_document({1: [], 2: [(HUMAN, OBJECT, SIT_ON_BENCH)]})
    document[1]["hoi_annotation"][0]["category_id"] = verb
    message = rf"row 1, category_id: {verb} is not a verb\. Verbs are 1\.\.117"
    with pytest.raises(InputError, match=message):
        hoia.read(write_json(tmp_path / "h.json", document), HICO, size_of, drop_unknown=True)


def test_hoia_indices_in_the_wild(tmp_path):
    document = hoia_document({1: [(HUMAN, OBJECT, SIT_ON_BENCH)]})
    pair = document[0]["hoi_annotation"][0]
    for subject, object_ in ((7, 1), (0, 2), (-1, 1), (0, -1)):
        document[0]["hoi_annotation"].append(pair | {"subject_id": subject, "object_id": object_})
    tables, _, report = hoia.read(write_json(tmp_path / "h.json", document), HICO, size_of)
    assert tables.interactions.num_rows == 1
    assert report.counts() == {"index_of_no_box": 4}
    assert report.table()["value"].to_pylist() == ["[7, 1]", "[0, 2]", "[-1, 1]", "[0, -1]"]


def test_hoia_subject_that_is_no_person(tmp_path):
    document = hoia_document({1: [(HUMAN, OBJECT, SIT_ON_BENCH)]})
    document[0]["hoi_annotation"][0]["subject_id"] = document[0]["hoi_annotation"][0]["object_id"]
    tables, _, report = hoia.read(write_json(tmp_path / "h.json", document), HICO, size_of)
    assert tables.interactions.num_rows == 0
    assert report.counts() == {"human_is_not_a_person": 1}


def test_hoia_unknown_object_class(tmp_path):
    document = hoia_document({1: [(HUMAN, OBJECT, SIT_ON_BENCH)]})
    document[0]["annotations"][0]["category_id"] = 12
    path = write_json(tmp_path / "h.json", document)
    with pytest.raises(InputError, match="row 0: 1 boxes of object classes outside the vocabulary"):
        hoia.read(path, HICO, size_of)
    tables, _, report = hoia.read(path, HICO, size_of, drop_unknown=True)
    assert tables.instances.num_rows == 1
    assert report.counts() == {"interaction_of_bad_box": 1, "object_outside_vocabulary": 1}


def test_hoia_categories_as_text(tmp_path):
    document = hoia_document({1: [(HUMAN, OBJECT, SIT_ON_BENCH)]})
    plain = hoia.read(write_json(tmp_path / "h.json", document), HICO, size_of)[0]
    for annotation in document[0]["annotations"]:
        annotation["category_id"] = f"{annotation['category_id']}\n"
    assert same(hoia.read(write_json(tmp_path / "h.json", document), HICO, size_of)[0], plain)


def test_hoia_of_vcoco_has_pairs_without_object(tmp_path):
    vocabulary = vcoco()
    stand = [verb.name for verb in vocabulary.verbs].index("stand")
    entry = {
        "file_name": "COCO_val2014_000000000042.jpg",
        "annotations": [{"bbox": [0, 0, 9, 9], "category_id": 1}],
        "hoi_annotation": [{"subject_id": 0, "object_id": -1, "category_id": stand}],
    }
    path = write_json(tmp_path / "h.json", [entry])
    tables, _, report = hoia.read(path, vocabulary, size_of, numbering=hoia.V_COCO)
    tables.check("test", vocabulary)
    assert report.counts() == {}
    row = tables.interactions.to_pylist()[0]
    assert (row["image_id"], row["object_instance"], row["verb"]) == (42, None, stand)
    assert vocabulary.hois[row["hoi"]].object is None
    assert tables.instances["box_xyxy"].to_pylist() == [[0.0, 0.0, 10.0, 10.0]]


def test_hoia_of_vcoco_with_and_without_objects(tmp_path):
    vocabulary = vcoco()
    names = [verb.name for verb in vocabulary.verbs]
    hold, stand = names.index("hold_obj"), names.index("stand")
    entry = {
        "file_name": "COCO_val2014_000000000042.jpg",
        "annotations": [{"bbox": [0, 0, 9, 9], "category_id": c} for c in (1, 47)],
        "hoi_annotation": [
            {"subject_id": 0, "object_id": object_, "category_id": verb}
            for object_, verb in ((1, hold), (-1, hold), (1, stand), (-2, hold), (2, hold))
        ],
    }
    path = write_json(tmp_path / "h.json", [entry])
    with pytest.raises(InputError, match=r"1 rows: stand cup \(1\)\."):
        hoia.read(path, vocabulary, size_of, numbering=hoia.V_COCO)
    tables, _, report = hoia.read(
        path, vocabulary, size_of, numbering=hoia.V_COCO, drop_unknown=True
    )
    tables.check("test", vocabulary)
    assert report.counts() == {"hoi_outside_vocabulary": 1, "index_of_no_box": 2}
    assert tables.interactions["object_instance"].to_pylist() == [1, None]
    assert tables.interactions["verb"].to_pylist() == [hold, hold]


def test_valid_pairs_file(tmp_path):
    valid = np.zeros((117, 80))
    for hoi in HICO.hois:
        valid[hoi.verb, hoi.object] = 1
    path, json_path = tmp_path / "corre_hico.npy", write_json(tmp_path / "h.json", [])
    np.save(path, valid)
    hoia.read(json_path, HICO, size_of, valid_pairs=path)
    expected = valid.copy()
    valid[0, 0] = 1
    np.save(path, valid)
    with pytest.raises(InputError, match=r"row 0, adjust: 1\.0 for person"):
        hoia.read(json_path, HICO, size_of, valid_pairs=path)
    np.save(path, valid[:5])
    with pytest.raises(InputError, match=r"shape \(5, 80\), expected \(117, 80\)"):
        hoia.read(json_path, HICO, size_of, valid_pairs=path)
    np.save(path, expected.astype(str))
    with pytest.raises(InputError, match=r"an array of <U\d+, expected numbers"):
        hoia.read(json_path, HICO, size_of, valid_pairs=path)
    np.savez(tmp_path / "corre_hico.npz", expected)
    path.write_bytes(b"no array")
    for bad in (path, tmp_path / "corre_hico.npz", tmp_path, tmp_path / "absent.npy"):
        with pytest.raises(InputError, match="not a readable array"):
            hoia.read(json_path, HICO, size_of, valid_pairs=bad)
