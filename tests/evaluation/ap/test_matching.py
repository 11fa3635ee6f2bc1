import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hoiclip.evaluation.ap.matching import Pairs, order_by_class, pair_recall
from hoiclip.evaluation.ap.protocols import PROTOCOLS

# Few values, so that many are equal; zero is equal to minus zero.
SCORES = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 0.5, 3.4e38, -3.4e38, 2.0**-126])


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@given(data=st.data())
def test_detections_are_taken_by_class_then_by_score_and_equal_ones_in_their_order(kind, data):
    count = data.draw(st.integers(0, 30))
    any_score = st.floats(-1e3, 1e3, width=32) | SCORES
    scores = np.array(data.draw(st.lists(any_score, min_size=count, max_size=count)), kind)
    hoi = data.draw(arrays.arrays(np.int64, count, elements=st.integers(0, 3)))
    expected = sorted(range(count), key=lambda i: (hoi[i], -scores[i]))
    assert order_by_class(hoi, scores).tolist() == expected


def test_more_classes_than_sixteen_bits_have():
    hoi = np.array([70_000, 3, 70_000, 65_539])
    scores = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    assert order_by_class(hoi, scores).tolist() == [1, 3, 2, 0]


def pairs(*rows) -> Pairs:
    """Pairs of (image, pair, x): both boxes are 10 pixels wide and begin at x."""
    image, pair, x = (np.array(column) for column in zip(*rows, strict=True))
    boxes = np.stack([x, x * 0, x + 10, x * 0 + 10], 1).astype(float)
    return Pairs(image, np.zeros(len(image), np.int64), boxes, boxes, pair)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_a_pair_is_recalled_once_whatever_the_order(order):
    found = pairs((0, 0, 0), (0, 0, 0), (0, 1, 100), (1, 0, 0)).take(np.array(order))
    truth = pairs((0, 5, 1), (0, 5, 1), (0, 7, 50), (1, 0, 30))
    assert pair_recall(found, truth, PROTOCOLS["hico"].rule) == pytest.approx(1 / 3)


def test_annotated_pairs_between_each_other_count_once_each():
    truth = pairs((0, 5, 1), (0, 7, 50), (0, 5, 1), (1, 0, 30))
    assert pair_recall(pairs((0, 0, 0)), truth, PROTOCOLS["hico"].rule) == pytest.approx(1 / 3)


def test_a_right_human_beside_a_wrong_object_recalls_nothing():
    found, truth = pairs((0, 0, 0)), pairs((0, 0, 0))
    elsewhere = found.object_boxes_xyxy + 50
    moved = Pairs(found.image, found.hoi, found.human_boxes_xyxy, elsewhere, found.pair)
    swapped = Pairs(found.image, found.hoi, elsewhere, found.object_boxes_xyxy, found.pair)
    for wrong in (moved, swapped):
        assert pair_recall(wrong, truth, PROTOCOLS["hico"].rule) == 0
    assert pair_recall(found, truth, PROTOCOLS["hico"].rule) == 1
