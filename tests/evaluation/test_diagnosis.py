from __future__ import annotations

import diagnosis_reference as reference
import hico_worlds as worlds
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoiclip.data.annotations import Annotations
from hoiclip.evaluation.ap.protocols import PROTOCOLS
from hoiclip.evaluation.diagnosis import KINDS, diagnose
from hoiclip.evaluation.hico import evaluate_hico
from hoiclip.evaluation.outputs import metrics

NAMES = sorted(PROTOCOLS)
BOX = (0.0, 0.0, 10.0, 10.0)
NEAR = (0.0, 0.0, 10.0, 3.0)
FAR = (50.0, 50.0, 60.0, 60.0)

# Of `small_vocabulary`: verb and object of the classes used here.
HOLD_PERSON, RIDE_PERSON, HOLD_CUP, RIDE_CUP = 0, 1, 3, 4


def diagnosis(
    detections: list[dict], truths: list[dict], protocol: str = "hico", num_images: int = 1
) -> dict:
    vocabulary = worlds.small_vocabulary()
    rows = [
        {"query": q, "human": BOX, "object": BOX, "hoi": HOLD_CUP, "image": 0, **d}
        for q, d in enumerate(detections)
    ]
    truths = [{"human": BOX, "object": BOX, "hoi": HOLD_CUP, "image": 0, **t} for t in truths]
    tables = worlds.partition(truths, list(range(num_images)), vocabulary)
    predictions = worlds.predictions_table(rows, tables["images"])
    return diagnose(predictions, Annotations(**tables), vocabulary, PROTOCOLS[protocol])


def only(result: dict, kind: str, delta: float, count: int = 1) -> None:
    """Exactly one kind of error is there, and fixing it gives `delta`."""
    assert result["count"] == {k: count if k == kind else 0 for k in KINDS}
    assert result["delta_ap"] == pytest.approx({k: delta if k == kind else 0 for k in KINDS})
    assert result["share"] == pytest.approx({k: 100 if k == kind else 0 for k in KINDS})


@pytest.mark.parametrize("protocol", NAMES)
@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"hoi": RIDE_CUP}, "verb"),
        ({"hoi": HOLD_PERSON}, "object"),
        ({"hoi": RIDE_PERSON}, "verb_and_object"),
        ({"human": NEAR}, "human_box"),
        ({"object": NEAR}, "object_box"),
        ({"human": NEAR, "object": NEAR}, "both_boxes"),
    ],
)
def test_one_detection_with_one_error(wrong, kind, protocol):
    result = diagnosis([{"score": 0.9, **wrong}], [{}], protocol)
    assert result["map"] == 0
    assert result["lost"] == 100
    only(result, kind, 100)


@pytest.mark.parametrize("protocol", NAMES)
def test_duplicates(protocol):
    # The duplicate stands between the two right ones: precision 2/3 above a recall of 1/2.
    result = diagnosis(
        [{"score": 0.9}, {"score": 0.8}, {"score": 0.7, "image": 1}],
        [{}, {"image": 1}],
        protocol,
        num_images=2,
    )
    only(result, "duplicate", 100 - result["map"])
    assert result["map"] == pytest.approx(100 * (6 + 5 * 2 / 3) / 11)


@pytest.mark.parametrize("protocol", NAMES)
@pytest.mark.parametrize(
    "stray", [{"image": 1}, {"human": FAR}, {"human": FAR, "object": FAR}, {"object": FAR}]
)
def test_background(stray, protocol):
    result = diagnosis([{"score": 0.9, **stray}, {"score": 0.8}], [{}], protocol, num_images=2)
    assert result["map"] == 50
    only(result, "background", 50)


@pytest.mark.parametrize("protocol", NAMES)
def test_missed(protocol):
    result = diagnosis([{"score": 0.9}], [{}, {"object": FAR}], protocol)
    only(result, "missed", 100 * 5 / 11)
    assert result["pair_recall"] == 50
    only(diagnosis([], [{}], protocol), "missed", 100)


@pytest.mark.parametrize("protocol", NAMES)
def test_nothing_wrong(protocol):
    result = diagnosis([{"score": 0.9}], [{}], protocol)
    assert result["map"] == 100
    assert result["pair_recall"] == 100
    assert set(result["count"].values()) == {0}
    assert set(result["delta_ap"].values()) == {0}
    assert set(result["share"].values()) == {None}


@pytest.mark.parametrize("detections", [[], [{"score": 0.9}]])
def test_no_annotations(detections):
    result = diagnosis(detections, [])
    assert result["map"] is result["lost"] is result["pair_recall"] is None
    assert set(result["delta_ap"].values()) == {None}
    assert set(result["share"].values()) == {None}
    assert result["count"] == {k: len(detections) if k == "background" else 0 for k in KINDS}


def test_an_overlap_below_a_tenth_is_background():
    result = diagnosis([{"score": 0.9, "human": (0.0, 0.0, 10.0, 0.9)}], [{}], "pocket")
    assert result["count"]["background"] == result["count"]["missed"] == 1
    result = diagnosis([{"score": 0.9, "human": (0.0, 0.0, 10.0, 1.0)}], [{}], "pocket")
    assert result["count"]["human_box"] == 1


def test_the_kind_is_the_first_that_fits():
    # Boxes of the first pair with another verb, near the second pair of the own class.
    result = diagnosis(
        [{"score": 0.9, "hoi": RIDE_CUP}], [{}, {"hoi": RIDE_CUP, "human": NEAR}], "pocket"
    )
    assert result["count"]["verb"] == 1
    assert result["count"]["human_box"] == 0


def test_fixing_several_for_one_pair_keeps_the_best_scored():
    wrong = [{"score": 0.9, "human": NEAR}, {"score": 0.8, "human": NEAR}]
    only(diagnosis(wrong, [{}]), "human_box", 100, count=2)
    # The right detection comes second: fixing lets the first find the pair and removes it.
    result = diagnosis([{"score": 0.9, "human": NEAR}, {"score": 0.8}], [{}])
    assert result["map"] == 50
    only(result, "human_box", 50)


def test_a_fixed_class_is_removed_from_its_own():
    # Ahead of the right detection of `ride cup`, a wrong verb: fixing helps both classes.
    detections = [{"score": 0.9, "hoi": RIDE_CUP}, {"score": 0.8, "hoi": RIDE_CUP, "image": 1}]
    result = diagnosis(detections, [{}, {"image": 1, "hoi": RIDE_CUP}], num_images=2)
    assert result["map"] == 25
    only(result, "verb", 75)


def test_equally_scored_classes_of_a_query_are_taken_in_their_order():
    # Fixing the verb brings a right detection beside its query's duplicate, with the same score.
    near = (0.0, 0.0, 10.0, 9.0)
    found = {"score": 0.9, "query": 0}
    duplicate, verb = ({"score": 0.5, "query": 1, "hoi": hoi} for hoi in (HOLD_CUP, RIDE_CUP))
    for rows in ([found, duplicate, verb], [verb, duplicate, found]):
        result = diagnosis(rows, [{}, {"human": near}])
        assert result["count"]["duplicate"] == result["count"]["verb"] == 1
        assert result["map"] == pytest.approx(100 * 6 / 11)
        assert result["delta_ap"]["verb"] == pytest.approx(100 * 5 / 11 * 2 / 3)


def test_pairs_that_nothing_finds_are_preferred():
    # The wrong verb covers two pairs; the one with the larger overlap is found already.
    near = (0.0, 0.0, 10.0, 9.0)
    detections = [{"score": 0.9}, {"score": 0.8, "hoi": RIDE_CUP}]
    result = diagnosis(detections, [{}, {"hoi": HOLD_CUP, "human": near}])
    assert result["count"]["verb"] == 1
    assert result["count"]["missed"] == 0
    assert result["delta_ap"]["verb"] == pytest.approx(100 - result["map"])


def test_a_duplicate_belongs_to_its_best_overlap():
    near = {"human": (0.0, 0.0, 10.0, 9.0)}
    result = diagnosis([{"score": 0.9}, {"score": 0.8}], [{}, near])
    assert result["count"]["duplicate"] == result["count"]["missed"] == 1


def test_missing_objects():
    vocabulary = worlds.small_vocabulary()
    hois = (worlds.Hoi(0, None), worlds.Hoi(1, None), *vocabulary.hois[2:])
    vocabulary = worlds.Vocabulary(vocabulary.objects, vocabulary.verbs, hois)
    tables = worlds.partition(
        [{"image": 0, "hoi": 0, "human": BOX, "object": None}], [0], vocabulary
    )
    row = {"image": 0, "query": 0, "hoi": 1, "human": BOX, "object": None, "score": 0.5}
    predictions = worlds.predictions_table([row], tables["images"])
    only(diagnose(predictions, Annotations(**tables), vocabulary), "verb", 100)


def compare(world: worlds.World, protocol: str) -> dict:
    found = diagnose(world.predictions, *world.labels, PROTOCOLS[protocol])
    expected = reference.of_hico(world.detections, world.truths, world.vocabulary, protocol)
    reference.assert_equal(found, expected)
    return found


@pytest.mark.parametrize("protocol", NAMES)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_worlds_equal_the_reference(protocol, seed):
    compare(worlds.random_world(seed), protocol)


@pytest.mark.skipif(not worlds.HICO_TEST.exists(), reason="HICO-DET's annotations are absent")
@pytest.mark.parametrize("protocol", NAMES)
def test_real_annotations_equal_the_reference(protocol):
    found = compare(worlds.hico_world(60, rows_per_image=20), protocol)
    assert min(found["count"].values()) > 0


@pytest.mark.parametrize("protocol", NAMES)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_worlds(protocol, seed):
    world = worlds.random_world(seed)
    result = diagnose(world.predictions, *world.labels, PROTOCOLS[protocol])
    expected = metrics(evaluate_hico(world.predictions, *world.parts, PROTOCOLS[protocol]))
    assert result["map"] == expected["default"]["full"]
    assert result["pair_recall"] == expected["recall"]
    turned = world.predictions.take(np.arange(len(world.predictions))[::-1])
    assert diagnose(turned, *world.labels, PROTOCOLS[protocol]) == result
    if result["map"] is None:
        return
    for delta in result["delta_ap"].values():
        assert -1e-9 <= delta <= result["lost"] + 1e-9
    curves = evaluate_hico(world.predictions, *world.parts, PROTOCOLS[protocol]).scores.curves
    found = int(curves["default"].found.sum())
    wrong = sum(count for kind, count in result["count"].items() if kind != "missed")
    assert found + wrong == len(world.detections)
    assert result["count"]["missed"] <= len(world.truths) - found


@pytest.mark.parametrize("protocol", NAMES)
def test_boxes_in_the_protocols_own_convention(protocol):
    world = worlds.random_world(7)
    expected = diagnose(world.predictions, *world.labels, PROTOCOLS[protocol])
    convert = reference.hico.PROTOCOLS[protocol][0]
    own = [
        d | {"human": convert(d["human"]), "object": convert(d["object"])} for d in world.detections
    ]
    table = worlds.predictions_table(own, world.images)
    assert diagnose(table, *world.labels, PROTOCOLS[protocol], boxes="protocol") == expected


@pytest.mark.parametrize("protocol", NAMES)
def test_small_chunks_give_the_same(protocol, monkeypatch):
    for seed in range(10):
        world = worlds.random_world(seed)
        expected = diagnose(world.predictions, *world.labels, PROTOCOLS[protocol])
        with monkeypatch.context() as patch:
            patch.setattr("hoiclip.evaluation.ap.matching.PAIRS_PER_CHUNK", 3)
            assert diagnose(world.predictions, *world.labels, PROTOCOLS[protocol]) == expected
