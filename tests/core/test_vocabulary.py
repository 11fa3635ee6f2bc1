import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from hoiclip.core import schema
from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.errors import InputError

VOCABULARY = Vocabulary(
    ("cup", "person", "dog"),
    (Verb("hold", "holding"), Verb("no_interaction", None), Verb("walk", "walking", "walking")),
    (Hoi(0, 0), Hoi(0, 1), Hoi(1, 2), Hoi(2, None), Hoi(2, 2)),
)


def test_sizes_and_maps():
    assert (VOCABULARY.num_objects, VOCABULARY.num_verbs, VOCABULARY.num_hois) == (3, 3, 5)
    assert VOCABULARY.person == 1
    assert VOCABULARY.verb_of_hoi.tolist() == [0, 0, 1, 2, 2]
    assert VOCABULARY.object_of_hoi.tolist() == [0, 1, 2, 3, 2]
    assert VOCABULARY.verb_to_hoi.tolist() == [[1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 1]]
    assert VOCABULARY.verb_to_hoi.dtype == np.float32
    assert VOCABULARY.hoi_ids[2, None] == 3
    assert VOCABULARY.hoi_ids[2, 2] == 4
    # Columns: cup, person, dog, no object.
    assert VOCABULARY.hoi_of.tolist() == [[0, 1, -1, -1], [-1, -1, 2, -1], [-1, -1, 4, 3]]
    assert [VOCABULARY.hoi_name(i) for i in (0, 3)] == ["hold cup", "walk"]


def test_objects_go_missing_where_some_class_has_none():
    assert VOCABULARY.has_missing_objects
    whole = dataclasses.replace(VOCABULARY, hois=(Hoi(0, 0), Hoi(1, 2)))
    assert not whole.has_missing_objects


def test_returns_from_json_and_file(tmp_path):
    assert Vocabulary.from_json(VOCABULARY.to_json()) == VOCABULARY
    path = tmp_path / "vocabulary.parquet"
    VOCABULARY.write(path, {"source": "test"})
    assert Vocabulary.read(path) == VOCABULARY
    assert schema.read_provenance(path) == {"source": "test"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objects": ("cup", "cup", "person")}, "object names are not unique"),
        ({"objects": ("cup", "dog", "cat")}, "do not include 'person'"),
        ({"verbs": (Verb("a", "b"), Verb("a", "c"), Verb("d", "e"))}, "verb names are not unique"),
        ({"hois": (Hoi(0, 0), Hoi(0, 0))}, "HOI classes are not unique"),
        ({"hois": (Hoi(3, 0),)}, "HOI class 0: verb 3 is out of range"),
        ({"hois": (Hoi(0, 0), Hoi(-1, 0))}, "HOI class 1: verb -1 is out of range"),
        ({"hois": (Hoi(0, 3),)}, "HOI class 0: object 3 is out of range"),
    ],
)
def test_contradictions_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(VOCABULARY, **change)


@pytest.mark.parametrize(
    ("row", "change", "message"),
    [
        (0, {"kind": "thing"}, "row 0, kind: unknown kind 'thing'"),
        (1, {"id": 5}, "row 1, id: id 5, expected 1"),
        (6, {"verb": None}, "row 6, verb: an HOI class without a verb"),
        (6, {"verb": 9}, "HOI class 0: verb 9 is out of range"),
        (1, {"name": "cup"}, "object names are not unique"),
    ],
)
def test_a_bad_file_is_named_with_its_row(tmp_path, row, change, message):
    rows = VOCABULARY.to_table().to_pylist()
    rows[row] |= change
    path = tmp_path / "vocabulary.parquet"
    table = pa.Table.from_pylist(rows, schema.VOCABULARY)
    schema.write_table(path, table, schema.VOCABULARY, {})
    with pytest.raises(InputError, match=message) as info:
        Vocabulary.read(path)
    assert str(info.value).startswith(str(path))
