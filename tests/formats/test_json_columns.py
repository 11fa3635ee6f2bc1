import numpy as np
import pytest

from hoiclip.errors import InputError
from hoiclip.formats.json_columns import EntryObjects, integers, number_rows


def test_columns_of_lists_join_in_order():
    assert integers("f", "k", [[1, "2"], [], [3.0]]).tolist() == [1, 2, 3]
    boxes = number_rows("f", "k", [[[0, 1, 2, 3]], [["4", 5.5, 6, 7]]])
    assert boxes.tolist() == [[0, 1, 2, 3], [4, 5.5, 6, 7]]
    assert number_rows("f", "k", [[], []]).shape == (0, 4)
    assert integers("f", "k", []).dtype == np.int64


@pytest.mark.parametrize("at", range(4))
def test_a_wrong_value_is_told_with_its_list(at):
    """Rows of unequal length, one of them empty."""
    lists = [[0, 0], [], [0], [0]]
    row, place = [(0, 0), (0, 1), (2, 0), (3, 0)][at]
    lists[row][place] = "x"
    with pytest.raises(InputError, match=rf"^f, row {row}, k: 'x', expected a whole number"):
        integers("f", "k", lists)


def test_a_wrong_value_of_an_entry_is_told_with_its_place():
    listed = EntryObjects.of("f", 5, {"boxes": [{"a": 1}, {"a": None}]}, "boxes")
    with pytest.raises(InputError, match=r"^f, row 5, boxes\[1\]\.a: None"):
        listed.integers("a")
    with pytest.raises(InputError, match=r"^f, row 5, boxes\[0\]\.b: missing"):
        listed.numbers("b")
    assert listed.integers("b", -1).tolist() == [-1, -1]
