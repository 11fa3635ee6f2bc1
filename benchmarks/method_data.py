"""Made-up images with annotated pairs, detections and CLIP's scores, for benchmarks of methods.

Images are JPEG files with smooth random content, half of 640 x 480 and half of 640 x 427 pixels,
HICO-DET's commonest sizes, each with four annotated pairs, or four people and four things detected.
The vocabulary is HICO-DET's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.loading import jpeg
from benchmarks.network_inputs import PAIRS_PER_IMAGE
from hoiclip.batches.batch import ClipView
from hoiclip.catalog.vocabularies import hico_det
from hoiclip.core import schema
from hoiclip.data.annotations import Annotations
from hoiclip.images.store import ImageStore
from hoiclip.methods.clip_distill.caches.classes import classes_of_object
from hoiclip.methods.clip_distill.caches.detections import Detections
from hoiclip.methods.clip_distill.caches.inputs import DistillCaches
from hoiclip.methods.clip_distill.caches.pairs import make_pairs
from hoiclip.methods.clip_distill.caches.tables import ImageCosines, PairCosines
from hoiclip.methods.clip_distill.model.config import ClipDistillConfig
from hoiclip.methods.clip_distill.model.data import DistillData
from hoiclip.training.batches import BatchOrder, Part

SIZES = [(640, 480), (640, 427)]
_DETECTED = 4


def write_images(folder: Path, count: int) -> None:
    """Writes `count` images, named by their numbers, of `SIZES` in turn."""
    rng = np.random.default_rng(0)
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(jpeg(SIZES[number % len(SIZES)], rng))


def image_table(numbers: list[int]) -> pa.Table:
    """Rows of `schema.IMAGES` of images by their numbers, which may be there again and again."""
    sizes = np.array([SIZES[number % len(SIZES)] for number in numbers])
    columns = {
        "image_id": np.arange(len(numbers)),
        "file_name": [f"{number}.jpg" for number in numbers],
        "width": sizes[:, 0],
        "height": sizes[:, 1],
    }
    return pa.table(columns).cast(schema.IMAGES)


def boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 4) boxes_xyxy within every image, of 60 to 260 px, with a seventh of its area."""
    corner = rng.uniform((0, 0), (340, 140), (count, 2))
    return np.concatenate([corner, corner + rng.uniform(60, 260, (count, 2))], 1)


def annotated(count: int) -> Annotations:
    """Four pairs of each of `count` images, of HOI classes at random."""
    rng, vocabulary = np.random.default_rng(1), hico_det()
    image = np.repeat(np.arange(count), PAIRS_PER_IMAGE)
    hoi = rng.integers(0, vocabulary.num_hois, len(image))
    pair = np.tile(np.arange(PAIRS_PER_IMAGE), count)
    person = np.full(len(hoi), vocabulary.person)
    instances = {
        "image_id": np.repeat(image, 2),
        "instance": np.stack([2 * pair, 2 * pair + 1], 1).ravel(),
        "object": np.stack([person, vocabulary.object_of_hoi[hoi]], 1).ravel(),
        "box_xyxy": schema.numpy_to_fixed_lists(boxes(rng, 2 * len(image))),
    }
    interactions = {
        "image_id": image,
        "human": 2 * pair,
        "object_instance": 2 * pair + 1,
        "verb": vocabulary.verb_of_hoi[hoi],
        "hoi": hoi,
    }
    return Annotations(
        image_table(list(range(count))),
        pa.table(instances).cast(schema.INSTANCES),
        pa.table(interactions).cast(schema.INTERACTIONS),
    )


def distill_data(
    count: int, folder: Path, config: ClipDistillConfig, width: int, side: int, view: ClipView
) -> DistillData:
    """What the student learns from: four people and four things of each image, 28 pairs.

    Args:
        count: of images.
        folder: where they are.
        config: of the method.
        width: of the detector's features.
        side: of CLIP's view, px.
        view: makes CLIP's input.
    """
    rng, vocabulary = np.random.default_rng(2), hico_det()
    classes = classes_of_object(vocabulary)
    things = np.delete(np.arange(vocabulary.num_objects), vocabulary.person)
    found, unions = [], []
    for _ in range(count):
        objects = np.append([vocabulary.person] * _DETECTED, rng.choice(things, _DETECTED))
        detections = Detections(
            boxes(rng, 2 * _DETECTED).astype(np.float32),
            rng.uniform(0.3, 1, 2 * _DETECTED).astype(np.float32),
            objects.astype(np.int64),
            rng.normal(size=(2 * _DETECTED, width)).astype(np.float32),
        )
        pairs = make_pairs(detections, vocabulary, config.detections.max_pairs)
        mask = classes.mask[pairs.objects]
        cosines = np.where(mask, cosines_like(rng, *mask.shape), 0).astype(np.float32)
        found.append(detections)
        unions.append(PairCosines(pairs, cosines, cosines_like(rng, len(pairs))))
    whole = ImageCosines(
        cosines_like(rng, count, vocabulary.num_hois),
        cosines_like(rng, count, len(classes.has_null)),
    )
    rows = list(range(count))
    caches = DistillCaches(vocabulary, image_table(rows), classes, found, unions, whole)
    return DistillData(caches, rows, config.teacher, side, ImageStore(folder), view)


def cosines_like(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Numbers as CLIP's cosines of images and texts are."""
    return rng.normal(0.25, 0.05, shape).astype(np.float32)


class InOrder(BatchOrder):
    """The images by their numbers, so that every batch has the same sizes."""

    def epoch(self, epoch: int, done: int = 0) -> Iterator[list[Part]]:
        """See `BatchOrder.epoch`."""
        for step in range(done, self.steps):
            yield [list(range(step * self.batch_size, (step + 1) * self.batch_size))]
