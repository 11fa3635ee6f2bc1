import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoiclip.core import schema
from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.formats.annotations.assemble import assemble
from hoiclip.formats.annotations.filters import clip_to_image
from hoiclip.formats.annotations.findings import ReadReport
from hoiclip.formats.annotations.source_rows import (
    NO_OBJECT,
    UNKNOWN,
    SourceBoxes,
    SourceInteractions,
)

WIDTH, HEIGHT = 64, 48
VOCABULARY = Vocabulary(
    ("person", "cup"),
    (Verb("hold", "holding", "holding"), Verb("see", "seeing")),
    (Hoi(0, 1), Hoi(1, 1), Hoi(1, 0), Hoi(0, None)),
)


def slow_rule(box, width, height):
    """(kind of finding or None, box that stays or None), corner by corner."""
    if any(math.isnan(v) or math.isinf(v) for v in box):
        return "box_not_finite", None
    if any(v >= 2**31 or v <= -(2**31) for v in box):
        return "box_absurd", None
    x1, y1, x2, y2 = box
    if x2 <= x1 or y2 <= y1:
        return "box_degenerate", None
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        return "box_outside_image", None
    kept = (max(x1, 0), max(y1, 0), min(x2, width), min(y2, height))
    return None if kept == box else "box_clipped", kept


EDGES = [0.0, -0.0, -1.0, 5e-324, 47.5, 48.0, 63.0, 64.0, 65.0]
HUGE = [2.0**31 - 1, 2.0**31, -(2.0**31), 1e308, -1e308, math.nan, math.inf, -math.inf]
NUMBERS = st.one_of(
    st.sampled_from(EDGES),
    st.sampled_from(HUGE),
    st.integers(-10, 80).map(float),
    st.floats(-100, 100),
    st.floats(),
)
BOXES = st.lists(st.tuples(*[NUMBERS] * 4), max_size=6)


@settings(max_examples=400, deadline=None)
@given(BOXES)
def test_the_rule_equals_the_slow_reference(boxes):
    sizes = np.tile([WIDTH, HEIGHT], (len(boxes), 1))
    made = clip_to_image(np.array(boxes, np.float64).reshape(-1, 4), sizes)
    assert len(made.boxes_xyxy) == len(made.usable) == len(boxes)
    for index, box in enumerate(boxes):
        kind, kept = slow_rule(box, WIDTH, HEIGHT)
        found = [name for name, true_of in made.findings.items() if true_of[index]]
        assert found == ([kind] if kind else [])
        assert made.usable[index] == (kept is not None)
        if kept is not None:
            assert tuple(made.boxes_xyxy[index].tolist()) == kept


@pytest.mark.parametrize(
    ("box", "kind", "kept"),
    [
        ((0, 0, 64, 48), None, (0, 0, 64, 48)),
        ((-5, 3, 10, 60), "box_clipped", (0, 3, 10, 48)),
        ((-1000, -1000, 1000, 1000), "box_clipped", (0, 0, 64, 48)),
        ((63.5, 47.5, 70, 50), "box_clipped", (63.5, 47.5, 64, 48)),
        ((64, 0, 70, 48), "box_outside_image", None),
        ((-5, -5, 0, 10), "box_outside_image", None),
        ((5, 5, 5, 9), "box_degenerate", None),
        ((9, 5, 5, 9), "box_degenerate", None),
        ((0, 0, 1e300, 48), "box_absurd", None),
        ((0, 0, math.nan, 48), "box_not_finite", None),
        ((-math.inf, 0, 10, 48), "box_not_finite", None),
    ],
)
def test_the_rule_by_hand(box, kind, kept):
    made = clip_to_image(np.array([box], np.float64), np.array([[WIDTH, HEIGHT]]))
    assert [k for k, found in made.findings.items() if found[0]] == ([kind] if kind else [])
    assert made.usable.tolist() == [kept is not None]
    assert kept is None or made.boxes_xyxy.tolist() == [list(kept)]


def test_each_box_is_held_against_its_own_image():
    boxes = np.array([[0, 0, 50, 50]] * 2, np.float64)
    made = clip_to_image(boxes, np.array([[100, 20], [20, 100]]))
    assert made.boxes_xyxy.tolist() == [[0, 0, 50, 20], [0, 0, 20, 50]]
    assert boxes.tolist() == [[0, 0, 50, 50]] * 2


IMAGES = pa.table(
    {"image_id": [7], "file_name": ["a.jpg"], "width": [WIDTH], "height": [HEIGHT]}
).cast(schema.IMAGES)


def build(boxes, interactions, *, drop_unknown=False):
    """Tables and report of one image; boxes as (class, box), interactions as (human, object, verb).

    Boxes and interactions are rows 0, 1, ... of the source.
    """
    report = ReadReport(Path("a.json"))
    values = np.array([box for _, box in boxes], np.float64).reshape(-1, 4)
    source_boxes = SourceBoxes(
        np.zeros(len(boxes), np.int64),
        np.array([object_ for object_, _ in boxes], np.int64),
        values,
        np.arange(len(boxes)),
    )
    human, object_, verb = np.array(interactions, np.int64).reshape(-1, 3).T
    rows = np.arange(len(human))
    source_interactions = SourceInteractions(
        human, object_, verb, np.full(len(human), UNKNOWN), rows
    )
    tables = assemble(
        IMAGES, source_boxes, source_interactions, VOCABULARY, report, drop_unknown=drop_unknown
    )
    tables.check("made", VOCABULARY)
    return tables, report


def test_boxes_are_cut_before_equal_ones_become_one():
    boxes = [(0, (-5, 0, 10, 10)), (0, (0, 0, 10, 10)), (1, (60, 0, 70, 10)), (1, (60, 0, 65, 10))]
    tables, report = build(boxes, [(0, 2, 0), (1, 3, 0)])
    assert tables.instances.to_pylist() == [
        {"image_id": 7, "instance": 0, "object": 0, "box_xyxy": [0.0, 0.0, 10.0, 10.0]},
        {"image_id": 7, "instance": 1, "object": 1, "box_xyxy": [60.0, 0.0, 64.0, 10.0]},
    ]
    assert tables.interactions.num_rows == 1
    assert report.table().select(["row", "kind", "kept", "value"]).to_pylist() == [
        {"row": 0, "kind": "box_clipped", "kept": True, "value": '"[-5.0, 0.0, 10.0, 10.0]"'},
        {"row": 2, "kind": "box_clipped", "kept": True, "value": '"[60.0, 0.0, 70.0, 10.0]"'},
        {"row": 3, "kind": "box_clipped", "kept": True, "value": '"[60.0, 0.0, 65.0, 10.0]"'},
        {"row": 1, "kind": "pair_repeated", "kept": False, "value": '"hold cup"'},
    ]


def test_a_refused_box_takes_its_interactions_along():
    boxes = [(0, (0, 0, 10, 10)), (1, (90, 0, 99, 10)), (1, (0, 0, 5, 5)), (0, (0, 0, 1e12, 9))]
    tables, report = build(boxes, [(0, 1, 0), (0, 2, 0), (3, 2, 1), (3, NO_OBJECT, 0)])
    assert tables.instances.num_rows == 2
    assert tables.interactions.num_rows == 1
    assert report.counts() == {
        "box_absurd": 1,
        "box_outside_image": 1,
        "interaction_of_bad_box": 3,
    }
    assert not any(report.table()["kept"].to_pylist())


def test_a_box_that_one_row_states_twice_is_one_finding():
    report = ReadReport(Path("a.json"))
    nan = (0.0, 0.0, math.nan, 1.0)
    values = np.array([nan, nan, (-1, 0, 5, 5), (-1, 0, 5, 5), (-1, 0, 5, 5)], np.float64)
    zeros = np.zeros(5, np.int64)
    boxes = SourceBoxes(zeros, np.array([0, 0, 0, 0, 1]), values, np.array([3, 3, 3, 4, 4]))
    none = SourceInteractions(*np.zeros((5, 0), np.int64))
    assemble(IMAGES, boxes, none, VOCABULARY, report, drop_unknown=False)
    told = report.table().select(["row", "kind"]).to_pylist()
    assert [tuple(finding.values()) for finding in told] == [
        (3, "box_not_finite"),
        (3, "box_clipped"),
        (4, "box_clipped"),
        (4, "box_clipped"),
    ]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.tuples(*[NUMBERS] * 4)), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 5), st.integers(0, 1)), max_size=8),
)
def test_tables_equal_sets_built_box_by_box(boxes, interactions):
    interactions = [
        (h % len(boxes), NO_OBJECT if o < 0 else o % len(boxes), v) for h, o, v in interactions
    ]
    tables, report = build(boxes, interactions, drop_unknown=True)
    kept = [slow_rule(box, WIDTH, HEIGHT)[1] for _, box in boxes]
    expected, outside = set(), set()
    for human, object_, verb in interactions:
        other = None if object_ == NO_OBJECT else boxes[object_][0]
        hoi = VOCABULARY.hoi_ids.get((verb, other))
        whole = kept[human] and (object_ == NO_OBJECT or kept[object_])
        if whole and boxes[human][0] == 0:
            pair = (kept[human], None if object_ == NO_OBJECT else kept[object_])
            (outside if hoi is None else expected).add((*pair, verb if hoi is None else hoi))
    instances = [tuple(row["box_xyxy"]) for row in tables.instances.to_pylist()]
    empty = schema.OUTSIDE_VOCABULARY.empty_table()

    def described(table, key):
        return [
            (
                instances[row["human"]],
                None if row["object_instance"] is None else instances[row["object_instance"]],
                row[key],
            )
            for row in table.to_pylist()
        ]

    left_out = described(tables.outside_vocabulary or empty, "verb")
    assert len(left_out) == len(set(left_out))
    assert set(left_out) == outside
    made = described(tables.interactions, "hoi")
    assert len(made) == len(set(made))
    assert set(made) == expected
    classes = tables.instances["object"].to_pylist()
    wanted = {(o, box) for (o, _), box in zip(boxes, kept, strict=True) if box}
    assert sorted(zip(classes, instances, strict=True)) == sorted(wanted)
    interaction_kinds = {"interaction_of_bad_box", "human_is_not_a_person", "pair_repeated"}
    lost = sum(
        count
        for kind, count in report.counts().items()
        if kind in interaction_kinds | {"hoi_outside_vocabulary"}
    )
    assert len(made) + lost == len(interactions)
