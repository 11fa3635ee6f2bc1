from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import vcoco_reference as reference
import vcoco_worlds as worlds
from hypothesis import given, settings
from hypothesis import strategies as st
from vcoco_worlds import (
    BOX,
    CUP,
    FAR,
    HIT_INSTR,
    HIT_OBJ,
    HOLD,
    SIZE,
    VOCABULARY,
    detection,
    hoi,
    holding,
    partition,
    person,
    predictions,
    random_case,
)

from hoiclip.catalog.vocabularies import vcoco
from hoiclip.core import schema
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.errors import InputError
from hoiclip.evaluation.vcoco import VcocoResult, evaluate_vcoco
from hoiclip.evaluation.vcoco_truth import inclusive_truth_boxes


def evaluate(
    detections: list[dict], people: list[list[dict]], ids: list[int] | None = None
) -> VcocoResult:
    return evaluate_vcoco(predictions(detections, ids), partition(people, ids), VOCABULARY)


def role_ap(detections: list[dict], people: list[dict], role: str = "hold_obj") -> list[float]:
    result = evaluate(detections, [people])
    return [float(result.role_ap[s][result.actions.roles.index(role)]) for s in (1, 2)]


def compare_random(seed: int) -> None:
    detections, people, ids = random_case(seed)
    images = [{"size": SIZE, "people": p} for p in people]
    compare(evaluate(detections, people, ids), images, detections, VOCABULARY)


def compare(
    result: VcocoResult, images: list[dict], detections: list[dict], vocabulary: Vocabulary
) -> None:
    verbs = [verb.name for verb in vocabulary.verbs]
    expected = reference.evaluate(images, detections, verbs, vocabulary.verb_of_hoi.tolist())
    for scenario, values in zip((1, 2), expected[:2], strict=True):
        assert list(values) == list(result.actions.roles)
        np.testing.assert_allclose(
            result.role_ap[scenario], list(values.values()), rtol=0, atol=1e-9
        )
    assert list(expected[2]) == list(result.actions.names)
    np.testing.assert_allclose(result.agent_ap, list(expected[2].values()), rtol=0, atol=1e-9)
    means = {
        "ap_role_scenario_1": reference.mean(expected[0], ["point_instr"]),
        "ap_role_scenario_2": reference.mean(expected[1], ["point_instr"]),
        "ap_role_scenario_1_25": reference.mean(expected[0]),
        "ap_role_scenario_2_25": reference.mean(expected[1]),
        "ap_agent": reference.mean(expected[2]),
    }
    values = result.metrics()["vcoco"]
    assert list(values) == list(means)
    for key, value in means.items():
        assert values[key] == pytest.approx(value, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_cases_equal_the_reference(seed):
    compare_random(seed)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_outside_the_vocabulary_is_to_be_found_too(seed):
    """Rows that are no HOI class count as those that are: the measure looks at verbs alone."""
    detections, people, ids = random_case(seed)
    whole = partition(people, ids)
    rows = whole.interactions
    moved = np.random.default_rng(seed).random(len(rows)) < 0.4
    split = replace(
        whole,
        interactions=rows.filter(pa.array(~moved)),
        outside_vocabulary=rows.filter(pa.array(moved)).select(schema.OUTSIDE_VOCABULARY.names),
    )
    table = predictions(detections, ids)
    expected = evaluate_vcoco(table, whole, VOCABULARY)
    found = evaluate_vcoco(table, split, VOCABULARY)
    assert found.metrics() == expected.metrics()
    np.testing.assert_array_equal(found.role_positives, expected.role_positives)


def test_small_chunks_give_the_same(monkeypatch):
    monkeypatch.setattr("hoiclip.evaluation.ap.matching.PAIRS_PER_CHUNK", 3)
    for seed in range(20):
        compare_random(seed)


@pytest.mark.skipif(not worlds.VCOCO_TEST.exists(), reason="V-COCO's annotations are absent")
@pytest.mark.parametrize(
    "num_images", [150, pytest.param(None, marks=pytest.mark.slow)], ids=["sample", "all"]
)
def test_real_annotations_equal_the_reference(num_images):
    detections, people, sizes = worlds.real_case(num_images)
    annotations = partition(people, vocabulary=vcoco(), sizes=sizes)
    table = predictions(detections, float64=True)
    result = evaluate_vcoco(table, annotations, vcoco())
    images = [{"size": s, "people": p} for s, p in zip(sizes, people, strict=True)]
    assert 5 < result.metrics()["vcoco"]["ap_role_scenario_1"] < 80
    compare(result, images, detections, vcoco())


def test_the_vocabulary_has_25_roles_24_of_them_published_and_26_actions():
    result = evaluate_vcoco(predictions([]), partition([[]]), vcoco())
    assert len(result.actions.roles) == 25
    assert len(result.actions.names) == 26
    assert "talk_on_phone" in result.actions.names
    assert "point_instr" in result.actions.roles
    assert set(result.metrics()["vcoco"].values()) == {None}


def test_nothing_at_all():
    result = evaluate([], [])
    assert set(result.metrics()["vcoco"].values()) == {None}
    assert np.isnan(result.agent_ap).all()


def test_people_without_predictions_count_zero():
    assert evaluate([], [[holding()]]).metrics()["vcoco"] == {
        "ap_role_scenario_1": 0.0,
        "ap_role_scenario_2": 0.0,
        "ap_role_scenario_1_25": 0.0,
        "ap_role_scenario_2_25": 0.0,
        "ap_agent": 0.0,
    }


def test_hand_computed_area():
    # Right, wrong, right of three: 1/3 at precision 1, 1/3 at 2/3.
    people = [holding(), holding(box=FAR), holding(box=(30.0, 0.0, 40.0, 10.0))]
    detections = [
        detection(0.9),
        detection(0.8, query=1, object=FAR),
        detection(0.7, query=2, human=FAR),
    ]
    assert role_ap(detections, people) == pytest.approx([5 / 9, 5 / 9], abs=1e-12)


@pytest.mark.parametrize(
    ("object_", "truth", "expected"),
    [
        (CUP, CUP, [1, 1]),
        (None, CUP, [0, 0]),
        (FAR, CUP, [0, 0]),
        (CUP, None, [0, 1]),
        (None, None, [1, 1]),
    ],
)
def test_the_scenarios(object_, truth, expected):
    assert role_ap([detection(0.9, object=object_)], [holding(truth)]) == expected


def test_both_roles_have_the_positives_of_their_action():
    people = [person({"hit": {"hit_instr": CUP, "hit_obj": None}})]
    detections = [detection(0.9, hoi=hoi(HIT_INSTR)), detection(0.8, hoi=hoi(HIT_OBJ))]
    assert role_ap(detections, people, "hit_instr") == [1, 1]
    assert role_ap(detections, people, "hit_obj") == [0, 1]
    result = evaluate(detections, [people])
    assert result.role_positives.tolist() == [0, 1, 1, 0]
    assert result.agent_ap[result.actions.names.index("hit")] == 1


def test_one_of_several_objects_of_a_role_is_enough():
    for object_ in (CUP, FAR):
        again = detection(0.8, query=1, object=CUP)
        people = [holding([CUP, FAR])]
        assert role_ap([detection(0.9, object=object_), again], people) == [1, 1]
    assert evaluate([], [people]).role_positives.tolist() == [1, 0, 0, 0]


def test_a_role_without_a_row_has_no_object():
    people = [person({"hit": {"hit_instr": CUP}})]
    detections = [detection(0.9, hoi=hoi(HIT_OBJ), object=None)]
    assert role_ap(detections, people, "hit_obj") == [1, 1]


def test_a_query_gives_one_detection_per_role_with_its_best_score():
    # The query's second class must not count as a false alarm ahead of the other query.
    two = [holding(), holding(box=FAR)]
    query = [detection(0.9), detection(0.8, hoi=hoi(HOLD, 0))]
    assert role_ap([*query, detection(0.7, query=1, human=FAR)], two) == [1, 1]
    # Its score is the best one: 0.9, ahead of the wrong detection at 0.85.
    low = [detection(0.1), detection(0.9, hoi=hoi(HOLD, 0))]
    wrong = detection(0.85, query=1, human=FAR)
    assert role_ap([*low, wrong], [holding()]) == [1, 1]


def test_of_equally_scored_classes_of_a_query_the_first_gives_the_object():
    first, second = detection(0.9, hoi=hoi(HOLD, 0), object=FAR), detection(0.9)
    for rows in ([first, second], [second, first]):
        assert role_ap(rows, [holding()]) == [0, 0]
        assert role_ap(rows, [holding(FAR)]) == [1, 1]


@pytest.mark.parametrize(("bottom", "expected"), [(5.0, 1.0), (4.0, 0.0)])
def test_iou_of_exactly_one_half_is_enough(bottom, expected):
    box = (0.0, 0.0, 10.0, bottom)
    assert role_ap([detection(0.9, human=box)], [holding()]) == [expected] * 2
    cup = (20.0, 20.0, 30.0, 20.0 + bottom)
    assert role_ap([detection(0.9, object=cup)], [holding()]) == [expected] * 2


def test_the_person_overlapped_most_decides_whatever_it_does():
    near = (0.0, 0.0, 10.0, 9.0)
    assert role_ap([detection(0.9)], [person(), holding(box=near)]) == [0, 0]
    assert role_ap([detection(0.9, human=near)], [person(), holding(box=near)]) == [1, 1]


def test_a_person_is_found_once_and_the_best_scored_right_detection_finds_it():
    again = [detection(0.9, object=FAR), detection(0.8, query=1), detection(0.7, query=2)]
    assert role_ap(again, [holding()]) == [0.5, 0.5]
    result = evaluate(again, [[holding()]])
    assert result.agent_ap[result.actions.names.index("hold")] == 1


def test_detections_of_people_without_labels_are_not_counted():
    crowd = person(box=FAR, labelled=False)
    stray = detection(0.9, query=1, human=FAR)
    nobody = detection(0.9, query=1, human=(60.0, 40.0, 64.0, 48.0))
    right = detection(0.8)
    for people in ([holding(), crowd], [crowd, holding()], [holding(), crowd | {"listed": True}]):
        assert role_ap([stray, right], people) == [1, 1]
        # It overlaps all people equally, and so belongs to the first.
        expected = 1 if people[0] is crowd else 0.5
        assert role_ap([nobody, right], people) == [expected] * 2
    assert role_ap([stray, right], [holding(), person(box=FAR)]) == [0.5, 0.5]


def test_of_equally_overlapped_people_the_first_counts_labelled_or_not():
    upper, lower = (0.0, 0.0, 10.0, 8.0), (0.0, 2.0, 10.0, 10.0)
    stranger = person(box=upper, labelled=False)
    between, exact = detection(0.9), detection(0.8, query=1, human=lower)
    labelled = holding(box=lower)
    assert role_ap([between], [labelled, stranger]) == [1, 1]
    assert role_ap([between], [stranger, labelled]) == [0, 0]
    assert role_ap([between, exact], [stranger, labelled]) == [1, 1]
    # Not counted, rather than wrong.
    assert role_ap([detection(0.9, object=FAR), exact], [stranger, labelled]) == [1, 1]


def test_people_whose_place_is_not_known_come_first_but_not_for_who_overlaps_nobody():
    upper, lower = (0.0, 0.0, 10.0, 8.0), (0.0, 2.0, 10.0, 10.0)
    annotations = partition([[holding(box=lower), person(box=upper, labelled=False)]])
    people = annotations.unlabelled_people.select(schema.UNLABELLED.names)
    annotations = replace(annotations, unlabelled_people=people)
    exact = detection(0.8, query=1, human=lower)
    for human, expected in ((BOX, 1), ((60.0, 40.0, 64.0, 48.0), 0.5)):
        table = predictions([detection(0.9, human=human), exact])
        result = evaluate_vcoco(table, annotations, VOCABULARY)
        assert result.role_ap[1][result.actions.roles.index("hold_obj")] == expected


def test_images_without_people_count():
    detections = [detection(0.9, image=1), detection(0.8)]
    result = evaluate(detections, [[holding()], []])
    assert result.metrics()["vcoco"]["ap_role_scenario_1"] == 50


def test_point_is_left_out_of_one_mean():
    people = [person({"hold": {"hold_obj": CUP}, "point": {"point_instr": None}})]
    result = evaluate([detection(0.9)], [people])
    values = result.metrics()["vcoco"]
    assert values["ap_role_scenario_1"] == 100
    assert values["ap_role_scenario_1_25"] == 50
    assert values["ap_agent"] == 50


def test_rows_per_role():
    rows = evaluate([detection(0.9, object=FAR)], [[holding(None)]]).per_role()
    assert [row["role"] for row in rows] == ["hold_obj", "hit_instr", "hit_obj", "point_instr"]
    assert rows[0] == {
        "role": "hold_obj",
        "positives": 1,
        "ap_scenario_1": 0.0,
        "ap_scenario_2": 100.0,
    }
    assert rows[1]["ap_scenario_2"] is None


def test_truth_boxes_end_at_the_last_pixel_of_the_image():
    boxes = np.array([[1, 2, 11, 12], [-3, 5, 70, 60], [4, 4, 4.5, 9], [math.nan] * 4])
    sizes = np.tile(SIZE, (4, 1))
    expected = [[1, 2, 10, 11], [0, 5, 63, 47], [4, 4, 4, 8], [math.nan] * 4]
    np.testing.assert_array_equal(inclusive_truth_boxes(boxes, sizes), expected)


def test_equal_scores_are_taken_by_image_then_query():
    wrong, right = {"human": FAR}, {}
    for first, second, expected in ((wrong, right, 0.5), (right, wrong, 1)):
        detections = [detection(0.5, **first), detection(0.5, query=1, **second)]
        assert role_ap(detections, [holding()])[0] == expected
        assert role_ap(detections[::-1], [holding()])[0] == expected


def test_the_human_of_an_interaction_is_a_person():
    annotations = partition([[holding()]])
    instances = annotations.instances.set_column(2, "object", pa.array([1, 1], pa.int32()))
    annotations = replace(annotations, instances=instances)
    with pytest.raises(InputError, match=r"interactions, row 0, human: 0 is not a person"):
        evaluate_vcoco(predictions([]), annotations, VOCABULARY)


def test_bad_predictions_are_named():
    table = predictions([detection(math.nan)])
    with pytest.raises(InputError, match=r"predictions, row 0, score: nan is not finite"):
        evaluate_vcoco(table, partition([[holding()]]), VOCABULARY)
