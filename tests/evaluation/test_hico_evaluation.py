from __future__ import annotations

import dataclasses
import math

import hico_reference as reference
import hico_worlds as worlds
import numpy as np
import pyarrow as pa
import pytest
import vcoco_worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from hoiclip.catalog.vocabularies import vcoco
from hoiclip.data.annotations import Annotations
from hoiclip.errors import InputError
from hoiclip.evaluation.ap.average_precision import floating_needed
from hoiclip.evaluation.ap.protocols import PROTOCOLS, protocol_named
from hoiclip.evaluation.ap.tables import ImageIndex, detections_of
from hoiclip.evaluation.diagnosis import diagnose
from hoiclip.evaluation.hico import SETTINGS, evaluate_hico
from hoiclip.evaluation.outputs import metrics

NAMES = sorted(PROTOCOLS)
BOX = (0.0, 0.0, 10.0, 10.0)
FAR = (50.0, 50.0, 60.0, 60.0)


def compare(world: worlds.World, protocol: str) -> None:
    result = evaluate_hico(world.predictions, *world.parts, PROTOCOLS[protocol])
    objects = world.vocabulary.object_of_hoi.tolist()
    expected, recalls = reference.evaluate(world.detections, world.truths, objects, protocol)
    for setting in SETTINGS:
        np.testing.assert_allclose(
            result.scores.average_precision[setting], expected[setting], rtol=0, atol=1e-9
        )
    np.testing.assert_allclose(result.scores.max_recall, recalls, rtol=0, atol=1e-9)
    values = metrics(result)
    predicted = {s: {d["hoi"] for d in world.detections} for s in SETTINGS}
    known = {(t["image"], objects[t["hoi"]]) for t in world.truths}
    predicted["known_object"] = {
        d["hoi"] for d in world.detections if (d["image"], objects[d["hoi"]]) in known
    }
    rare = world.classes["rare"].to_pylist()
    seen = world.classes["seen"].to_pylist()
    members = {"full": [True] * len(rare), "rare": rare, "non_rare": [not r for r in rare]}
    if not all(seen):
        members |= {"unseen": [not s for s in seen], "seen": seen}
    for setting in SETTINGS:
        assert values[setting].keys() == members.keys()
        for subset, inside in members.items():
            if protocol == "hoiclip" and subset != "full":
                inside = [m and h in predicted[setting] for h, m in enumerate(inside)]
            mean = reference.subset_mean(expected[setting], inside)
            assert values[setting][subset] == pytest.approx(mean, abs=1e-9)
    recall = reference.pair_recall(world.detections, world.truths, objects, protocol)
    assert values["recall"] == pytest.approx(recall, abs=1e-9)


def world_of(detections: list[dict], truths: list[dict], num_images: int = 1) -> worlds.World:
    vocabulary = worlds.small_vocabulary()
    rows = [
        {"query": q, "human": BOX, "object": BOX, "hoi": 0, "image": 0, **d}
        for q, d in enumerate(detections)
    ]
    truths = [{"human": BOX, "object": BOX, "hoi": 0, "image": 0, **t} for t in truths]
    tables = worlds.partition(truths, list(range(num_images)), vocabulary)
    classes = worlds.classes_table([True] * 3 + [False] * 4, [True] * 7)
    return worlds.World(rows, truths, vocabulary, **tables, classes=classes)


def ap(world: worlds.World, protocol: str, setting: str = "default") -> np.ndarray:
    result = evaluate_hico(world.predictions, *world.parts, PROTOCOLS[protocol])
    return result.scores.average_precision[setting]


@pytest.mark.parametrize("protocol", NAMES)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_worlds_equal_the_reference(protocol, seed):
    compare(worlds.random_world(seed), protocol)


@pytest.mark.parametrize("protocol", NAMES)
def test_small_chunks_give_the_same(protocol, monkeypatch):
    monkeypatch.setattr("hoiclip.evaluation.ap.matching.PAIRS_PER_CHUNK", 3)
    for seed in range(30):
        compare(worlds.random_world(seed), protocol)


@pytest.mark.skipif(not worlds.HICO_TEST.exists(), reason="HICO-DET's annotations are absent")
@pytest.mark.parametrize("protocol", NAMES)
@pytest.mark.parametrize(
    "num_images", [300, pytest.param(None, marks=pytest.mark.slow)], ids=["sample", "all"]
)
def test_real_annotations_equal_the_reference(protocol, num_images):
    world = worlds.hico_world(num_images, rows_per_image=20)
    if num_images is None:
        assert len(world.truths) == 33405
        empty = set(range(len(world.images))) - {t["image"] for t in world.truths}
        assert len(empty) == 112
        assert empty <= {d["image"] for d in world.detections}
    compare(world, protocol)


def vcoco_world(
    detections: list[dict], people: list[list[dict]], vocabulary: worlds.Vocabulary
) -> worlds.World:
    # One pair of boxes per query, as in every predictions table.
    of_query = {(d["image"], d["query"]): d["object"] for d in detections}
    detections = [d | {"object": of_query[d["image"], d["query"]]} for d in detections]
    truths = vcoco_worlds.truths_of(people, vocabulary)
    partition = worlds.partition(truths, list(range(len(people))), vocabulary)
    num = vocabulary.num_hois
    classes = worlds.classes_table([i % 3 == 0 for i in range(num)], [True] * num)
    return worlds.World(detections, truths, vocabulary, **partition, classes=classes, float64=True)


@pytest.mark.parametrize("protocol", NAMES)
def test_missing_objects_equal_the_reference(protocol):
    for seed in range(40):
        detections, people, _ = vcoco_worlds.random_case(seed)
        compare(vcoco_world(detections, people, vcoco_worlds.VOCABULARY), protocol)


@pytest.mark.skipif(not vcoco_worlds.VCOCO_TEST.exists(), reason="V-COCO's annotations are absent")
@pytest.mark.parametrize("protocol", NAMES)
def test_real_annotations_with_missing_objects_equal_the_reference(protocol):
    detections, people, _ = vcoco_worlds.real_case(150)
    compare(vcoco_world(detections, people, vcoco()), protocol)


def test_known_object_of_classes_without_an_object():
    # Images with a pair without object are those in which such classes are looked for.
    names = ("stand", "run", "hold")
    hois = (worlds.Hoi(0, None), worlds.Hoi(1, None), worlds.Hoi(2, 0))
    verbs = tuple(worlds.Verb(name, None, name) for name in names)
    vocabulary = worlds.Vocabulary(("person",), verbs, hois)
    truths = [
        {"image": 0, "hoi": 0, "human": BOX, "object": None},
        {"image": 1, "hoi": 1, "human": BOX, "object": None},
        {"image": 2, "hoi": 2, "human": BOX, "object": FAR},
    ]
    row = {"query": 0, "hoi": 0, "human": BOX, "object": None}
    scores = {0: 0.5, 1: 0.6, 2: 0.7}
    detections = [row | {"image": image, "score": score} for image, score in scores.items()]
    partition = worlds.partition(truths, [0, 1, 2], vocabulary)
    classes = worlds.classes_table([True] * 3, [True] * 3)
    world = worlds.World(detections, truths, vocabulary, **partition, classes=classes)
    for protocol in NAMES:
        assert ap(world, protocol)[0] == pytest.approx(1 / 3)
        assert ap(world, protocol, "known_object")[0] == pytest.approx(1 / 2)


def test_numbers_of_float64_are_not_rounded():
    # The nearest float32 of the first box has an IoU of 1/2, and of the second score the first's.
    half = (0.0, 0.0, 10.0, 5.0 - 1e-9)
    right, wrong = {"score": 0.5 + 1e-9}, {"score": 0.5, "human": FAR}
    for float64, expected in ((False, 1), (True, 0)):
        world = world_of([{"score": 0.9, "human": half}], [{}])
        assert ap(dataclasses.replace(world, float64=float64), "hico")[0] == expected
    for float64, expected in ((False, 0.5), (True, 1)):
        world = world_of([wrong, right], [{}])
        assert ap(dataclasses.replace(world, float64=float64), "hico")[0] == expected


def test_shifting_boxes_of_float32_rounds_nothing():
    world = world_of([{"score": 0.9, "human": (0.1, 0.2, 10.3, 10.4)}], [{}])
    offset = PROTOCOLS["hico"].offset_xyxy
    index = ImageIndex.of(world.images)
    pairs, _ = detections_of(world.predictions, index, world.vocabulary, offset)
    expected = np.array([[0.1, 0.2, 10.3, 10.4]], np.float32).astype(np.float64) + offset
    np.testing.assert_array_equal(pairs.human_boxes_xyxy, expected)


@pytest.mark.parametrize("protocol", NAMES)
def test_boxes_in_the_protocols_own_convention(protocol):
    world = worlds.random_world(7)
    expected = evaluate_hico(world.predictions, *world.parts, PROTOCOLS[protocol])
    convert = reference.PROTOCOLS[protocol][0]
    own = [
        d | {"human": convert(d["human"]), "object": convert(d["object"])} for d in world.detections
    ]
    table = worlds.predictions_table(own, world.images)
    found = evaluate_hico(table, *world.parts, PROTOCOLS[protocol], boxes="protocol")
    for setting in SETTINGS:
        np.testing.assert_array_equal(
            found.scores.average_precision[setting], expected.scores.average_precision[setting]
        )
    with pytest.raises(ValueError, match="unknown box frame 'file'"):
        evaluate_hico(table, *world.parts, PROTOCOLS[protocol], boxes="file")


def test_hand_computed_average_precision():
    # Right, wrong, right of two truths: precision 1 up to recall 0.5, 2/3 up to recall 1.
    world = world_of(
        [{"score": 0.9}, {"score": 0.8, "human": FAR}, {"score": 0.7, "object": FAR}],
        [{}, {"object": FAR}],
    )
    for protocol in NAMES:
        assert ap(world, protocol)[0] == pytest.approx((6 + 5 * 2 / 3) / 11, abs=1e-12)


@pytest.mark.parametrize(("protocol", "right"), [("hico", 1), ("hoiclip", 1), ("pocket", 0)])
def test_iou_of_exactly_one_half(protocol, right):
    world = world_of([{"score": 0.9, "human": (0.0, 0.0, 10.0, 5.0)}], [{}])
    assert ap(world, protocol)[0] == right


def test_extents_do_not_depend_on_the_convention_but_thin_overlaps_do():
    thin = (3.0, 0.0, 4.0, 10.0)
    world = world_of([{"score": 0.9, "object": thin}], [{"object": thin}])
    assert [ap(world, p)[0] for p in ("hico", "hoiclip", "pocket")] == [1, 0, 1]


@pytest.mark.parametrize(
    ("found", "missed_by"),
    [(1, ()), (3, ("hico", "hoiclip")), (5, ()), (6, ("hoiclip",)), (7, ("hoiclip",)), (9, ())],
)
@pytest.mark.parametrize("pairs", [10, 20, 30, 70, 1000])
def test_recalls_of_exact_tenths_and_who_misses_them(found, missed_by, pairs):
    # Without a false alarm precision is 1 up to the recall reached: 0, 0.1 ... found / 10.
    truths = [{"image": i} for i in range(pairs)]
    detections = [{"image": i, "score": 0.9} for i in range(found * pairs // 10)]
    world = world_of(detections, truths, pairs)
    for protocol in NAMES:
        steps = found if protocol in missed_by else found + 1
        assert ap(world, protocol)[0] == pytest.approx(steps / 11, abs=1e-12)


@pytest.mark.parametrize(("steps", "reached"), [("matlab", 3), ("numpy", 3), ("exact", 4)])
@pytest.mark.parametrize("protocol", NAMES)
def test_recall_steps_are_an_option(protocol, steps, reached):
    truths = [{"image": i} for i in range(10)]
    world = world_of([{"image": i, "score": 0.9} for i in range(3)], truths, 10)
    rules = protocol_named(protocol, steps)
    result = evaluate_hico(world.predictions, *world.parts, rules)
    assert metrics(result)["default"]["full"] == pytest.approx(100 * reached / 11)
    own = {"hico": "matlab", "hoiclip": "numpy", "pocket": "exact"}[protocol] == steps
    assert metrics(result).get("recall_steps") == (None if own else steps)
    diagnosis = diagnose(world.predictions, *world.labels, rules)
    assert diagnosis["map"] == pytest.approx(100 * reached / 11)
    with pytest.raises(ValueError, match="unknown recall steps 'voc'"):
        protocol_named(protocol, "voc")


def test_steps_in_doubles_equal_plain_comparisons():
    matlab = [i * 0.1 if i <= 5 else 1 - (10 - i) * 0.1 for i in range(11)]
    numbers = np.arange(1, 300)
    for steps in (matlab, np.arange(0, 1.1, 0.1).tolist()):
        expected = [[next(t for t in range(n + 1) if t / n >= s) for s in steps] for n in numbers]
        np.testing.assert_array_equal(floating_needed(numbers, np.array(steps)), expected)
    assert [k for k, step in enumerate(matlab) if step != k / 10] == [3]


@pytest.mark.parametrize("protocol", NAMES)
def test_a_detection_whose_best_truth_is_taken_is_wrong(protocol):
    # The second overlaps both truths enough, but the first truth more: it takes no other.
    near = (0.0, 0.0, 10.0, 8.0)
    world = world_of([{"score": 0.9}, {"score": 0.8}], [{}, {"human": near}])
    assert ap(world, protocol)[0] == pytest.approx(6 / 11)


@pytest.mark.parametrize("protocol", NAMES)
def test_of_equally_good_truths_the_first_is_taken(protocol):
    upper, lower = {"human": (0.0, 0.0, 10.0, 8.0)}, {"human": (0.0, 2.0, 10.0, 10.0)}
    detections = [{"score": 0.9}, {"score": 0.8, **upper}]
    assert ap(world_of(detections, [upper, lower]), protocol)[0] == pytest.approx(6 / 11)
    assert ap(world_of(detections, [lower, upper]), protocol)[0] == 1


@pytest.mark.parametrize("protocol", NAMES)
def test_equal_scores_are_taken_by_image_then_query(protocol):
    wrong = {"human": FAR, "score": 0.5}
    right = {"score": 0.5}
    first = world_of([right, wrong], [{}])
    second = world_of([wrong, right], [{}])
    assert ap(first, protocol)[0] == 1
    assert ap(second, protocol)[0] == 0.5
    for world in (first, second):
        turned = world.predictions.take([1, 0])
        again = evaluate_hico(turned, *world.parts, PROTOCOLS[protocol])
        assert again.scores.average_precision["default"][0] == ap(world, protocol)[0]


@pytest.mark.parametrize("protocol", NAMES)
def test_images_without_pairs_count_in_default_only(protocol):
    world = world_of([{"score": 0.9, "image": 1}, {"score": 0.8}], [{}], 2)
    assert ap(world, protocol)[0] == 0.5
    assert ap(world, protocol, "known_object")[0] == 1


@pytest.mark.parametrize("protocol", NAMES)
def test_known_object_keeps_images_with_another_verb_of_the_object(protocol):
    world = world_of([{"score": 0.9, "image": 1}, {"score": 0.8}], [{}, {"image": 1, "hoi": 1}], 2)
    assert ap(world, protocol, "known_object")[0] == 0.5


def test_classes_without_truth_or_predictions():
    world = world_of([{"score": 0.9}, {"score": 0.9, "hoi": 3}], [{}, {"hoi": 1}, {"hoi": 4}])
    for protocol, rare, non_rare in (("hico", 50, 0), ("hoiclip", 100, None), ("pocket", 50, 0)):
        result = evaluate_hico(world.predictions, *world.parts, PROTOCOLS[protocol])
        values = result.scores.average_precision["default"]
        assert math.isnan(values[3])
        assert values[[0, 1, 4]].tolist() == [1, 0, 0]
        means = metrics(result)["default"]
        assert means["full"] == pytest.approx(100 / 3)
        assert means["rare"] == rare
        assert means["non_rare"] == non_rare


@pytest.mark.parametrize("protocol", NAMES)
def test_nothing_at_all(protocol):
    world = world_of([], [], 0)
    values = metrics(evaluate_hico(world.predictions, *world.parts, PROTOCOLS[protocol]))
    nothing = {"full": None, "rare": None, "non_rare": None}
    assert values == {
        "protocol": protocol,
        "default": nothing,
        "known_object": nothing,
        "recall": None,
    }


@pytest.mark.parametrize("protocol", NAMES)
def test_missing_objects_match_missing_objects(protocol):
    world = world_of([], [])
    verbs, hois = world.vocabulary.verbs, world.vocabulary.hois
    hois = (worlds.Hoi(0, None), *hois[1:])
    vocabulary = worlds.Vocabulary(world.vocabulary.objects, verbs, hois)
    truths = [{"image": 0, "hoi": 0, "human": BOX, "object": None}]
    annotations = Annotations(**worlds.partition(truths, [0], vocabulary))
    row = {"image": 0, "query": 0, "hoi": 0, "human": BOX, "score": 0.5}
    for object_, expected in ((None, 1), (BOX, 0)):
        predictions = worlds.predictions_table([{**row, "object": object_}], annotations.images)
        parts = annotations, vocabulary, world.classes
        result = evaluate_hico(predictions, *parts, PROTOCOLS[protocol])
        assert result.scores.average_precision["default"][0] == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": math.nan}, "predictions, row 1, score: nan is not finite"),
        ({"hoi": 7}, "predictions, row 1, hoi: 7 is not among the 7 HOI classes"),
        ({"object": None}, "predictions, row 1, object_box_xyxy: 0 is a class with an object"),
        ({"human": (0.0, math.inf, 1.0, 1.0)}, "predictions, row 1, human_box_xyxy: "),
    ],
)
def test_bad_predictions_are_named(change, message):
    world = world_of([{"score": 0.9}, {"score": 0.8, **change}], [{}])
    with pytest.raises(InputError) as error:
        ap(world, "hico")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_unknown_image_instance_class_and_protocol():
    world = world_of([{"score": 0.9}], [{}])
    annotations, rest = world.annotations, (world.vocabulary, world.classes)
    other = Annotations(**worlds.partition([], [5], world.vocabulary))
    with pytest.raises(InputError, match=r"predictions, row 0, image_id: 0 is not in the images"):
        evaluate_hico(world.predictions, other, *rest)
    lost = dataclasses.replace(annotations, instances=annotations.instances[:0])
    with pytest.raises(InputError, match=r"interactions, row 0, human: 0 is not an instance"):
        evaluate_hico(world.predictions, lost, *rest)
    with pytest.raises(InputError, match=r"classes: 6 rows, but the vocabulary has 7 classes"):
        evaluate_hico(world.predictions, *world.labels, world.classes[:6])
    twice = dataclasses.replace(annotations, images=pa.concat_tables([annotations.images] * 2))
    with pytest.raises(InputError, match=r"images, row 1, image_id: 0 occurs twice"):
        evaluate_hico(world.predictions, twice, *rest)
    with pytest.raises(ValueError, match="unknown protocol 'voc'"):
        protocol_named("voc")
