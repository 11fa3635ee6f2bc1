from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.methods.clip_distill.caches.config import DetectionsConfig
from hoiclip.methods.clip_distill.caches.detections import Detections, keep_detections
from hoiclip.methods.clip_distill.caches.pairs import NO_OBJECT, make_pairs, pairs_of
from hoiclip.methods.clip_distill.model.box_geometry import box_geometry
from hoiclip.methods.clip_distill.model.detected_objects import detected_objects

VERBS = (Verb("hold", "holding"), Verb("walk", None, "walking"))
OBJECTS = ("person", "cup", "tree", "ball")
# A tree has no class.
THINGS = Vocabulary(OBJECTS, VERBS, (Hoi(0, 1), Hoi(0, 3)))
PEOPLE = Vocabulary(OBJECTS, VERBS, (Hoi(0, 1), Hoi(0, 0)))
ALONE = Vocabulary(OBJECTS, VERBS, (Hoi(0, 1), Hoi(1, None)))


def rule(**changes) -> DetectionsConfig:
    values = {
        "num_queries": None, "test_scale": 0, "max_side": 100, "score_threshold": 0.5,
        "nms_iou": None, "min_instances": 0, "max_instances": None, "max_pairs": None,
    }  # fmt: skip
    return DetectionsConfig(**(values | changes))


def detections(objects, scores=None, boxes=None) -> Detections:
    count = len(objects)
    scores = np.linspace(0.9, 0.6, count) if scores is None else np.array(scores)
    if boxes is None:
        boxes = np.arange(count)[:, None] * 10 + np.array([0, 0, 8, 8])
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        scores.astype(np.float32),
        np.array(objects, np.int64),
        np.arange(count, dtype=np.float32)[:, None],
    )


def kept(found: Detections, **changes) -> list[int]:
    return keep_detections(found, 0, rule(**changes)).features[:, 0].astype(int).tolist()


def test_the_threshold_itself_is_enough():
    assert kept(detections([0, 0, 1, 1], [0.5, 0.49, 0.51, 0.5])) == [0, 2, 3]


def test_least_and_most_are_of_people_and_of_all_others_apart():
    found = detections([0, 1, 0, 2, 1, 0], [0.1, 0.2, 0.3, 0.9, 0.8, 0.7])
    assert kept(found) == [3, 4, 5]
    assert kept(found, min_instances=2) == [2, 3, 4, 5]
    assert kept(found, min_instances=3) == [0, 1, 2, 3, 4, 5]
    assert kept(found, min_instances=9) == [0, 1, 2, 3, 4, 5]
    assert kept(found, max_instances=1) == [3, 5]


def test_of_equal_scores_the_earlier_detection_is_kept():
    assert kept(detections([1, 1, 1], [0.7, 0.7, 0.7]), max_instances=2) == [0, 1]


def test_suppression_is_within_a_class_and_before_the_numbers():
    box, near, far = [0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]
    found = detections([1, 1, 3, 1], [0.6, 0.9, 0.7, 0.2], [box, near, near, far])
    assert kept(found, nms_iou=0.5) == [1, 2]
    assert kept(found, nms_iou=0.5, min_instances=3) == [1, 2, 3]
    assert kept(found, nms_iou=0.95) == [0, 1, 2]
    # 90 of 100 overlap exactly; more than that would be too much.
    assert kept(found, nms_iou=0.9) == [0, 1, 2]


def test_an_image_without_detections():
    assert kept(detections([]), nms_iou=0.5, min_instances=3) == []
    for vocabulary in (THINGS, PEOPLE, ALONE):
        pairs = make_pairs(detections([]), vocabulary)
        assert len(pairs) == 0
        assert pairs.union_boxes_xyxy.shape == (0, 4)
        assert box_geometry(pairs, (10, 10)).shape == (0, 36)


def together(pairs) -> list[tuple[int, int]]:
    return list(zip(pairs.human.tolist(), pairs.object.tolist(), strict=True))


def test_every_person_with_every_object_that_has_a_class():
    pairs = make_pairs(detections([1, 0, 2, 0, 3]), THINGS)
    assert together(pairs) == [(1, 0), (1, 4), (3, 0), (3, 4)]
    assert pairs.objects.tolist() == [1, 3, 1, 3]


def test_two_people_are_two_pairs_and_nobody_is_one_with_himself():
    pairs = make_pairs(detections([0, 1, 0]), PEOPLE)
    assert together(pairs) == [(0, 1), (0, 2), (2, 0), (2, 1)]
    assert together(make_pairs(detections([0]), PEOPLE)) == []
    assert together(make_pairs(detections([1, 1]), PEOPLE)) == []


@pytest.mark.parametrize(
    ("vocabulary", "objects", "expected"),
    [
        (THINGS, [0, 3, 1, 2, 3], [1, 3]),
        (THINGS, [1, 2], [1]),  # nobody is there, but a cup is
        (THINGS, [0, 0], []),
        (PEOPLE, [0, 1], [1]),  # one person is nobody's object
        (PEOPLE, [0, 1, 0], [0, 1]),
        (ALONE, [0], [4]),
        (ALONE, [1, 0, 0], [1, 4]),
        (ALONE, [1], [1]),  # nobody who could do something without an object
        (ALONE, [], []),
    ],
)
def test_detected_objects_by_hand(vocabulary, objects, expected):
    assert detected_objects(detections(objects), vocabulary).tolist() == expected


@given(st.sampled_from([THINGS, PEOPLE, ALONE]), st.lists(st.integers(0, 3), max_size=6))
def test_where_a_person_is_detected_objects_are_those_of_all_pairs(vocabulary, others):
    found = detections([*others, 0])
    pairs = make_pairs(found, vocabulary)
    assert detected_objects(found, vocabulary).tolist() == np.unique(pairs.objects).tolist()


def test_where_a_class_has_no_object_each_person_is_a_pair_without_one():
    pairs = make_pairs(detections([0, 1, 0], [0.9, 0.5, 0.8]), ALONE)
    assert together(pairs) == [(0, 1), (0, NO_OBJECT), (2, 1), (2, NO_OBJECT)]
    assert pairs.objects.tolist() == [1, 4, 1, 4]
    np.testing.assert_allclose(pairs.scores, [0.45, 0.9, 0.4, 0.8], rtol=1e-6)
    alone = pairs[np.array([1, 3])]
    assert np.isnan(alone.object_boxes_xyxy).all()
    np.testing.assert_array_equal(alone.union_boxes_xyxy, alone.human_boxes_xyxy)


def test_unions_enclose_both_boxes():
    found = detections([0, 1], boxes=[[5, 1, 9, 4], [0, 2, 6, 8]])
    pairs = make_pairs(found, THINGS)
    assert pairs.union_boxes_xyxy.tolist() == [[0, 1, 9, 8]]
    assert pairs.human_boxes_xyxy.tolist() == [[5, 1, 9, 4]]
    assert pairs.object_boxes_xyxy.tolist() == [[0, 2, 6, 8]]


def test_the_best_pairs_are_kept_in_their_order_and_of_equal_ones_the_first():
    found = detections([0, 1, 1, 1, 1], [1, 0.3, 0.9, 0.3, 0.8])
    assert together(make_pairs(found, THINGS, 3)) == [(0, 1), (0, 2), (0, 4)]
    assert len(make_pairs(found, THINGS, 4)) == 4
    assert len(make_pairs(found, THINGS, 99)) == 4


@given(st.lists(st.integers(0, 3), max_size=8), st.sampled_from([THINGS, PEOPLE, ALONE]))
def test_pairs_are_those_of_a_double_loop(objects, vocabulary):
    asked = set(vocabulary.object_of_hoi.tolist())
    expected = []
    for human, first in enumerate(objects):
        if first == 0:
            expected += [
                (human, other) for other, second in enumerate(objects)
                if other != human and second in asked
            ]  # fmt: skip
            expected += [(human, NO_OBJECT)] if vocabulary.has_missing_objects else []
    assert together(make_pairs(detections(objects), vocabulary)) == expected


def test_geometry_by_hand():
    found = detections([0, 1], boxes=[[10, 20, 30, 60], [30, 50, 70, 60]])
    numbers = box_geometry(make_pairs(found, THINGS), (100, 200))[0]
    human = [0.20, 0.20, 0.20, 0.20]
    object_ = [0.50, 0.275, 0.40, 0.05]
    areas = [800 / 20000, 400 / 20000]
    ratios = [20 / 40, 40 / 10]
    # The object's centre is 30 to the right and 15 below; the human is 20 by 40.
    expected = [*human, *object_, *areas, *ratios, 0.5, 0.0, 0, 30 / 20, 0, 15 / 40]
    np.testing.assert_allclose(numbers[:18], expected, rtol=1e-6)
    logs = [math.log(value + 1e-6) for value in expected]
    np.testing.assert_allclose(numbers[18:], logs, rtol=1e-5)


def test_geometry_of_an_object_above_and_to_the_left():
    found = detections([0, 1], boxes=[[30, 50, 50, 90], [20, 30, 40, 70]])
    numbers = box_geometry(make_pairs(found, THINGS), (100, 100))[0]
    np.testing.assert_allclose(numbers[14:18], [10 / 20, 0, 20 / 40, 0])
    assert numbers[13] == pytest.approx(200 / 1400)


def test_a_missing_object_has_the_humans_box():
    found = detections([0], boxes=[[10, 10, 30, 50]])
    alone = make_pairs(found, ALONE)
    itself = pairs_of(found, np.array([0]), np.array([0]), 4)
    np.testing.assert_array_equal(box_geometry(alone, (64, 64)), box_geometry(itself, (64, 64)))
    assert box_geometry(alone, (64, 64))[0, 12:14].tolist() == [1, 1]


corner = st.floats(-50, 150, width=32)
box = st.tuples(corner, corner, corner, corner)


@given(box, box, st.integers(1, 90), st.integers(1, 90))
def test_geometry_is_finite_whatever_the_boxes(human, object_, width, height):
    found = detections([0, 1], boxes=[human, object_])
    assert np.isfinite(box_geometry(make_pairs(found, THINGS), (width, height))).all()
