from __future__ import annotations

import diagnosis_reference as reference
import numpy as np
import pytest
import vcoco_worlds as worlds
from hypothesis import given, settings
from hypothesis import strategies as st
from vcoco_worlds import (
    BOX,
    CUP,
    FAR,
    HIT_INSTR,
    HIT_OBJ,
    POINT,
    VOCABULARY,
    detection,
    hoi,
    holding,
    person,
)

from hoiclip.catalog.vocabularies import vcoco
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.evaluation.vcoco import evaluate_vcoco
from hoiclip.evaluation.vcoco_diagnosis import KINDS, diagnose_vcoco

NEAR = (0.0, 0.0, 10.0, 3.0)
NEAR_CUP = (20.0, 20.0, 30.0, 23.0)


def diagnosis(detections: list[dict], people: list[list[dict]]) -> dict:
    table = worlds.predictions(detections)
    return diagnose_vcoco(table, worlds.partition(people), VOCABULARY)


def only(result: dict, kind: str, delta: float, count: int = 1) -> None:
    """Exactly one kind of error is there, and fixing it gives `delta`."""
    assert result["count"] == {k: count if k == kind else 0 for k in KINDS}
    assert result["delta_ap"] == pytest.approx({k: delta if k == kind else 0 for k in KINDS})
    assert result["share"] == pytest.approx({k: 100 if k == kind else 0 for k in KINDS})


@pytest.mark.parametrize(
    ("wrong", "object_", "kind"),
    [
        ({"object": None}, CUP, "object"),
        ({}, None, "object"),
        ({"human": NEAR}, CUP, "human_box"),
        ({"human": NEAR, "object": None}, None, "human_box"),
        ({"object": NEAR_CUP}, CUP, "object_box"),
        ({"human": NEAR, "object": NEAR_CUP}, CUP, "both_boxes"),
        ({"hoi": hoi(HIT_OBJ)}, CUP, "verb"),
        ({"hoi": hoi(HIT_OBJ), "object": None}, None, "verb"),
    ],
)
def test_one_detection_with_one_error(wrong, object_, kind):
    result = diagnosis([detection(0.9, **wrong)], [[holding(object_)]])
    assert result["protocol"] == "vcoco"
    assert result["map"] == 0
    assert result["lost"] == 100
    only(result, kind, 100)


@pytest.mark.parametrize(
    "stray",
    [
        {"human": FAR},
        {"object": FAR},
        {"human": NEAR, "object": None},
        {"image": 1},
    ],
)
def test_background(stray):
    detections = [detection(0.9, **stray), detection(0.8, query=1)]
    result = diagnosis(detections, [[holding()], []])
    assert result["map"] == 50
    only(result, "background", 50)


def test_duplicates():
    detections = [detection(0.9), detection(0.8, query=1), detection(0.7, query=2, human=FAR)]
    result = diagnosis(detections, [[holding(), holding(box=FAR)]])
    assert result["map"] == pytest.approx(100 * (1 + 2 / 3) / 2)
    only(result, "duplicate", 100 - result["map"])


def test_missed():
    result = diagnosis([detection(0.9)], [[holding(), holding(box=FAR)]])
    only(result, "missed", 50)
    assert result["pair_recall"] == 50
    only(diagnosis([], [[holding()]]), "missed", 100)


def test_detections_of_people_without_labels_are_no_errors():
    people = [[holding(), person(box=FAR, labelled=False)]]
    result = diagnosis([detection(0.9, human=FAR, query=1), detection(0.8)], people)
    assert result["map"] == 100
    assert set(result["count"].values()) == {0}
    assert set(result["share"].values()) == {None}


def test_an_object_given_where_none_is_counts_before_the_other_role():
    # The box is that of the instrument, but the object's own role says there is none.
    people = [[person({"hit": {"hit_instr": CUP, "hit_obj": None}})]]
    result = diagnosis([detection(0.9, hoi=hoi(HIT_OBJ))], people)
    assert result["count"]["object"] == 1
    assert result["count"]["missed"] == 1


def test_a_verb_takes_a_role_that_nothing_finds():
    # `hold` is not what this person does; of its two roles, the better overlapped is found.
    actions = {"hit": {"hit_instr": CUP, "hit_obj": (20.0, 20.0, 30.0, 29.0)}}
    found = detection(0.8, hoi=hoi(HIT_INSTR))
    result = diagnosis([detection(0.9), found], [[person(actions)]])
    assert result["count"]["verb"] == 1
    assert result["count"]["missed"] == 0
    result = diagnosis([detection(0.9)], [[person(actions)]])
    assert result["delta_ap"]["verb"] == 50
    assert result["count"]["missed"] == 1


def test_the_role_that_is_left_out_is_no_matter():
    people = [[person({"hold": {"hold_obj": CUP}, "point": {"point_instr": CUP}})]]
    detections = [detection(0.9), detection(0.8, hoi=hoi(POINT), human=FAR)]
    result = diagnosis(detections, people)
    assert result["map"] == result["pair_recall"] == 100
    assert set(result["count"].values()) == {0}


@pytest.mark.parametrize("detections", [[], [detection(0.9)]])
def test_no_annotations(detections):
    for people in ([], [person()]):
        result = diagnosis(detections, [people])
        assert result["map"] is result["lost"] is result["pair_recall"] is None
        assert set(result["delta_ap"].values()) == {None}
        assert result["count"] == {k: len(detections) * (k == "background") for k in KINDS}


def compare(
    detections: list[dict],
    people: list[list[dict]],
    sizes: list[tuple[int, int]],
    vocabulary: Vocabulary,
) -> dict:
    partition = worlds.partition(people, vocabulary=vocabulary, sizes=sizes)
    table = worlds.predictions(detections, float64=True)
    found = diagnose_vcoco(table, partition, vocabulary)
    images = [{"size": s, "people": p} for s, p in zip(sizes, people, strict=True)]
    verbs = [verb.name for verb in vocabulary.verbs]
    expected = reference.of_vcoco(images, detections, verbs, vocabulary.verb_of_hoi.tolist())
    reference.assert_equal(found, expected)
    means = evaluate_vcoco(table, partition, vocabulary).metrics()["vcoco"]
    assert found["map"] == pytest.approx(means["ap_role_scenario_1"], abs=1e-9)
    return found


def compare_random(seed: int) -> None:
    detections, people, _ = worlds.random_case(seed)
    compare(detections, people, [worlds.SIZE] * len(people), VOCABULARY)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_cases_equal_the_reference(seed):
    compare_random(seed)


def test_small_chunks_give_the_same(monkeypatch):
    monkeypatch.setattr("hoiclip.evaluation.ap.matching.PAIRS_PER_CHUNK", 3)
    for seed in range(15):
        compare_random(seed)


@pytest.mark.skipif(not worlds.VCOCO_TEST.exists(), reason="V-COCO's annotations are absent")
@pytest.mark.parametrize(
    "num_images", [150, pytest.param(1500, marks=pytest.mark.slow)], ids=["sample", "more"]
)
def test_real_annotations_equal_the_reference(num_images):
    detections, people, sizes = worlds.real_case(num_images)
    found = compare(detections, people, sizes, vcoco())
    assert min(found["count"].values()) > 0
    assert min(found["delta_ap"].values()) >= 0


def test_the_order_of_the_rows_is_no_matter():
    detections, people, _ = worlds.random_case(5)
    table, partition = worlds.predictions(detections), worlds.partition(people)
    found = diagnose_vcoco(table, partition, VOCABULARY)
    turned = table.take(np.arange(len(table))[::-1])
    assert diagnose_vcoco(turned, partition, VOCABULARY) == found


def test_boxes_in_the_protocols_own_convention():
    detections, people, _ = worlds.random_case(5)
    labels = worlds.partition(people), VOCABULARY
    own = [
        d | {key: d[key] and reference.vcoco.inclusive(d[key]) for key in ("human", "object")}
        for d in detections
    ]
    expected = diagnose_vcoco(worlds.predictions(detections), *labels)
    assert diagnose_vcoco(worlds.predictions(own), *labels, boxes="protocol") == expected
    result = evaluate_vcoco(worlds.predictions(own), *labels, boxes="protocol")
    again = evaluate_vcoco(worlds.predictions(detections), *labels)
    np.testing.assert_array_equal(result.role_ap[1], again.role_ap[1])
    assert reference.vcoco.inclusive(BOX) != BOX
