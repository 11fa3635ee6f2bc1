from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
import vcoco_reference as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from hoiclip import schema
from hoiclip.data.readers.vocabularies import vcoco
from hoiclip.errors import InputError
from hoiclip.evaluation.vcoco import VcocoResult, evaluate_vcoco
from hoiclip.evaluation.vcoco_truth import inclusive_truth_boxes
from hoiclip.vocabulary import Hoi, Verb, Vocabulary

VERBS = ("hold_obj", "stand", "hit_instr", "hit_obj", "point_instr")
HOLD, STAND, HIT_INSTR, HIT_OBJ, POINT = range(5)
VOCABULARY = Vocabulary(
    ("person", "cup"),
    tuple(Verb(name, None) for name in VERBS),
    tuple(Hoi(v, o) for v in range(5) for o in ((None,) if v == STAND else (0, 1, None))),
)
SIZE = (64, 48)
BOX = (0.0, 0.0, 10.0, 10.0)
CUP = (20.0, 20.0, 30.0, 30.0)
FAR = (40.0, 30.0, 50.0, 40.0)


def hoi(verb: int, object_: int | None = 1) -> int:
    return VOCABULARY.hoi_ids[verb, object_]


def person(actions: dict | None = None, box: tuple = BOX, labelled: bool = True) -> dict:
    return {"box": box, "labelled": labelled, "actions": actions or {}}


def holding(object_: tuple | None = CUP, **kwargs) -> dict:
    return person({"hold": {"hold_obj": object_}}, **kwargs)


def detection(score: float, **kwargs) -> dict:
    return {
        "image": 0, "query": 0, "hoi": hoi(HOLD), "human": BOX, "object": CUP, "score": score,
    } | kwargs  # fmt: skip


def tables(people_of_images: list[list[dict]], ids: list[int] | None = None) -> dict:
    """The partition's tables; role objects are cups, unlabelled people with `listed` instances."""
    ids = list(range(len(people_of_images))) if ids is None else ids
    instances, interactions, other = [], [], []
    for image_id, people in zip(ids, people_of_images, strict=True):
        count = 0

        def add(box: tuple, object_: int, image_id: int = image_id) -> int:
            nonlocal count
            instances.append(
                {"image_id": image_id, "instance": count, "object": object_, "box_xyxy": box}
            )
            count += 1
            return count - 1

        for p in people:
            if not p["labelled"]:
                other.append({"image_id": image_id, "box_xyxy": p["box"]})
                if not p.get("listed"):
                    continue
            human = add(p["box"], 0)
            for action, objects in p["actions"].items():
                for verb, name in enumerate(VERBS):
                    if name == action or name in objects:
                        box = objects.get(name)
                        object_ = None if box is None else add(box, 1)
                        interactions.append(
                            {
                                "image_id": image_id, "human": human, "object_instance": object_,
                                "verb": verb, "hoi": hoi(verb, None if box is None else 1),
                            }
                        )  # fmt: skip
    images = [
        {"image_id": i, "file_name": f"{i}.jpg", "width": SIZE[0], "height": SIZE[1]} for i in ids
    ]
    other_schema = pa.schema([schema.INSTANCES.field(n) for n in ("image_id", "box_xyxy")])
    return {
        "images": pa.Table.from_pylist(images, schema=schema.IMAGES),
        "instances": pa.Table.from_pylist(instances, schema=schema.INSTANCES),
        "interactions": pa.Table.from_pylist(interactions, schema=schema.INTERACTIONS),
        "unannotated": pa.Table.from_pylist(other, schema=other_schema),
    }


def predictions(detections: list[dict], ids: list[int] | None = None) -> pa.Table:
    rows = [
        {
            "image_id": d["image"] if ids is None else ids[d["image"]],
            "query": d["query"], "hoi": d["hoi"], "human_box_xyxy": d["human"],
            "object_box_xyxy": d["object"], "score": d["score"],
            "hoi_score": 0.0, "object_score": 0.0, "clip_score": 0.0,
        }
        for d in detections
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schema.PREDICTIONS)


def evaluate(
    detections: list[dict], people: list[list[dict]], ids: list[int] | None = None
) -> VcocoResult:
    return evaluate_vcoco(
        predictions(detections, ids), vocabulary=VOCABULARY, **tables(people, ids)
    )


def role_ap(detections: list[dict], people: list[dict], role: str = "hold_obj") -> list[float]:
    result = evaluate(detections, [people])
    return [float(result.role_ap[s][result.roles.index(role)]) for s in (1, 2)]


def random_case(seed: int) -> tuple[list[dict], list[list[dict]], list[int]]:
    """Boxes from a coarse grid that also leave the image, few scores, images without people."""
    rng = np.random.default_rng(seed)
    pool = [
        tuple(float(v) for v in (x - 2, y - 2, x - 2 + w, y - 2 + h))
        for x, y, w, h in rng.choice([1, 2, 3, 4, 6, 8], (7, 4))
    ] + [(55.0, 40.0, 70.0, 60.0), (57.0, 40.0, 64.0, 48.0)]

    def box() -> tuple:
        return pool[rng.integers(len(pool))]

    def role() -> tuple | None:
        return box() if rng.random() < 0.6 else None

    choices = {
        "hold": lambda: {"hold_obj": role()},
        "stand": dict,
        "hit": lambda: {"hit_instr": role(), "hit_obj": role()},
        "point": lambda: {"point_instr": role()},
    }
    num_images = int(rng.integers(1, 6))
    people = [
        [
            person({a: make() for a, make in choices.items() if rng.random() < 0.5}, box())
            if rng.random() < 0.8
            else person(box=box(), labelled=False) | {"listed": rng.random() < 0.5}
            for _ in range(rng.integers(0, 5))
        ]
        for _ in range(num_images)
    ]
    detections = []
    for image in range(num_images):
        for query in range(int(rng.integers(0, 8))):
            human, object_ = box(), role()
            detections += [
                {
                    "image": image, "query": query, "hoi": int(h), "human": human,
                    "object": role() if rng.random() < 0.2 else object_,
                    "score": float(rng.integers(1, 5)) / 8,
                }
                for h in rng.choice(VOCABULARY.num_hois, rng.integers(0, 8), replace=False)
            ]  # fmt: skip
    order = rng.permutation(len(detections))
    ids = [int(v) for v in rng.permutation(1000)[:num_images]]
    return [detections[i] for i in order], people, ids


def compare(seed: int) -> None:
    detections, people, ids = random_case(seed)
    result = evaluate(detections, people, ids)
    expected = reference.evaluate(
        [{"size": SIZE, "people": p} for p in people],
        detections,
        VERBS,
        VOCABULARY.verb_of_hoi.tolist(),
    )
    for scenario, values in zip((1, 2), expected[:2], strict=True):
        assert list(values) == list(result.roles)
        np.testing.assert_allclose(
            result.role_ap[scenario], list(values.values()), rtol=0, atol=1e-9
        )
    assert list(expected[2]) == list(result.actions)
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
    compare(seed)


def test_small_chunks_give_the_same(monkeypatch):
    monkeypatch.setattr("hoiclip.evaluation.matching.PAIRS_PER_CHUNK", 3)
    for seed in range(20):
        compare(seed)


def test_the_vocabulary_has_25_roles_24_of_them_published_and_26_actions():
    images = tables([[]])
    result = evaluate_vcoco(predictions([]), vocabulary=vcoco(), **images)
    assert len(result.roles) == 25
    assert len(result.actions) == 26
    assert "talk_on_phone" in result.actions
    assert "point_instr" in result.roles
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
    assert result.agent_ap[result.actions.index("hit")] == 1


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
    assert result.agent_ap[result.actions.index("hold")] == 1


def test_detections_of_people_without_labels_are_not_counted():
    crowd = person(box=FAR, labelled=False)
    stray = detection(0.9, query=1, human=FAR)
    nobody = detection(0.9, query=1, human=(60.0, 40.0, 64.0, 48.0))
    right = detection(0.8)
    for people in ([holding(), crowd], [crowd, holding()], [holding(), crowd | {"listed": True}]):
        assert role_ap([stray, right], people) == [1, 1]
        assert role_ap([nobody, right], people) == [0.5, 0.5]
    assert role_ap([stray, right], [holding(), person(box=FAR)]) == [0.5, 0.5]


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
    partition = tables([[holding()]])
    objects = pa.array([1, 1], pa.int32())
    partition["instances"] = partition["instances"].set_column(2, "object", objects)
    with pytest.raises(InputError, match=r"interactions, row 0, human: 0 is not a person"):
        evaluate_vcoco(predictions([]), vocabulary=VOCABULARY, **partition)


def test_bad_predictions_are_named():
    table = predictions([detection(math.nan)])
    with pytest.raises(InputError, match=r"predictions, row 0, score: nan is not finite"):
        evaluate_vcoco(table, vocabulary=VOCABULARY, **tables([[holding()]]))
