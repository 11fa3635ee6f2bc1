import numpy as np
import pytest
from layouts import (
    HUMAN,
    OBJECT,
    SIT_ON_BENCH,
    mat_images,
    structs,
    write_mat,
)

from hoiclip.data.readers import hico_mat
from hoiclip.errors import InputError


def damaged_mat(tmp_path, **changes):
    images = mat_images({1: [(HUMAN, OBJECT, SIT_ON_BENCH)]})
    for key, value in changes.items():
        images[0]["hoi"][0, 0][key] = value
    return write_mat(tmp_path / "anno_bbox.mat", images)


def test_mat_invisible_hoi(tmp_path):
    path = damaged_mat(
        tmp_path, invis=1, bboxhuman=structs([]), bboxobject=structs([]), connection=structs([])
    )
    tables, _, report = hico_mat.read(path, "train")
    assert (tables.images.num_rows, tables.instances.num_rows) == (1, 0)
    assert report.table()["value"].to_pylist() == ['"sit_on bench"']
    assert report.counts() == {"hoi_invisible": 1}


def test_mat_connection_to_no_box(tmp_path):
    path = damaged_mat(tmp_path, connection=np.array([[1, 1], [0, 1], [2, 1]]))
    tables, _, report = hico_mat.read(path, "test")
    assert tables.interactions.num_rows == 1
    assert report.table()["value"].to_pylist() == ["[0, 1]", "[2, 1]"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": 601}, r"row 0, hoi.id: 601 is out of range 1\.\.600"),
        ({"id": "one"}, "row 0, hoi.id"),
        ({"id": ""}, "row 0, hoi.id"),
        ({"invis": []}, "row 0, hoi.invis"),
        ({"connection": np.array([1, 2, 3])}, "row 0, hoi.connection: shape"),
        ({"connection": np.array([[np.nan, 1]])}, "row 0, hoi.connection: not finite"),
        ({"bboxhuman": structs([{"x1": 1}])}, "row 0, y1: missing"),
        ({"bboxhuman": 5}, "row 0, x1: missing"),
    ],
)
def test_malformed_mat(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        hico_mat.read(damaged_mat(tmp_path, **changes), "test")


def test_mat_that_is_none(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        hico_mat.read(tmp_path / "anno_bbox.mat", "test")
    (tmp_path / "anno_bbox.mat").write_bytes(b"none of MATLAB's")
    with pytest.raises(InputError, match="not a readable MATLAB file"):
        hico_mat.read(tmp_path / "anno_bbox.mat", "test")
