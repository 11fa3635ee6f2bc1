"""Partitions and predictions to evaluate: random ones, and HICO-DET's real test annotations."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from hoiclip.core import schema
from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.data.annotations import Annotations

SHARED = Path(__file__).resolve().parents[3] / "shared"
HICO_TEST = SHARED / "data" / "hico_det" / "instances_test2015.json"

FLOAT64 = pa.schema(
    [
        pa.field(f.name, pa.list_(pa.float64(), 4) if pa.types.is_fixed_size_list(f.type) else kind)
        for f in schema.PREDICTIONS
        for kind in [pa.float64() if f.type == pa.float32() else f.type]
    ]
)
"""The predictions of somebody else, whose numbers nobody rounded."""


@dataclass(frozen=True)
class World:
    """Lists as the reference takes them; tables as the evaluation does."""

    detections: list[dict]
    truths: list[dict]
    vocabulary: Vocabulary
    images: pa.Table
    instances: pa.Table
    interactions: pa.Table
    classes: pa.Table
    float64: bool = False

    @property
    def predictions(self) -> pa.Table:
        return predictions_table(self.detections, self.images, self.float64)

    @property
    def annotations(self) -> Annotations:
        return Annotations(self.images, self.instances, self.interactions)

    @property
    def labels(self) -> tuple[Annotations, Vocabulary]:
        return self.annotations, self.vocabulary

    @property
    def parts(self) -> tuple[Annotations, Vocabulary, pa.Table]:
        return self.annotations, self.vocabulary, self.classes


def predictions_table(detections: list[dict], images: pa.Table, float64: bool = False) -> pa.Table:
    ids = images["image_id"].to_pylist()
    rows = [
        {
            "image_id": ids[d["image"]],
            "query": d["query"],
            "hoi": d["hoi"],
            "human_box_xyxy": list(d["human"]),
            "object_box_xyxy": None if d["object"] is None else list(d["object"]),
            "score": d["score"],
            "hoi_score": 0.0,
            "object_score": 0.0,
            "clip_score": 0.0,
        }
        for d in detections
    ]
    return pa.Table.from_pylist(rows, schema=FLOAT64 if float64 else schema.PREDICTIONS)


def partition(truths: list[dict], image_ids: list[int], vocabulary: Vocabulary) -> dict:
    """Tables of `truths`; equal boxes of one class are one instance."""
    instances: dict[tuple, int] = {}
    counts = [0] * len(image_ids)
    interactions = []

    def instance(image: int, box: tuple, object_: int) -> int:
        key = (image, tuple(box), object_)
        if key not in instances:
            instances[key] = counts[image]
            counts[image] += 1
        return instances[key]

    for t in truths:
        hoi = vocabulary.hois[t["hoi"]]
        missing = t["object"] is None
        interactions.append(
            {
                "image_id": image_ids[t["image"]],
                "human": instance(t["image"], t["human"], vocabulary.person),
                "object_instance": None
                if missing
                else instance(t["image"], t["object"], hoi.object),
                "verb": hoi.verb,
                "hoi": t["hoi"],
            }
        )
    rows = [
        {"image_id": image_ids[i], "instance": n, "object": o, "box_xyxy": list(b)}
        for (i, b, o), n in instances.items()
    ]
    images = [
        {"image_id": i, "file_name": f"{i}.png", "width": 64, "height": 64} for i in image_ids
    ]
    return {
        "images": pa.Table.from_pylist(images, schema=schema.IMAGES),
        "instances": pa.Table.from_pylist(rows, schema=schema.INSTANCES),
        "interactions": pa.Table.from_pylist(interactions, schema=schema.INTERACTIONS),
    }


def classes_table(rare: list[bool], seen: list[bool]) -> pa.Table:
    rows = [
        {"hoi": i, "train_instances": 3 if r else 30, "rare": r, "seen": s}
        for i, (r, s) in enumerate(zip(rare, seen, strict=True))
    ]
    return pa.Table.from_pylist(rows, schema=schema.CLASSES)


def small_vocabulary() -> Vocabulary:
    """Seven classes of three objects; `random_world` leaves the last ones empty."""
    hois = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 2), (3, 2)]
    verbs = tuple(Verb(name, name) for name in ("hold", "ride", "see", "eat"))
    return Vocabulary(("person", "cup", "dog"), verbs, tuple(Hoi(v, o) for v, o in hois))


def random_world(seed: int) -> World:
    """Boxes from a coarse grid (IoU of exactly 1/2 is common), few scores (ties), empty images."""
    rng = np.random.default_rng(seed)
    vocabulary = small_vocabulary()
    num_images = int(rng.integers(1, 7))
    pool = [
        tuple(float(v) for v in (x, y, x + w, y + h))
        for x, y, w, h in rng.choice([1, 2, 3, 4, 6, 8], (8, 4))
    ]

    def box() -> tuple:
        return pool[rng.integers(len(pool))]

    truths = [
        {"image": i, "hoi": int(rng.integers(5)), "human": box(), "object": box()}
        for i in range(num_images)
        for _ in range(rng.integers(0, 7))
    ]
    detections = []
    for image in range(num_images):
        if rng.random() < 0.15:
            continue
        for query in range(int(rng.integers(1, 8))):
            human, object_ = box(), box()
            detections += [
                {
                    "image": image,
                    "query": query,
                    "hoi": int(hoi),
                    "human": human,
                    "object": object_,
                    "score": float(rng.integers(1, 5)) / 8,
                }
                for hoi in rng.choice(6, rng.integers(0, 6), replace=False)
            ]
    order = rng.permutation(len(detections))
    ids = [int(v) for v in rng.permutation(1000)[:num_images]]
    rare = (rng.random(7) < 0.5).tolist()
    seen = (rng.random(7) < 0.7).tolist() if rng.random() < 0.5 else [True] * 7
    return World(
        [detections[i] for i in order],
        truths,
        vocabulary,
        **partition(truths, ids, vocabulary),
        classes=classes_table(rare, seen),
    )


def hico_world(num_images: int | None, rows_per_image: int, seed: int = 0) -> World:
    """HICO-DET's test annotations (1-based inclusive in the file) and detections made from them.

    Boxes are jittered, copied exactly, or cut in half (an IoU of exactly 1/2); rows repeat, many
    scores are equal, and images without a pair are detected in, too. No number is rounded.
    """
    data = json.loads(HICO_TEST.read_text())
    verbs = tuple(Verb(name, name) for name in data["verbs"])
    pairs = {hoi: (verb, object_) for hoi, object_, verb in data["correspondence"]}
    hois = tuple(Hoi(*pairs[hoi]) for hoi in range(len(pairs)))
    vocabulary = Vocabulary(tuple(data["objects"]), verbs, hois)
    annotations = data["annotation"][:num_images]
    rng = np.random.default_rng(seed)

    def continuous(box: list[float]) -> tuple:
        return (box[0] - 1, box[1] - 1, box[2], box[3])

    def changed(box: tuple) -> tuple:
        x1, y1, x2, y2 = box
        way = rng.random()
        if way < 0.2:
            return box
        if way < 0.3:
            return (x1, y1, x2, (y1 + y2) / 2)
        return tuple((np.array(box) + rng.normal(0, 6, 4)).tolist())

    truths = [
        {"image": i, "hoi": hoi, "human": continuous(h), "object": continuous(o)}
        for i, a in enumerate(annotations)
        for h, o, hoi in zip(a["boxes_h"], a["boxes_o"], a["hoi"], strict=True)
    ]
    detections: list[dict] = []
    for image, a in enumerate(annotations):
        classes = a["hoi"] + rng.integers(0, len(hois), 6).tolist()
        boxes = [continuous(b) for b in (*a["boxes_h"], *a["boxes_o"])] or [(0.0, 0.0, 99.0, 99.0)]
        for row in range(rows_per_image):
            if row and rng.random() < 0.1:
                again = {"query": row, "score": float(rng.integers(1, 500) / 500)}
                detections.append(detections[-1] | again)
                continue
            near = len(a["hoi"]) and rng.random() < 0.7
            pick = int(rng.integers(len(a["hoi"]))) if near else 0
            sides = (
                (continuous(a["boxes_h"][pick]), continuous(a["boxes_o"][pick]))
                if near
                else tuple(boxes[int(j)] for j in rng.integers(0, len(boxes), 2))
            )
            hoi = a["hoi"][pick] if near and rng.random() < 0.6 else rng.choice(classes)
            score = rng.random() if rng.random() < 0.5 else rng.integers(1, 500) / 500
            detections.append(
                {
                    "image": image,
                    "query": row,
                    "hoi": int(hoi),
                    "human": changed(sides[0]),
                    "object": changed(sides[1]),
                    "score": float(score),
                }
            )
    rare = set(data["rare"])
    return World(
        detections,
        truths,
        vocabulary,
        **partition(truths, list(range(len(annotations))), vocabulary),
        classes=classes_table([h in rare for h in range(len(hois))], [True] * len(hois)),
        float64=True,
    )
