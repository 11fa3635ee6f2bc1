"""V-COCO partitions and predictions: random ones, and V-COCO's real test annotations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from hico_worlds import FLOAT64

from hoiclip.catalog.vocabularies import vcoco
from hoiclip.core import schema
from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.data.annotations import Annotations

SHARED = Path(__file__).resolve().parents[3] / "shared"
VCOCO_TEST = SHARED / "data" / "vcoco" / "instances_vcoco_test.json"

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


def boxes_of(objects: tuple | list | None) -> list:
    """The objects of a role: a list of boxes, one box, or None."""
    return objects if isinstance(objects, list) else [objects]


def partition(
    people_of_images: list[list[dict]],
    ids: list[int] | None = None,
    vocabulary: Vocabulary = VOCABULARY,
    sizes: list[tuple[int, int]] | None = None,
) -> Annotations:
    """The partition; unlabelled people have an instance too where they are `listed`."""
    ids = list(range(len(people_of_images))) if ids is None else ids
    sizes = [SIZE] * len(ids) if sizes is None else sizes
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
                place = {"image_id": image_id, "instances_ahead": count}
                other.append(place | {"box_xyxy": p["box"]})
                if not p.get("listed"):
                    continue
            human = add(p["box"], vocabulary.person)
            for action, objects in p["actions"].items():
                for verb in range(vocabulary.num_verbs):
                    name = vocabulary.verbs[verb].name
                    if name == action or name in objects:
                        for box in boxes_of(objects.get(name)):
                            class_ = hoi_of_box(vocabulary, verb, box)
                            object_ = vocabulary.hois[class_].object
                            interactions.append(
                                {
                                    "image_id": image_id, "human": human, "verb": verb,
                                    "object_instance": None if box is None else add(box, object_),
                                    "hoi": class_,
                                }
                            )  # fmt: skip
    images = [
        {"image_id": i, "file_name": f"{i}.jpg", "width": width, "height": height}
        for i, (width, height) in zip(ids, sizes, strict=True)
    ]
    return Annotations(
        pa.Table.from_pylist(images, schema=schema.IMAGES),
        pa.Table.from_pylist(instances, schema=schema.INSTANCES),
        pa.Table.from_pylist(interactions, schema=schema.INTERACTIONS),
        pa.Table.from_pylist(other, schema=schema.PLACED_UNLABELLED),
    )


def truths_of(people_of_images: list[list[dict]], vocabulary: Vocabulary) -> list[dict]:
    """The interactions of `partition`, as the HICO-DET reference takes them."""
    verbs = {verb.name: index for index, verb in enumerate(vocabulary.verbs)}
    return [
        {
            "image": image,
            "hoi": hoi_of_box(vocabulary, verbs[name], box),
            "human": p["box"],
            "object": box,
        }
        for image, people in enumerate(people_of_images)
        for p in people
        if p["labelled"]
        for action, objects in p["actions"].items()
        for name in (objects or {action: None})
        for box in boxes_of(objects.get(name))
    ]


def hoi_of_box(vocabulary: Vocabulary, verb: int, box: tuple | None) -> int:
    """A class of the verb; where there is a box, with an object other than people."""
    if box is None:
        return vocabulary.hoi_ids[verb, None]
    nobodies = (None, vocabulary.person)
    options = [hoi for (v, o), hoi in vocabulary.hoi_ids.items() if v == verb and o not in nobodies]
    return options[int(abs(box[0])) % len(options)]


def predictions(
    detections: list[dict], ids: list[int] | None = None, float64: bool = False
) -> pa.Table:
    rows = [
        {
            "image_id": d["image"] if ids is None else ids[d["image"]],
            "query": d["query"], "hoi": d["hoi"], "human_box_xyxy": d["human"],
            "object_box_xyxy": d["object"], "score": d["score"],
            "hoi_score": 0.0, "object_score": 0.0, "clip_score": 0.0,
        }
        for d in detections
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=FLOAT64 if float64 else schema.PREDICTIONS)


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


def real_case(
    num_images: int | None, seed: int = 0
) -> tuple[list[dict], list[list[dict]], list[tuple[int, int]]]:
    """V-COCO's test annotations, with roles and people left unlabelled, and detections of them.

    The file has pairs with an object alone. Some of these objects are taken away here, some people
    act without a role, and some are not labelled, so that every rule is met. Boxes and scores of
    the detections are jittered, copied exactly, or cut in half, and many scores are equal.
    """
    data = json.loads(VCOCO_TEST.read_text())
    vocabulary, rng = vcoco(), np.random.default_rng(seed)
    roles = [name.replace(" ", "_") for name in data["classes"]]
    alone = [v.name for v in vocabulary.verbs if not v.name.endswith(("_obj", "_instr"))]
    people_of_images, sizes, detections = [], [], []
    for image, a in enumerate(data["annotations"][:num_images]):
        people: dict[tuple, dict] = {}
        for human, box, role in zip(a["boxes_h"], a["boxes_o"], a["actions"], strict=True):
            p = people.setdefault(tuple(human), person(box=tuple(human), labelled=True))
            played = p["actions"].setdefault(roles[role].rsplit("_", 1)[0], {})
            played.setdefault(roles[role], []).append(tuple(box))
        for p in people.values():
            if rng.random() < 0.15:
                p.update(labelled=False, actions={})
            for played in p["actions"].values():
                for role in played:
                    if rng.random() < 0.2:
                        played[role] = None
            if p["labelled"] and rng.random() < 0.3:
                p["actions"][str(rng.choice(alone))] = {}
        people_of_images.append(list(people.values()))
        corners = np.array([*a["boxes_h"], *a["boxes_o"], [0, 0, 64, 48]], float)
        sizes.append((int(corners[:, 2].max()), int(corners[:, 3].max())))
        detections += _near(image, people_of_images[-1], vocabulary, rng)
    return detections, people_of_images, sizes


def _near(image: int, people: list[dict], vocabulary: Vocabulary, rng: np.random.Generator) -> list:
    """Some ten queries for the people of an image."""

    def changed(box: tuple) -> tuple:
        x1, y1, x2, y2 = box
        way = rng.random()
        if way < 0.2:
            return box
        if way < 0.3:
            return (x1, y1, x2, (y1 + y2) / 2)
        scale = 0.2 if way < 0.5 else 0.06
        return tuple(np.array(box) + rng.normal(0, scale, 4) * np.array([x2 - x1, y2 - y1] * 2))

    detections, verbs = [], {verb.name: index for index, verb in enumerate(vocabulary.verbs)}
    for query in range(int(rng.integers(4, 12))):
        stray = (*rng.uniform(0, 100, 2), *rng.uniform(110, 400, 2))
        p = people[rng.integers(len(people))] if people and rng.random() < 0.9 else None
        human = stray if p is None else changed(p["box"])
        played = [] if p is None else [item for r in p["actions"].values() for item in r.items()]
        hois, object_ = rng.integers(0, vocabulary.num_hois, 3).tolist(), stray
        if played:
            role, boxes = played[rng.integers(len(played))]
            box = boxes_of(boxes)[0]
            object_ = None if box is None else changed(box)
            hois = [hoi_of_box(vocabulary, verbs[role], box), *hois[1:]]
        if rng.random() < 0.15:
            object_ = stray if object_ is None else None
        for class_ in dict.fromkeys(hois):
            score = rng.random() if rng.random() < 0.5 else rng.integers(1, 20) / 20
            detections.append(
                detection(
                    float(score), image=image, query=query, hoi=class_, human=human, object=object_
                )
            )
    return detections
