"""The toy world as a data set: rendered partitions in the one annotation schema."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from hoiclip.core import schema
from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.images.store import write_shards
from hoiclip.progress import track
from hoiclip.toy import world
from hoiclip.toy.drawing import render
from hoiclip.util.ranges import Config, Images, Seed

PARTITIONS = ("train", "test")
# A class has at least so many instances, where there are scenes enough for all classes.
MINIMUM_INSTANCES = {"train": 2, "test": 10}


@dataclass(frozen=True, kw_only=True)
class ToyConfig(Config):
    """The toy world.

    Attributes:
        seed: of the world; the toy weights belong to it.
        train_images: scenes of the train partition.
        test_images: scenes of the test partition.
    """

    seed: Seed
    train_images: Images
    test_images: Images


def toy_vocabulary() -> Vocabulary:
    """Objects, verbs and HOI classes of the toy world."""
    return Vocabulary(
        world.OBJECTS,
        tuple(Verb(verb.name, verb.phrase) for verb in world.VERBS),
        tuple(Hoi(verb, object_) for verb, object_ in world.HOIS),
    )


def write_toy_partition(
    partition: str, *, seed: int, num_images: int, annotations: Path, images: Path, workers: int = 2
) -> Annotations:
    """Renders a partition: image shards and annotation tables.

    Partitions of one seed draw from separate random streams. As in HICO-DET, only people and
    objects of annotated pairs have boxes; bystanders and idle objects have none.

    Args:
        partition: `train` (long-tailed) or `test` (flatter, every class at least ten times).
        seed: of the world.
        num_images: scenes to render.
        annotations: folder to write the tables to.
        images: folder to write the tar shards to.
        workers: processes that render.
    """
    rng = np.random.default_rng([seed, PARTITIONS.index(partition)])
    weights = world.train_weights() if partition == "train" else world.test_weights()
    minimum = min(MINIMUM_INSTANCES[partition], num_images // len(world.HOIS))
    scenes = list(world.sample_corpus(rng, num_images, world.HOIS, weights, minimum))
    names = [f"toy_{partition}_{index:06d}.jpg" for index in range(num_images)]
    boxes: list[np.ndarray] = []

    def encoded() -> Iterator[tuple[str, bytes]]:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            rendered = pool.map(_render_jpeg, scenes, chunksize=32)
            for name, (data, scene_boxes) in zip(
                names, track(rendered, f"render {partition}", num_images), strict=True
            ):
                boxes.append(scene_boxes)
                yield name, data

    write_shards(images, encoded())
    tables = _tables(names, scenes, boxes)
    tables.write(annotations, {"source": "toy", "seed": seed, "partition": partition})
    return tables


def _render_jpeg(scene: world.Scene) -> tuple[bytes, np.ndarray]:
    pixels, boxes_xyxy = render(scene)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue(), boxes_xyxy


def _tables(names: list[str], scenes: list[world.Scene], boxes: list[np.ndarray]) -> Annotations:
    hoi_ids = toy_vocabulary().hoi_ids
    images, instances, interactions = [], [], []
    for image_id, (name, scene, scene_boxes) in enumerate(zip(names, scenes, boxes, strict=True)):
        size = {"width": world.SIZE, "height": world.SIZE}
        images.append({"image_id": image_id, "file_name": name, **size})
        used = sorted({index for pair in scene.pairs for index in (pair.human, pair.object)})
        instance_of = {entity: instance for instance, entity in enumerate(used)}
        for entity, instance in instance_of.items():
            instances.append(
                {
                    "image_id": image_id,
                    "instance": instance,
                    "object": scene.entities[entity].category,
                    "box_xyxy": scene_boxes[entity].astype(np.float64).tolist(),
                }
            )
        for pair in scene.pairs:
            for verb in pair.verbs:
                interactions.append(
                    {
                        "image_id": image_id,
                        "human": instance_of[pair.human],
                        "object_instance": instance_of[pair.object],
                        "verb": verb,
                        "hoi": hoi_ids[verb, scene.entities[pair.object].category],
                    }
                )
    return Annotations(
        pa.Table.from_pylist(images, schema=schema.IMAGES),
        pa.Table.from_pylist(instances, schema=schema.INSTANCES),
        pa.Table.from_pylist(interactions, schema=schema.INTERACTIONS),
    )
