from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoiclip.core import schema
from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.evaluation.ap.protocols import HICO, PROTOCOLS, Protocol
from hoiclip.evaluation.diagnosis import diagnose
from hoiclip.evaluation.errors.matched_pairs import match_pairs
from hoiclip.evaluation.errors.oracle import RIGHT
from hoiclip.report.operating_point import (
    FOUND,
    LOW_SCORE,
    NOT_PREDICTED,
    ONLY_WRONG,
    OperatingPoint,
    operating_point,
    without_surplus_objects,
)

VOCABULARY = Vocabulary(
    ("person", "ball", "kite"),
    (Verb("hold", "holding"), Verb("kick", "kicking"), Verb("walk", None, "walking")),
    (Hoi(0, 1), Hoi(1, 1), Hoi(0, 2), Hoi(2, None)),
)
HOLD_BALL, KICK_BALL, HOLD_KITE, WALK = range(4)
HUMAN, BALL = (0, 0, 10, 10), (20, 0, 30, 10)
FAR = (80, 80, 90, 90)


def annotations_of(rows: list[tuple], images: int = 3) -> Annotations:
    """Rows (image, human box, object box or None, hoi)."""
    instances, interactions = [], []
    numbers: dict[tuple, int] = {}

    def instance(image, box, category):
        key = (image, box, category)
        if key not in numbers:
            numbers[key] = len(numbers)
            instances.append(
                {"image_id": image, "instance": numbers[key], "object": category,
                 "box_xyxy": list(map(float, box))}
            )  # fmt: skip
        return numbers[key]

    for image, human, object_, hoi in rows:
        category = VOCABULARY.hois[hoi].object
        interactions.append(
            {"image_id": image, "human": instance(image, human, 0),
             "object_instance": None if object_ is None else instance(image, object_, category),
             "verb": VOCABULARY.hois[hoi].verb, "hoi": hoi}
        )  # fmt: skip
    listed = [
        {"image_id": i, "file_name": f"{i}.png", "width": 100, "height": 100} for i in range(images)
    ]
    return Annotations(
        pa.Table.from_pylist(listed, schema=schema.IMAGES),
        pa.Table.from_pylist(instances, schema=schema.INSTANCES),
        pa.Table.from_pylist(interactions, schema=schema.INTERACTIONS),
    )


def predictions_of(rows: list[tuple]) -> pa.Table:
    """Rows (image, human box, object box or None, hoi, score)."""
    return pa.Table.from_pylist(
        [
            {"image_id": image, "query": query, "hoi": hoi, "score": score,
             "human_box_xyxy": list(human), "object_box_xyxy": object_ and list(object_),
             "hoi_score": 0, "object_score": 0, "clip_score": 0}
            for query, (image, human, object_, hoi, score) in enumerate(rows)
        ],
        schema=schema.PREDICTIONS,
    )  # fmt: skip


def point_of(
    predictions: list[tuple], truth: list[tuple], images: int = 3, protocol: Protocol = HICO
) -> OperatingPoint:
    annotations = annotations_of(truth, images)
    matched = match_pairs(predictions_of(predictions), annotations, VOCABULARY, protocol)
    return operating_point(matched, VOCABULARY, protocol)


def kinds(point: OperatingPoint) -> list[str]:
    """Kind of each shown detection by image and query, or `FOUND`."""
    return [FOUND if kind == RIGHT else point.errors.kinds[kind] for kind in point.errors.kind]


@pytest.mark.parametrize("predictions", [[], [(0, HUMAN, BALL, HOLD_BALL, 0.5)]])
@pytest.mark.parametrize("truth", [[], [(1, HUMAN, BALL, HOLD_BALL)]])
def test_empty_sides_give_no_match(predictions, truth):
    point = point_of(predictions, truth)
    assert point.found == 0
    assert point.precision == (0 if predictions else None)
    assert point.recall == (0 if truth else None)
    assert point.threshold == (0.5 if predictions else None)
    assert point.miss_reason.tolist() == [NOT_PREDICTED] * len(truth)
    assert kinds(point) == ["background"] * len(predictions)


def test_false_alarms_have_the_kinds_of_the_evaluation():
    near = (0, 0, 10, 3)
    predictions = [
        (0, HUMAN, BALL, HOLD_BALL, 0.9),
        (0, HUMAN, BALL, HOLD_BALL, 0.9),
        (0, HUMAN, BALL, KICK_BALL, 0.9),
        (0, HUMAN, BALL, HOLD_KITE, 0.9),
        (0, near, BALL, HOLD_BALL, 0.9),
        (0, HUMAN, FAR, HOLD_BALL, 0.9),
        (1, HUMAN, BALL, HOLD_BALL, 0.9),
    ]
    point = point_of(predictions, [(0, HUMAN, BALL, HOLD_BALL)])
    expected = [FOUND, "duplicate", "verb", "object", "human_box", "background", "background"]
    assert kinds(point) == expected
    assert point.errors.target.tolist() == [0, 0, 0, 0, 0, -1, -1]


def test_only_what_is_shown_explains_what_is_missed():
    # Below the threshold, the second pair is found and the third is given another verb.
    second, third = (40, 0, 50, 10), (60, 0, 70, 10)
    truth = [
        (0, HUMAN, BALL, HOLD_BALL),
        (0, HUMAN, BALL, KICK_BALL),
        (0, HUMAN, second, HOLD_BALL),
        (0, HUMAN, third, HOLD_BALL),
    ]
    predictions = [
        (0, HUMAN, BALL, HOLD_BALL, 0.9),
        (0, HUMAN, BALL, HOLD_KITE, 0.9),
        *[(1, FAR, FAR, HOLD_BALL, 0.5)] * 9,
        (0, HUMAN, second, HOLD_BALL, 0.1),
        (0, HUMAN, third, KICK_BALL, 0.1),
    ]
    point = point_of(predictions, truth)
    assert point.threshold == pytest.approx(0.9)
    # `hold kite` has the verb of the pair that is found, and is of no use to the other verb.
    assert kinds(point) == [FOUND, "object"]
    assert point.miss_reason.tolist() == [FOUND, NOT_PREDICTED, LOW_SCORE, NOT_PREDICTED]
    assert (point.precision, point.recall) == (0.5, 0.25)
    more = [(0, HUMAN, third, KICK_BALL, 0.9), *predictions]
    assert point_of(more, truth).miss_reason.tolist()[3] == ONLY_WRONG


def test_threshold_shows_equal_scores_together():
    truth = [(i, HUMAN, BALL, HOLD_BALL) for i in range(3)]
    predictions = [
        (0, HUMAN, BALL, HOLD_BALL, 0.5),
        (1, FAR, FAR, HOLD_BALL, 0.5),
        (2, FAR, FAR, HOLD_BALL, 0.25),
    ]
    point = point_of(predictions, truth)
    assert point.threshold == 0.5
    assert len(point.shown.scores) == 2


def test_a_threshold_does_not_part_equal_scores():
    # Only half of the 0.5s would give F1 = 1.
    truth = [(i, HUMAN, BALL, HOLD_BALL) for i in range(2)]
    hits = [(0, HUMAN, BALL, HOLD_BALL, 0.9), (1, HUMAN, BALL, HOLD_BALL, 0.5)]
    alarms = [(2, FAR, FAR, HOLD_BALL, 0.5)] * 9
    point = point_of(hits + alarms, truth)
    assert point.threshold == pytest.approx(0.9)


def test_of_equally_good_thresholds_the_highest_is_taken():
    # F1 is 2/3 at 0.9 and, with a false alarm and another hit more, 4/6 at 0.5.
    truth = [(i, HUMAN, BALL, HOLD_BALL) for i in range(2)]
    hit = [(i, HUMAN, BALL, HOLD_BALL, s) for i, s in ((0, 0.9), (1, 0.5))]
    alarms = [(2, FAR, FAR, HOLD_BALL, 0.75), (2, FAR, FAR, HOLD_KITE, 0.75)]
    point = point_of(hit + alarms, truth)
    assert point.threshold == pytest.approx(0.9)


def test_worst_images_by_f1_then_misses_then_false_alarms_then_id():
    truth = [(0, HUMAN, BALL, HOLD_BALL)]
    truth += [(image, HUMAN, BALL, HOLD_BALL) for image in (1, 2, 3, 3, 5)]
    truth += [(3, HUMAN, BALL, KICK_BALL)]
    predictions = [(0, HUMAN, BALL, HOLD_BALL, 0.9), (2, FAR, FAR, HOLD_BALL, 0.9)]
    point = point_of(predictions, truth, images=6)
    # 3 misses most, 2 has a false alarm beside its miss, 1 and 5 miss one; 4 is empty, 0 is right.
    assert point.worst_first(np.arange(6)) == [3, 2, 1, 5, 0, 4]


def test_classes_without_an_object_lose_their_querys_object_box():
    rows = [
        (0, HUMAN, BALL, WALK, 0.5),
        (0, HUMAN, BALL, HOLD_BALL, 0.5),
        (0, HUMAN, None, WALK, 1),
    ]
    table = without_surplus_objects(predictions_of(rows), VOCABULARY)
    assert table.schema == predictions_of(rows).schema
    assert table["object_box_xyxy"].to_pylist() == [None, list(BALL), None]
    assert without_surplus_objects(predictions_of([]), VOCABULARY).num_rows == 0


places = st.sampled_from([(x, 0, x + w, 10) for x in (0, 2, 4) for w in (3, 8, 12)])
truths = st.lists(st.tuples(st.integers(0, 1), places, places, st.integers(0, 2)), max_size=8)
detections = st.lists(
    st.tuples(
        st.integers(0, 1), places, places, st.integers(0, 2), st.sampled_from([0.25, 0.5, 0.75])
    ),
    max_size=12,
)


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
@settings(max_examples=40, deadline=None)
@given(truths.map(lambda rows: sorted(set(rows))), detections)
def test_what_is_shown_is_diagnosed_as_if_there_were_nothing_else(protocol, truth, predictions):
    rules = PROTOCOLS[protocol]
    point = point_of(predictions, truth, protocol=rules)
    kept = [row for row in predictions if point.threshold is not None and row[4] >= point.threshold]
    alone = diagnose(predictions_of(kept), annotations_of(truth), VOCABULARY, rules)
    assert point.errors.counts() == alone["count"]
    assert point.found + sum(alone["count"].values()) - alone["count"]["missed"] == len(kept)
    reasons = Counter(point.miss_reason.tolist())
    assert reasons[FOUND] == point.found
    whole = diagnose(predictions_of(predictions), annotations_of(truth), VOCABULARY, rules)
    found = len(predictions) - sum(whole["count"].values()) + whole["count"]["missed"]
    assert reasons[FOUND] + reasons[LOW_SCORE] == found
    assert reasons[NOT_PREDICTED] <= alone["count"]["missed"]
