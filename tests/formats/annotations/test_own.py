import pytest
from layouts import write_json
from own_layouts import VOCABULARY, csv_text, json_document

from hoiclip.errors import InputError
from hoiclip.formats.annotations import own


@pytest.fixture
def vocabulary_path(tmp_path):
    return write_json(tmp_path / "vocabulary.json", VOCABULARY)


def test_json(tmp_path, vocabulary_path):
    path = write_json(tmp_path / "own.json", json_document())
    tables, vocabulary, report = own.read(path, vocabulary_path)
    tables.check(path, vocabulary)
    assert report.counts() == {}
    assert vocabulary.hoi_name(0) == "climb ladder"
    assert tables.images["image_id"].to_pylist() == [5, 6]
    assert tables.instances.to_pylist() == [
        {"image_id": 5, "instance": 0, "object": 0, "box_xyxy": [1.0, 2.0, 11.0, 22.0]},
        {"image_id": 5, "instance": 1, "object": 1, "box_xyxy": [3.0, 2.5, 13.0, 22.5]},
    ]
    assert tables.interactions.to_pylist() == [
        {"image_id": 5, "human": 0, "object_instance": 1, "verb": 0, "hoi": 0},
        {"image_id": 5, "human": 0, "object_instance": None, "verb": 1, "hoi": 2},
    ]


def test_csv_and_json_give_the_same_tables(tmp_path, vocabulary_path):
    csv_path = tmp_path / "own.csv"
    csv_path.write_text(csv_text())
    a, vocabulary, report = own.read(csv_path, vocabulary_path)
    a.check(csv_path, vocabulary)
    document = json_document()
    for position, image in enumerate(document["images"]):
        image["id"] = position
    for annotation in document["annotations"]:
        annotation["image_id"] = 0
    b, _, _ = own.read(write_json(tmp_path / "own.json", document), vocabulary_path)
    assert report.counts() == {}
    assert a == b


def test_without_rows(tmp_path, vocabulary_path):
    (tmp_path / "own.csv").write_text(csv_text().splitlines()[0])
    empty = {key: [] for key in json_document()}
    write_json(tmp_path / "own.json", empty)
    for name in ("own.csv", "own.json"):
        tables, vocabulary, _ = own.read(tmp_path / name, vocabulary_path)
        tables.check(name, vocabulary)
        assert tables.images.num_rows == tables.instances.num_rows == 0


@pytest.mark.parametrize(
    ("key", "row", "changes", "message"),
    [
        ("interactions", 0, {"verb": "fly"}, "row 0, verb: 'fly' is not a verb"),
        ("interactions", 1, {"human": 7}, r"row 1, interactions\.human: there is no 7"),
        ("interactions", 1, {"human": None}, r"row 1, interactions\.human: None, expected"),
        ("annotations", 1, {"image_id": 6}, "row 0, interactions: human and object are of two"),
        ("annotations", 1, {"id": 1}, r"row 1, annotations\.id: 1 is also row 0"),
        ("annotations", 1, {"category_id": 4}, r"row 1, annotations\.category_id: there is no 4"),
        ("annotations", 1, {"bbox": "wide"}, "row 1, bbox: 'wide', expected a list of 4 numbers"),
        ("images", 1, {"id": 5}, "row 1, image_id: 5 is there twice"),
        ("images", 1, {"file_name": "/etc/passwd"}, "row 1, file_name: '/etc/passwd' is not"),
        ("images", 1, {"width": 2**31}, "row 1, size: .* is not a width and a height"),
        ("categories", 0, {"name": "stairs"}, "row 1: 1 boxes of object classes outside"),
        ("categories", 0, {"name": "rope"}, r"row 0: .*outside the vocabulary: 1 rows: climb rope"),
    ],
)
def test_malformed_json(tmp_path, vocabulary_path, key, row, changes, message):
    document = json_document()
    document[key][row].update(changes)
    path = write_json(tmp_path / "own.json", document)
    with pytest.raises(InputError, match=message):
        own.read(path, vocabulary_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("climb\n", "fly\n", "row 0, verb: 'fly' is not a verb"),
        ("ladder,3", "ladder,three", "row 0, object_x1: 'three', expected a number"),
        ("site/b.jpg,100,80", "site/a.jpg,100,81", r"row 2, width, height: .* in an earlier row"),
        ("site/b.jpg,100,80,,", "site/b.jpg,100,80,", "row 2: 12 fields, the header has 13"),
        (
            "object_y2,verb",
            "object_y2,action",
            "columns differ from those expected in action, verb",
        ),
        ("site/b.jpg", "../b.jpg", "row 2, file_name"),
        ("site/b.jpg", '"site', "not a readable CSV file"),
        ("ladder", "stairs", "row 0: 1 boxes of object classes outside"),
    ],
)
def test_malformed_csv(tmp_path, vocabulary_path, old, new, message):
    path = tmp_path / "own.csv"
    path.write_text(csv_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        own.read(path, vocabulary_path)


def test_other_file_names(tmp_path, vocabulary_path):
    with pytest.raises(InputError, match=r"ends in '\.xml'\. Give a \.json, \.csv or \.tsv"):
        own.read(tmp_path / "own.xml", vocabulary_path)
    with pytest.raises(InputError, match="no such file"):
        own.read(tmp_path / "own.csv", vocabulary_path)
    (tmp_path / "own.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8 text, but UTF-16"):
        own.read(tmp_path / "own.csv", vocabulary_path)
