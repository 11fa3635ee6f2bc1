"""Made-up partitions of HICO-DET's shape in any number of images, and network outputs for any."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from hoiclip.core import schema
from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.data.annotations import Annotations

QUERIES, OBJECTS, VERBS, HOIS = 64, 80, 117, 600


def vocabulary() -> Vocabulary:
    hois = tuple(Hoi(i % VERBS, i * OBJECTS // HOIS) for i in range(HOIS))
    objects = ("person", *(f"object {i}" for i in range(1, OBJECTS)))
    verbs = tuple(Verb(f"verb {i}", f"verb {i}") for i in range(VERBS))
    return Vocabulary(objects, verbs, hois)


def made_up(num_images: int, rng: np.random.Generator) -> tuple[Annotations, Vocabulary]:
    """Some 3.5 interactions per image."""
    vocab = vocabulary()
    truths = rng.poisson(3.5, num_images)
    image = np.repeat(np.arange(num_images), truths)
    hoi = np.minimum(rng.geometric(1 / 60, len(image)) - 1, HOIS - 1)
    corner = rng.uniform(0, 300, (len(image), 2, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(20, 300, corner.shape)], -1)
    number = np.arange(len(image)) - np.repeat(np.cumsum(truths) - truths, truths)
    instances = {
        "image_id": np.repeat(image, 2),
        "instance": (2 * number[:, None] + [0, 1]).ravel(),
        "object": np.stack([np.zeros_like(hoi), vocab.object_of_hoi[hoi]], 1).ravel(),
        "box_xyxy": schema.numpy_to_fixed_lists(boxes.reshape(-1, 4)),
    }
    interactions = {
        "image_id": image,
        "human": 2 * number,
        "object_instance": 2 * number + 1,
        "verb": vocab.verb_of_hoi[hoi],
        "hoi": hoi,
    }
    images = {
        "image_id": np.arange(num_images),
        "file_name": [f"{i}.jpg" for i in range(num_images)],
        "width": np.full(num_images, 640),
        "height": np.full(num_images, 640),
    }
    return Annotations(
        pa.table(images).cast(schema.IMAGES),
        pa.table(instances).cast(schema.INSTANCES),
        pa.table(interactions).cast(schema.INTERACTIONS),
    ), vocab


def world(annotations: Annotations, vocab: Vocabulary, rng: np.random.Generator) -> dict[str, Any]:
    """The tables, and network outputs that find many of the interactions."""
    num_images = len(annotations.images)
    pairs = annotations.pairs()
    ids = annotations.images["image_id"].to_numpy()
    places = np.argsort(ids)
    image = places[np.searchsorted(ids[places], pairs.image_ids)]
    order = np.argsort(image, kind="stable")
    first = np.searchsorted(image[order], np.arange(num_images))
    number = np.empty_like(order)
    number[order] = np.arange(len(order)) - first[image[order]]
    boxes = np.stack([pairs.human_boxes_xyxy, pairs.object_boxes_xyxy], 1)
    hoi = np.empty(len(image), np.int64)
    hoi[pairs.pair_of_row] = pairs.hoi_of_row
    rare = np.bincount(pairs.hoi_of_row, minlength=HOIS) < 10
    classes = {
        "hoi": np.arange(HOIS),
        "train_instances": np.where(rare, 5, 50),
        "rare": rare,
        "seen": np.ones(HOIS, bool),
    }
    hoi_prob = np.empty((num_images, QUERIES, HOIS), np.float32)
    for row in hoi_prob:
        rng.random(out=row, dtype=np.float32)
        np.power(row, 8, out=row)
    object_prob = rng.random((num_images, QUERIES, OBJECTS), dtype=np.float32) ** 8
    corner = rng.uniform(0, 400, (num_images, QUERIES, 2, 2))
    found = np.concatenate([corner, corner + rng.uniform(20, 240, corner.shape)], -1)
    found = found.astype(np.float32)
    # Eight queries stand for each of the first eight pairs of an image.
    for copy in range(8):
        rows = number < 8
        query = number[rows] * 8 + copy
        found[image[rows], query] = boxes[rows] + rng.normal(0, 8, (rows.sum(), 2, 4))
        hoi_prob[image[rows], query, hoi[rows]] += rng.random(rows.sum(), dtype=np.float32)
    return {
        "vocabulary": vocab,
        "annotations": annotations,
        "classes": pa.table(classes).cast(schema.CLASSES),
        "network": (hoi_prob, object_prob, found[:, :, 0], found[:, :, 1], vocab.object_of_hoi),
        "similarity": rng.normal(0.2, 0.05, (num_images, HOIS)).astype(np.float32),
    }
