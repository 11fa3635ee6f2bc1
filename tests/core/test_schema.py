import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hoiclip.core import schema
from hoiclip.errors import InputError

ROWS = [
    {"image_id": 1, "human": 0, "object_instance": 1, "verb": 0, "hoi": 2},
    {"image_id": 1, "human": 0, "object_instance": None, "verb": 1, "hoi": 3},
]


@pytest.fixture
def table():
    return pa.Table.from_pylist(ROWS, schema.INTERACTIONS)


def test_a_table_returns_with_its_provenance(tmp_path, table):
    path = tmp_path / "a.parquet"
    schema.write_table(path, table, schema.INTERACTIONS, {"b": [1], "a": "x"})
    assert schema.read_table(path, schema.INTERACTIONS).equals(table)
    assert schema.read_provenance(path) == {"a": "x", "b": [1]}
    assert schema.read_table(path).to_pylist() == ROWS


def test_equal_tables_are_equal_bytes(tmp_path, table):
    for name in ("a", "b"):
        schema.write_table(tmp_path / name, table, schema.INTERACTIONS, {"y": 1, "x": 2})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_columns_are_ordered_cast_and_surplus_ones_dropped(tmp_path):
    path = tmp_path / "a.parquet"
    shuffled = pa.table({"height": [2], "width": [1], "more": [0], "file_name": ["x"],
                         "image_id": [7]})  # fmt: skip
    schema.write_table(path, shuffled, schema.IMAGES, {})
    found = schema.read_table(path)
    assert found.column_names == schema.IMAGES.names
    assert found["width"].type == pa.int32()
    pq.write_table(shuffled, path)
    assert schema.read_table(path, schema.IMAGES).schema.names == schema.IMAGES.names
    assert schema.read_provenance(path) == {}


def test_writing_null_where_none_may_be_is_refused(tmp_path, table):
    holed = table.set_column(4, "hoi", pa.array([1, None], pa.int32()))
    with pytest.raises(ValueError, match="hoi"):
        schema.write_table(tmp_path / "a", holed, schema.INTERACTIONS, {})
    assert not list(tmp_path.iterdir())


def test_writing_another_type_is_refused(tmp_path, table):
    named = table.set_column(4, "hoi", pa.array(["a", "b"]))
    with pytest.raises(ValueError, match="a"):
        schema.write_table(tmp_path / "a", named, schema.INTERACTIONS, {})
    assert not list(tmp_path.iterdir())


def test_writing_without_a_column_is_refused(tmp_path, table):
    with pytest.raises(ValueError, match="column hoi is missing"):
        schema.write_table(tmp_path / "a", table.drop(["hoi"]), schema.INTERACTIONS, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(["verb"]), "verb: column is missing"),
        (
            lambda t: t.set_column(3, "verb", pa.array([0, None], pa.int32())),
            "row 1, verb: null where a value is needed",
        ),
        (
            lambda t: t.set_column(3, "verb", pa.array(["hold", "sit"])),
            "verb: type string, expected int32",
        ),
        (lambda t: t.set_column(3, "verb", pa.array([0.5, 1.0])), "verb: type double"),
        (lambda t: t.set_column(3, "verb", pa.array([[1], [2]])), "verb: type list"),
        (lambda t: t.set_column(3, "verb", pa.array([2**40, 1])), "verb: type int64"),
    ],
)
def test_a_bad_column_is_named_with_the_file(tmp_path, table, change, message):
    path = tmp_path / "a.parquet"
    pq.write_table(change(table), path)
    with pytest.raises(InputError, match=message) as info:
        schema.read_table(path, schema.INTERACTIONS)
    assert str(info.value).startswith(str(path))
    assert info.value.key == "verb"


def test_an_unreadable_file_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    with pytest.raises(InputError, match="no such file"):
        schema.read_table(path, schema.IMAGES)
    path.write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        schema.read_table(path, schema.IMAGES)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError):
        schema.read_table(path, schema.IMAGES)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fixed_lists_return_also_sliced_and_chunked(dtype):
    values = np.arange(20, dtype=dtype).reshape(5, 4)
    column = pa.chunked_array([schema.numpy_to_fixed_lists(values)])
    for taken, expected in (
        (column, values),
        (column[1:4], values[1:4]),
        (pa.chunked_array([column.chunk(0)[:2], column.chunk(0)[2:]]), values),
        (column[:0], values[:0]),
    ):
        found = schema.fixed_lists_to_numpy(taken)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == dtype


def test_null_lists_become_nan():
    values = np.arange(12.0).reshape(3, 4)
    array = schema.numpy_to_fixed_lists(values, np.array([False, True, False]))
    assert array.to_pylist()[1] is None
    found = schema.fixed_lists_to_numpy(pa.chunked_array([array]))
    expected = values.copy()
    expected[1] = np.nan
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        schema.fixed_lists_to_numpy(pa.chunked_array([array[1:]])), expected[1:]
    )


def test_lists_of_another_length_are_told_by_column(tmp_path):
    path = tmp_path / "v.parquet"
    table = pa.table({"vector": pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2))})
    pq.write_table(table, path)
    wanted = pa.schema([pa.field("vector", pa.list_(pa.float32(), 3))])
    with pytest.raises(InputError, match=r"v\.parquet, vector: type fixed_size_list"):
        schema.read_table(path, wanted)


def test_names_of_columns_that_are_not_utf8_are_told(tmp_path, table):
    path = tmp_path / "a.parquet"
    schema.write_table(path, table, schema.INTERACTIONS, {})
    path.write_bytes(path.read_bytes().replace(b"image_id", b"image\x8cid"))
    for read in (schema.read_table, schema.read_provenance):
        with pytest.raises(InputError, match="not a readable Parquet file"):
            read(path)
