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

from hoiclip.errors import InputError
from hoiclip.formats.annotations import hico_mat


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


def test_a_parser_that_crashes_takes_nobody_along(tmp_path, monkeypatch):
    path = damaged_mat(tmp_path)
    for code in ("import os; os.abort()", "import os; os._exit(0)", "print(1); raise KeyError(5)"):
        monkeypatch.setattr(hico_mat, "_CODE", code)
        with pytest.raises(InputError, match=r"anno_bbox\.mat: not a readable MATLAB file"):
            hico_mat.read(path, "test")


def test_a_parser_that_does_not_end_is_ended(tmp_path, monkeypatch):
    path = damaged_mat(tmp_path)
    monkeypatch.setattr(hico_mat, "_CODE", "import time; time.sleep(60)")
    monkeypatch.setattr(hico_mat, "_SECONDS", 0.1)
    with pytest.raises(InputError, match=r"its parser took more than 0\.1 s"):
        hico_mat.read(path, "test")


def test_a_file_that_asks_for_all_of_the_memory(tmp_path):
    path = damaged_mat(tmp_path)
    data = bytearray(path.read_bytes())
    dimensions = slice(160, 168)
    assert np.frombuffer(data[dimensions], "<i4").tolist() == [1, 1]
    data[dimensions] = np.array([1, 800_000_000], "<i4").tobytes()
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"anno_bbox\.mat: not a readable .* allocate 5\.96 GiB"):
        hico_mat.read(path, "train")


def test_errors_name_the_file_as_it_was_given(tmp_path, monkeypatch):
    damaged_mat(tmp_path, id=0)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        hico_mat.read("anno_bbox.mat", "test")
    assert str(caught.value) == r"anno_bbox.mat, row 0, hoi.id: 0 is out of range 1..600"
    assert (caught.value.row, caught.value.key) == (0, "hoi.id")


def test_findings_tell_the_file_as_it_was_given(tmp_path, monkeypatch):
    damaged_mat(tmp_path, connection=np.array([[9, 9]]))
    monkeypatch.chdir(tmp_path)
    report = hico_mat.read("anno_bbox.mat", "test")[2]
    assert report.table()["file"].to_pylist() == ["anno_bbox.mat"]
