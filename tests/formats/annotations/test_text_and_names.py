"""Numbers as text, columns, separators and names, as files of people's own have them."""

import json
import math

import pytest
from layouts import write_json
from own_layouts import VOCABULARY, csv_text, json_document

from hoiclip.catalog.vocabularies import read_vocabulary
from hoiclip.errors import InputError
from hoiclip.formats.annotations import hico_instances, own
from hoiclip.formats.detection import kind_of
from hoiclip.util import json_values


@pytest.fixture
def vocabulary(tmp_path):
    return read_vocabulary(write_json(tmp_path / "vocabulary.json", VOCABULARY))


@pytest.mark.parametrize(
    ("value", "number"),
    [("620", 620), ("640.0", 640), (" -7 ", -7), ("+3", 3), ("5.", 5), (640.0, 640), (9, 9)],
)
def test_whole_numbers(value, number):
    found = json_values.integer("a.json", 0, "key", value)
    assert (found, type(found)) == (number, int)


@pytest.mark.parametrize(
    ("value", "number"),
    [("0.83", 0.83), (".5", 0.5), ("1e-3", 0.001), ("-2E+2", -200.0), ("7", 7.0), (3, 3.0)],
)
def test_numbers(value, number):
    assert json_values.number("a.json", 0, "key", value) == number


def test_numbers_that_are_not_finite_are_for_the_reader_to_judge():
    assert math.isnan(json_values.number("a.json", 0, "key", "NaN"))
    assert json_values.number("a.json", 0, "key", "-inf") == -math.inf
    assert json_values.number("a.json", 0, "key", "9" * 400) == math.inf


@pytest.mark.parametrize("read", [json_values.integer, json_values.number])
@pytest.mark.parametrize("value", ["six", "1_000", "0x10", "1,5", "1 2", "٣"])
def test_text_that_is_no_number(read, value):
    with pytest.raises(InputError, match=r"row 4, key: .*\(text, not a number\)"):
        read("a.json", 4, "key", value)


@pytest.mark.parametrize("read", [json_values.integer, json_values.number])
def test_nothing_is_no_number(read):
    for value in ("", "  "):
        with pytest.raises(InputError, match="row 4, key: empty, expected a"):
            read("a.json", 4, "key", value)
    for value in (None, True, [1], {}):
        with pytest.raises(InputError, match=r"row 4, key: .*, expected a"):
            read("a.json", 4, "key", value)
    with pytest.raises(InputError, match=r"0\.5.*expected a whole number$"):
        json_values.integer("a.json", 4, "key", "0.5")


def as_text(value):
    if isinstance(value, dict):
        return {key: as_text(v) for key, v in value.items()}
    if isinstance(value, list):
        return [as_text(v) for v in value]
    return str(value) if type(value) in (int, float) else value


def test_json_of_text_is_as_json_of_numbers(tmp_path, vocabulary):
    plain = own.read(write_json(tmp_path / "a.json", json_document()), vocabulary)[0]
    text = as_text(json_document())
    assert '"10"' in json.dumps(text)
    assert own.read(write_json(tmp_path / "b.json", text), vocabulary)[0] == plain


@pytest.mark.parametrize("read", [json_values.integer, json_values.number])
def test_a_decimal_comma_is_told(read):
    with pytest.raises(InputError, match=r"'0,5'.*\. Decimals stand behind a point$"):
        read("a.json", 4, "key", "0,5")


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_csv_with_other_separators(tmp_path, vocabulary, sign):
    (tmp_path / "a.csv").write_text(csv_text())
    text = csv_text().replace(",", sign).replace("100" + sign + "80", f"100.0{sign}80.0")
    if sign == ";":
        text = text.replace("2.5", "2,5").replace("100.0", "100").replace("80.0", "80")
    (tmp_path / "b.csv").write_text(text)
    found = [own.read(tmp_path / name, vocabulary)[0] for name in ("a.csv", "b.csv")]
    assert found[0] == found[1]
    for name, start in (("c.tsv", ""), ("d.csv", f"sep={sign}\r\n")):
        (tmp_path / name).write_text(start + text)
        assert own.read(tmp_path / name, vocabulary)[0] == found[0]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("file_name,", ",file_name,", "column 1 of the header has no name"),
        ("verb\n", "verb,\n", "column 14 of the header has no name"),
        ("human_x1", "Human-X1", "'Human-X1' (like 'human_x1', which is known)"),
        ("climb\n", "\n", "row 0, verb: empty"),
        ("ladder,", ",", "row 0, object: empty"),
        ("1,2,11,22,ladder", "1,2,,22,ladder", "row 0, human_x2: empty, expected a number"),
        ("a.jpg,100,", "a.jpg,,", "row 0, width: empty, expected a whole number"),
        ("climb", "climbs", "'climbs' is not a verb of the vocabulary (like 'climb', which"),
        ("ladder", "Ladder", "1 boxes of object classes outside the vocabulary: 'Ladder' (like 'l"),
    ],
)
def test_what_is_wrong_in_a_csv_is_named(tmp_path, vocabulary, old, new, told):
    (tmp_path / "a.csv").write_text(csv_text().replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        own.read(tmp_path / "a.csv", vocabulary)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the file is empty. Expected: file_name,"),
        ("a.jpg,640,480\n", "its first line names no column that is expected: 'a.jpg, 640, 480'"),
        (csv_text().replace("1,2,11,22", "1,5,2,11,22", 1), "Is a ',' within a field?"),
    ],
)
def test_a_csv_that_is_none_is_told(tmp_path, vocabulary, text, told):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        own.read(tmp_path / "a.csv", vocabulary)
    assert told in str(caught.value)


def test_rows_under_another_name_are_told(tmp_path):
    (tmp_path / "a.json").write_text(csv_text())
    with pytest.raises(InputError, match=r"as CSV files have\. Let its name end in \.csv or \.tsv"):
        kind_of(tmp_path / "a.json")


def test_unknown_names_are_told_with_the_nearest_that_is_known():
    assert json_values.like("cell_phone", ["person", "cell phone"]) == (
        " (like 'cell phone', which is known)"
    )
    assert "'tv'" in json_values.like("TV", ["toothbrush", "tv"])
    assert json_values.like("wrench", ["person", "kite"]) == ""


def instances(**changes):
    """Two images; the file's classes and HOI numbers are in another order than the vocabulary's."""
    pair = {"boxes_h": [[1, 1, 9, 9]], "boxes_o": [[3, 3, 8, 8]]}
    return {
        "filenames": ["a_1.jpg", "a_2.jpg"],
        "size": [["10", "10"], [10, 10]],
        "annotation": [
            pair | {"hoi": [0], "object": [0], "verb": [0]},
            pair | {"hoi": [1], "object": [1], "verb": [1]},
        ],
        "objects": ["rope", "ladder", "person"],
        "verbs": ["pull", "climb"],
        "correspondence": [[0, 0, 0], [1, 1, 1]],
    } | changes


def test_own_classes_in_the_instances_form(tmp_path, vocabulary):
    path = write_json(tmp_path / "i.json", instances())
    tables, found, report = hico_instances.read(path, vocabulary)
    tables.check(path, found)
    assert report.counts() == {}
    names = [found.hoi_name(hoi) for hoi in tables.interactions["hoi"].to_pylist()]
    assert names == ["pull rope", "climb ladder"]
    # HOI numbers of the file's own, and a class that the vocabulary does not pair.
    gaps = instances(correspondence=[[7, 0, 0], [1, 1, 1], [3, 1, 0]])
    gaps["annotation"][0]["hoi"] = [7]
    path = write_json(tmp_path / "g.json", gaps)
    assert hico_instances.read(path, vocabulary)[0].interactions == tables.interactions


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"verbs": ["pull", "climbing"]}, "'climbing' is not in the vocabulary (like 'climb', wh"),
        ({"objects": ["ropes", "ladder", "person"]}, "(like 'rope', which is known)"),
        ({"correspondence": [[0, 0, 0], [1, 9, 1]]}, "row 1, correspondence: [1.0, 9.0, 1.0] is n"),
        ({"correspondence": [[10**9, 0, 0]]}, "row 0, correspondence"),
        ({"correspondence": [[math.nan, 0, 0]]}, "row 0, correspondence"),
        ({"correspondence": [[1, 0, 0], [0, 1, 1]]}, "stated HOI class is not that of (verb, obj"),
    ],
)
def test_contradictions_in_the_instances_form(tmp_path, vocabulary, changes, told):
    path = write_json(tmp_path / "i.json", instances(**changes))
    with pytest.raises(InputError) as caught:
        hico_instances.read(path, vocabulary)
    assert told in str(caught.value)
