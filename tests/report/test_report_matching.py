import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoiclip import schema
from hoiclip.data.annotations import Annotations
from hoiclip.report import matching
from hoiclip.report.matching import cut, match
from hoiclip.vocabulary import Hoi, Verb, Vocabulary

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


def reasons(predictions: list[tuple], truth: list[tuple]) -> list[str]:
    """Reason of each prediction in its own order."""
    matches = match(predictions_of(predictions), annotations_of(truth), VOCABULARY)
    out = [""] * len(predictions)
    for place, row in enumerate(matches.order):
        out[row] = matches.reason[place]
    return out


@pytest.mark.parametrize("predictions", [[], [(0, HUMAN, BALL, HOLD_BALL, 0.5)]])
@pytest.mark.parametrize("truth", [[], [(1, HUMAN, BALL, HOLD_BALL)]])
def test_empty_sides_give_no_match(predictions, truth):
    result = cut(match(predictions_of(predictions), annotations_of(truth), VOCABULARY))
    assert result.found == 0
    assert result.precision == (0 if predictions else None)
    assert result.recall == (0 if truth else None)
    assert result.threshold == (0.5 if predictions else None)
    assert result.miss_reason.tolist() == [matching.NOT_LOCALISED] * len(truth)


def test_every_kind_of_false_alarm():
    truth = [(0, HUMAN, BALL, HOLD_BALL)]
    assert reasons(
        [
            (0, HUMAN, BALL, HOLD_BALL, 0.5),
            (0, HUMAN, BALL, HOLD_BALL, 0.9),
            (0, HUMAN, BALL, KICK_BALL, 0.9),
            (0, HUMAN, BALL, HOLD_KITE, 0.9),
            (0, HUMAN, FAR, HOLD_BALL, 0.9),
            (0, FAR, BALL, HOLD_BALL, 0.9),
            (1, HUMAN, BALL, HOLD_BALL, 0.9),
        ],
        truth,
    ) == [
        matching.DUPLICATE,
        matching.FOUND,
        matching.WRONG_VERB,
        matching.WRONG_OBJECT,
        matching.NO_PAIR,
        matching.NO_PAIR,
        matching.NO_PAIR,
    ]


def test_half_overlap_is_enough_and_less_is_not():
    truth = [(0, HUMAN, BALL, HOLD_BALL)]
    half, less = (0, 0, 10, 5), (0, 0, 10, 4.9)
    assert reasons([(0, half, BALL, HOLD_BALL, 0.5)], truth) == [matching.FOUND]
    assert reasons([(0, less, BALL, HOLD_BALL, 0.5)], truth) == [matching.NO_PAIR]


def test_of_equal_scores_the_earlier_query_finds():
    truth = [(0, HUMAN, BALL, HOLD_BALL)]
    assert reasons([(0, HUMAN, BALL, HOLD_BALL, 0.5)] * 2, truth) == [
        matching.FOUND,
        matching.DUPLICATE,
    ]


def test_of_two_fitting_rows_the_one_with_more_overlap_is_found():
    left, right = (0, 0, 10, 10), (2, 0, 12, 10)
    truth = [(0, left, BALL, HOLD_BALL), (0, right, BALL, HOLD_BALL)]
    for human, row in ((left, 0), (right, 1)):
        predictions = predictions_of([(0, human, BALL, HOLD_BALL, 0.5)])
        matches = match(predictions, annotations_of(truth), VOCABULARY)
        assert matches.found_row.tolist() == matches.covered_pair.tolist() == [row]


def test_a_missing_object_matches_a_missing_object():
    truth = [(0, HUMAN, None, WALK)]
    assert reasons([(0, HUMAN, None, WALK, 0.5)], truth) == [matching.FOUND]
    assert reasons([(0, HUMAN, BALL, WALK, 0.5)], truth) == [matching.FOUND]
    assert reasons([(0, HUMAN, BALL, HOLD_BALL, 0.5)], truth) == [matching.NO_PAIR]


def test_every_kind_of_miss():
    shifted, third = (40, 0, 50, 10), (60, 0, 70, 10)
    truth = [
        (0, HUMAN, BALL, HOLD_BALL),
        (0, HUMAN, BALL, KICK_BALL),
        (0, HUMAN, shifted, HOLD_BALL),
        (0, HUMAN, third, HOLD_KITE),
    ]
    predictions = [
        (0, HUMAN, BALL, HOLD_BALL, 0.9),
        *[(1, FAR, FAR, HOLD_BALL, 0.5)] * 9,
        (0, HUMAN, shifted, HOLD_BALL, 0.1),
    ]
    result = cut(match(predictions_of(predictions), annotations_of(truth), VOCABULARY))
    assert result.threshold == pytest.approx(0.9)
    assert result.miss_reason.tolist() == [
        matching.FOUND,
        matching.OTHER_CLASS,
        matching.LOW_SCORE,
        matching.NOT_LOCALISED,
    ]
    assert (result.precision, result.recall) == (1, 0.25)


def test_threshold_shows_equal_scores_together():
    truth = [(i, HUMAN, BALL, HOLD_BALL) for i in range(3)]
    predictions = [
        (0, HUMAN, BALL, HOLD_BALL, 0.5),
        (1, FAR, FAR, HOLD_BALL, 0.5),
        (2, FAR, FAR, HOLD_BALL, 0.25),
    ]
    result = cut(match(predictions_of(predictions), annotations_of(truth), VOCABULARY))
    assert result.threshold == 0.5
    assert result.shown.sum() == 2


def test_a_threshold_does_not_part_equal_scores():
    # Only half of the 0.5s would give F1 = 1.
    truth = [(i, HUMAN, BALL, HOLD_BALL) for i in range(2)]
    hits = [(0, HUMAN, BALL, HOLD_BALL, 0.9), (1, HUMAN, BALL, HOLD_BALL, 0.5)]
    alarms = [(2, FAR, FAR, HOLD_BALL, 0.5)] * 9
    result = cut(match(predictions_of(hits + alarms), annotations_of(truth), VOCABULARY))
    assert result.threshold == pytest.approx(0.9)


def test_of_equally_good_thresholds_the_highest_is_taken():
    # F1 is 2/3 at 0.9 and, with a false alarm and another hit more, 4/6 at 0.5.
    truth = [(i, HUMAN, BALL, HOLD_BALL) for i in range(2)]
    hit = [(i, HUMAN, BALL, HOLD_BALL, s) for i, s in ((0, 0.9), (1, 0.5))]
    alarms = [(2, FAR, FAR, HOLD_BALL, 0.75), (2, FAR, FAR, HOLD_KITE, 0.75)]
    result = cut(match(predictions_of(hit + alarms), annotations_of(truth), VOCABULARY))
    assert result.threshold == pytest.approx(0.9)


def test_worst_images_by_f1_then_misses_then_false_alarms_then_id():
    truth = [(0, HUMAN, BALL, HOLD_BALL)]
    truth += [(image, HUMAN, BALL, HOLD_BALL) for image in (1, 2, 3, 3, 5)]
    truth += [(3, HUMAN, BALL, KICK_BALL)]
    predictions = [(0, HUMAN, BALL, HOLD_BALL, 0.9), (2, FAR, FAR, HOLD_BALL, 0.9)]
    result = cut(match(predictions_of(predictions), annotations_of(truth, images=6), VOCABULARY))
    # 3 misses most, 2 has a false alarm beside its miss, 1 and 5 miss one; 4 is empty, 0 is right.
    assert result.worst_first(np.arange(6)) == [3, 2, 1, 5, 0, 4]


def reference_iou(a, b) -> float:
    if a is None or b is None:
        return float(a is b)
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (area - width * height)


def reference_found(predictions: list[tuple], truth: list[tuple]) -> set[int]:
    """Predictions that find something, by plain loops."""
    free, found = list(truth), set()
    for index in sorted(range(len(predictions)), key=lambda i: (-predictions[i][4], i)):
        image, human, object_, hoi, _ = predictions[index]
        best = None
        for row in sorted(set(free), key=truth.index):
            if row[0] != image or row[3] != hoi:
                continue
            overlap = min(reference_iou(human, row[1]), reference_iou(object_, row[2]))
            if overlap >= 0.5 and (best is None or overlap > best[0]):
                best = (overlap, row)
        if best:
            free.remove(best[1])
            found.add(index)
    return found


places = st.sampled_from([(x, 0, x + w, 10) for x in (0, 2, 4) for w in (8, 12)])
truths = st.lists(st.tuples(st.integers(0, 1), places, places, st.integers(0, 2)), max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    truths.map(lambda rows: sorted(set(rows))),
    st.lists(
        st.tuples(
            st.integers(0, 1), places, places, st.integers(0, 2), st.sampled_from([0.25, 0.5, 0.75])
        ),
        max_size=12,
    ),
)
def test_the_number_found_is_that_of_plain_loops(truth, predictions):
    # Ties of overlap may go to either row, which can change what is left for later predictions only
    # where two annotated pairs overlap a prediction equally: the reference keeps the table's order.
    matches = match(predictions_of(predictions), annotations_of(truth), VOCABULARY)
    found = {int(matches.order[place]) for place in np.flatnonzero(matches.found_row >= 0)}
    rows = matches.found_row[matches.found_row >= 0]
    assert len(set(rows.tolist())) == len(rows)
    pairs = annotations_of(truth).pairs()
    by_pair = np.argsort(pairs.pair_of_row, kind="stable").tolist()
    assert found == reference_found(predictions, [truth[row] for row in by_pair])
