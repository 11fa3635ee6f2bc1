from __future__ import annotations

import json
import math
from dataclasses import replace

import annotation_files
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hico_worlds import World, classes_table, partition
from prediction_files import (
    close,
    hoia_document,
    inclusive,
    names_of,
    score_files,
    write_json,
    write_parquet,
    write_world,
)

from hoiclip.core import schema
from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.errors import InputError
from hoiclip.evaluation.vcoco import evaluate_vcoco
from hoiclip.evaluation.vcoco_diagnosis import diagnose_vcoco

VERBS = ("hold_obj", "stand", "hit_instr", "hit_obj", "point_instr")
ACTIONS = {"hold": ["hold_obj"], "stand": [], "hit": ["hit_instr", "hit_obj"],
           "point": ["point_instr"]}  # fmt: skip
VOCABULARY = Vocabulary(
    ("person", "cup"),
    tuple(Verb(name, None) for name in VERBS),
    tuple(Hoi(v, o) for v in range(5) for o in ((None,) if v == 1 else (0, 1, None))),
)
STAND = VOCABULARY.hoi_ids[1, None]


def random_vcoco(seed):
    """People who do several things, objects that are not visible, few scores."""
    rng = np.random.default_rng(seed)
    pool = [
        tuple(float(v) for v in (x, y, x + w, y + h))
        for x, y, w, h in rng.choice([1, 2, 3, 4, 6, 8], (7, 4))
    ]

    def box():
        return pool[rng.integers(len(pool))]

    def object_of(hoi):
        return None if VOCABULARY.hois[hoi].object is None else box()

    count = int(rng.integers(1, 5))
    hois = range(VOCABULARY.num_hois)
    truths = [
        {"image": i, "hoi": int(h), "human": box(), "object": object_of(h)}
        for i in range(count)
        for h in rng.choice(hois, rng.integers(1, 6))
    ]
    truths = [t for i, t in enumerate(truths) if t not in truths[:i]]
    detections = []
    for image in range(count):
        for query in range(rng.integers(0, 6)):
            human, other = box(), box() if rng.random() < 0.8 else None
            # A HOIA file gives a box one class.
            class_ = int(rng.integers(2))
            fitting = [h for h in hois if VOCABULARY.hois[h].object == class_ or h == STAND]
            detections += [
                {
                    "image": image, "query": query, "hoi": int(hoi), "human": human,
                    "object": other,
                    "score": float(rng.integers(1, 6)) / 8,
                }
                for hoi in rng.choice(fitting, rng.integers(1, 6), replace=False)
            ]  # fmt: skip
    ids = [int(v) for v in rng.permutation(1000)[:count]]
    return World(
        detections,
        truths,
        VOCABULARY,
        **partition(truths, ids, VOCABULARY),
        classes=classes_table([False] * VOCABULARY.num_hois, [True] * VOCABULARY.num_hois),
    )


def official_list(world):
    """One entry per query; the best class of a role or action gives score and object."""
    ids = world.images["image_id"].to_pylist()
    entries = {}
    for d in sorted(world.detections, key=lambda d: (-d["score"], d["hoi"])):
        blank = {
            "image_id": ids[d["image"]],
            "person_box": inclusive(d["human"]),
            **{f"{action}_agent": math.nan for action in ACTIONS},
            **{role: [math.nan] * 5 for roles in ACTIONS.values() for role in roles},
        }
        entry = entries.setdefault((d["image"], d["query"]), blank)
        verb = VERBS[VOCABULARY.hois[d["hoi"]].verb]
        action = verb.split("_")[0]
        if math.isnan(entry[f"{action}_agent"]):
            entry[f"{action}_agent"] = d["score"]
        if verb in entry and math.isnan(entry[verb][4]):
            entry[verb] = [*(inclusive(d["object"]) or [0, 0, 0, 0]), d["score"]]
    return [entries[key] for key in sorted(entries)]


def expected_of(world):
    return evaluate_vcoco(world.predictions, *world.labels)


def write(tmp_path, world):
    folder = write_world(tmp_path, world)
    (tmp_path / "splits/classes.parquet").unlink()
    return folder


def test_lists_score_as_the_tables_they_were_made_from(tmp_path):
    for seed in range(12):
        world = random_vcoco(seed)
        folder = write(tmp_path / str(seed), world)
        path = write_json(tmp_path / "list.json", official_list(world))
        scored = score_files(path, folder, diagnosis=True)
        found, expected = scored.metrics(), expected_of(world)
        assert found["protocol"] == "vcoco"
        assert close(found["vcoco"], expected.metrics()["vcoco"])
        assert found["default"] is found["known_object"] is found["recall"] is None
        assert close(scored.vcoco.per_role(), expected.per_role())
        diagnosis = diagnose_vcoco(world.predictions, *world.labels)
        assert close(scored.diagnosis["map"], diagnosis["map"])
        assert scored.diagnosis["count"] == diagnosis["count"]


@pytest.mark.parametrize("numbering", ["hoia", "zero-based", "hoi", "hoi-category"])
def test_hoia_files_score_as_the_tables_they_were_made_from(tmp_path, numbering):
    for seed in range(6):
        world = random_vcoco(seed)
        folder = write(tmp_path / str(seed), world)
        document = hoia_document(world.detections, names_of(world), VOCABULARY, numbering)
        path = write_json(tmp_path / "p.json", document)
        found = score_files(path, folder, numbering=numbering).metrics()
        assert close(found["vcoco"], expected_of(world).metrics()["vcoco"])
        parquet = write_parquet(tmp_path / "p.parquet", world.predictions)
        own = score_files(parquet, folder).metrics()
        assert close(own["vcoco"], found["vcoco"])
        if numbering == "hoi-category":
            assert close(own["default"], found["default"])
            assert close(own["recall"], found["recall"])


def test_unlabelled_people_are_read_beside_the_partition(tmp_path):
    differing = 0
    for seed in range(8):
        world = random_vcoco(seed)
        folder = write(tmp_path / str(seed), world)
        path = write_json(tmp_path / "list.json", official_list(world))
        before = score_files(path, folder).metrics()
        assert before["unlabelled_people"] is False
        image_id = world.images["image_id"][0].as_py()
        boxes = [list(d["human"]) for d in world.detections if d["image"] == 0]
        people = {"image_id": [image_id] * len(boxes), "box_xyxy": boxes}
        table = pa.Table.from_pydict(people, schema.UNLABELLED)
        schema.write_table(folder / "unlabelled_people.parquet", table, schema.UNLABELLED, {})
        found = score_files(path, folder).metrics()
        assert found["unlabelled_people"] is True
        annotations = replace(world.annotations, unlabelled_people=table)
        expected = evaluate_vcoco(world.predictions, annotations, world.vocabulary)
        assert close(found["vcoco"], expected.metrics()["vcoco"])
        differing += not close(found["vcoco"], before["vcoco"])
    assert differing


HAND = [
    {
        "image_id": 7, "person_box": [10, 10, 19, 29], "hold_agent": 0.9, "stand_agent": None,
        "hit_agent": 0.2, "point_agent": None, "hold_obj": [30, 30, 39, 39, 0.9],
        "hit_instr": [0, 0, 0, 0, 0.3], "hit_obj": None, "point_instr": None,
    },
    {
        "image_id": 7, "person_box": [40, 40, 49, 49], "hold_agent": 0.5, "stand_agent": 0.5,
        "hit_agent": None, "point_agent": None, "hold_obj": [None, None, None, None, 0.5],
        "hit_instr": None, "hit_obj": None, "point_instr": None,
    },
]  # fmt: skip
PERSON, CUP = (10.0, 10.0, 20.0, 30.0), (30.0, 30.0, 40.0, 40.0)


def hand_world(tmp_path):
    """Somebody holds a cup and hits with something that is not visible."""
    truths = [
        {"image": 0, "hoi": VOCABULARY.hoi_ids[0, 1], "human": PERSON, "object": CUP},
        {"image": 0, "hoi": VOCABULARY.hoi_ids[2, None], "human": PERSON, "object": None},
    ]
    world = World([], truths, VOCABULARY, **partition(truths, [7], VOCABULARY),
                  classes=classes_table([False] * 13, [True] * 13))  # fmt: skip
    return write(tmp_path, world)


def test_a_list_by_hand(tmp_path):
    folder = hand_world(tmp_path)
    path = write_json(tmp_path / "list.json", HAND)
    rows = {row["role"]: row for row in score_files(path, folder).vcoco.per_role()}
    # The box of zeros says that the role has no object, as is annotated.
    assert [rows[r]["ap_scenario_1"] for r in ("hold_obj", "hit_instr")] == [100.0, 100.0]
    # A detection without a score is none; the other role of `hit` has the same positive.
    assert rows["hit_obj"]["ap_scenario_2"] == 0.0
    assert rows["hit_obj"]["positives"] == 1
    assert rows["point_instr"]["ap_scenario_1"] is None
    assert score_files(path, folder).metrics()["vcoco"]["ap_agent"] == 100.0
    HAND_0 = json.loads(json.dumps(HAND))
    HAND_0[0]["hit_instr"] = [1, 1, 2, 2, 0.3]
    path = write_json(tmp_path / "list.json", HAND_0)
    rows = {row["role"]: row for row in score_files(path, folder).vcoco.per_role()}
    assert rows["hit_instr"]["ap_scenario_1"] == 0.0
    assert rows["hit_instr"]["ap_scenario_2"] == 100.0


@pytest.mark.parametrize("nothing", [..., None, []])
def test_what_a_list_leaves_out_is_not_detected(tmp_path, nothing):
    """Absent, null and empty are one, and other keys are nobody's business."""
    folder = hand_world(tmp_path)
    expected = score_files(write_json(tmp_path / "a.json", HAND), folder).metrics()
    sparse = [
        {k: v if v is not None else nothing for k, v in entry.items()} | {"note": 1, "stand_obj": 5}
        for entry in HAND
    ]
    sparse = [{k: v for k, v in entry.items() if v is not ...} for entry in sparse]
    assert ("hit_obj" in sparse[0]) == (nothing is not ...)
    found = score_files(write_json(tmp_path / "b.json", sparse), folder).metrics()
    assert close(found, expected)


def test_images_by_name(tmp_path):
    """`image_id` may be the file's name, and `file_name` stand for it."""
    folder = hand_world(tmp_path)
    expected = score_files(write_json(tmp_path / "a.json", HAND), folder).metrics()
    name = pq.read_table(folder / "images.parquet")["file_name"][0].as_py()
    unnamed = [{k: v for k, v in entry.items() if k != "image_id"} for entry in HAND]
    for key in ("image_id", "file_name"):
        named = [{key: name} | entry for entry in unnamed]
        found = score_files(write_json(tmp_path / "b.json", named), folder).metrics()
        assert close(found, expected)


def test_agents_alone_are_told(tmp_path):
    alone = [{k: v for k, v in e.items() if not k.endswith(("_obj", "_instr"))} for e in HAND]
    scored = score_files(write_json(tmp_path / "a.json", alone), hand_world(tmp_path))
    assert scored.metrics()["vcoco"]["ap_role_scenario_1"] == 0.0
    assert "name no role (hold_obj, ...), only agents" in scored.notes[-1]


def test_a_list_for_other_annotations_is_told(tmp_path):
    path = write_json(tmp_path / "list.json", HAND)
    for protocol in (None, "vcoco", "hico"):
        with pytest.raises(InputError, match=r"do not have V-COCO's actions and roles.*--coco"):
            score_files(path, annotation_files.hico_instances(tmp_path), protocol=protocol)


def test_an_empty_list_finds_nothing(tmp_path):
    path, folder = write_json(tmp_path / "l.json", []), hand_world(tmp_path)
    for format_ in (None, "vcoco", "hoia"):
        scored = score_files(path, folder, format=format_)
        assert "the predictions hold no pair" in scored.notes[-1]
        found = scored.metrics()
        assert found["vcoco"]["ap_role_scenario_1"] == 0.0
        assert found["input"]["images_without_predictions"] == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image_id": 8}, ["row 1, image_id: 8 is none of the 1 annotated images"]),
        ({"image_id": "x"}, ["row 1, image_id", "whole number"]),
        ({"person_box": [40, 40, 49]}, ["row 1, person_box", "expected 4 numbers"]),
        ({"person_box": [40, 40, 30, 49]}, ["row 1, person_box", "x1 <= x2"]),
        ({"person_box": None}, ["row 1, person_box", "not finite"]),
        ({"hold_obj": [1, 1, 2, 2]}, ["row 1, hold_obj", "expected 5 numbers"]),
        ({"hold_obj": [1, 1, math.nan, 2, 0.1]}, ["row 1, hold_obj", "not finite"]),
        ({"hold_obj": [5, 1, 2, 2, 0.1]}, ["row 1, hold_obj", "x1 <= x2"]),
        ({"hold_obj": [1, 1, 2, 2, math.inf]}, ["row 1, hold_obj", "infinite"]),
        ({"stand_agent": math.inf}, ["row 1, stand_agent", "infinite"]),
        ({"stand_agent": "half"}, ["row 1, stand_agent", "expected a number (text, not a"]),
        (
            {"hit_obj": ..., "hti_obj": [1, 1, 2, 2, 1]},
            ["row 1, hti_obj: is no action", "Is it hit"],
        ),
        (
            {"hold_obj": ..., "hold_instr": [1, 1, 2, 2, 1]},
            ["row 1, hold_instr: is no action"],
        ),
        ({"hold_agent": ..., "run_agent": 0.5}, ["row 1, run_agent: is no action or role"]),
        ({"person_box": ...}, ["row 1, person_box: missing"]),
        ({"person_box": []}, ["row 1, person_box", "not finite"]),
        ({"image_id": ...}, ["row 1: neither file_name nor image_id"]),
    ],
)
def test_a_wrong_entry_is_told(tmp_path, change, told):
    document = [HAND[0], {k: v for k, v in (HAND[1] | change).items() if v is not ...}]
    path = write_json(tmp_path / "list.json", document)
    with pytest.raises(InputError) as caught:
        score_files(path, hand_world(tmp_path))
    assert all(text in str(caught.value) for text in ["list.json", *told]), caught.value


def test_a_list_has_no_hoi_classes_to_score(tmp_path):
    path = write_json(tmp_path / "list.json", HAND)
    with pytest.raises(InputError, match="names no HOI classes"):
        score_files(path, hand_world(tmp_path), protocol="hico")


def test_detections_are_scored_in_the_order_of_the_images(tmp_path):
    """A list in another order of its images gives the same numbers."""
    world = random_vcoco(2)
    folder = write(tmp_path, world)
    listed = official_list(world)
    one = score_files(write_json(tmp_path / "a.json", listed), folder)
    images = list(dict.fromkeys(entry["image_id"] for entry in listed))[::-1]
    turned = sorted(listed, key=lambda entry: images.index(entry["image_id"]))
    two = score_files(write_json(tmp_path / "b.json", turned), folder)
    assert close(one.metrics(), two.metrics())
    assert len(images) > 1
