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

from hoiclip.data.readers import hoia
from hoiclip.data.readers.vocabularies import vcoco
from hoiclip.errors import InputError


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


def test_valid_pairs_file(tmp_path):
    valid = np.zeros((117, 80))
    for hoi in HICO.hois:
        valid[hoi.verb, hoi.object] = 1
    path, json_path = tmp_path / "corre_hico.npy", write_json(tmp_path / "h.json", [])
    np.save(path, valid)
    hoia.read(json_path, HICO, size_of, valid_pairs=path)
    valid[0, 0] = 1
    np.save(path, valid)
    with pytest.raises(InputError, match=r"row 0, adjust: 1\.0 for person"):
        hoia.read(json_path, HICO, size_of, valid_pairs=path)
    np.save(path, valid[:5])
    with pytest.raises(InputError, match=r"shape \(5, 80\), expected \(117, 80\)"):
        hoia.read(json_path, HICO, size_of, valid_pairs=path)
    path.write_bytes(b"no array")
    with pytest.raises(InputError, match="not a readable array"):
        hoia.read(json_path, HICO, size_of, valid_pairs=path)
