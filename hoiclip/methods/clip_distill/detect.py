"""Detections by a frozen DETR with its own class head and queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from hoiclip.batches.batch import Batch, InferenceDataset
from hoiclip.batches.boxes import cxcywh_to_xyxy
from hoiclip.batches.loading import shard_batches
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.detr.file import PretrainedDetr, load_detr
from hoiclip.detr.network import Detr
from hoiclip.errors import WeightsError
from hoiclip.images.store import ImageStore
from hoiclip.methods.clip_distill.caches.config import DetectionsConfig, PassConfig
from hoiclip.methods.clip_distill.caches.detections import Detections, keep_detections
from hoiclip.model.config import DetectorConfig
from hoiclip.progress import track


@dataclass(frozen=True)
class ObjectDetector:
    """A frozen DETR that names a vocabulary's objects.

    Attributes:
        model: DETR.
        columns: of its class head, those of objects that the vocabulary has.
        objects: (len(columns),) int64, the vocabulary's object of each.
        person: object class of people.
        unknown: names of objects with HOI classes that the detector does not know; no pair has one.
    """

    model: Detr
    columns: tuple[int, ...]
    objects: np.ndarray
    person: int
    unknown: tuple[str, ...]

    @classmethod
    def of(cls, detr: PretrainedDetr, vocabulary: Vocabulary) -> ObjectDetector:
        """The detector's classes, found in the vocabulary by name; `_` in one is a space.

        Raises:
            ValueError: the detector knows no people, or none of the objects with HOI classes.
        """
        place = {_spaced(name): object_ for object_, name in enumerate(vocabulary.objects)}
        known = {
            column: place[_spaced(name)]
            for column, name in enumerate(detr.objects)
            if _spaced(name) in place
        }
        found = set(known.values())
        if vocabulary.person not in found:
            raise ValueError("the detector knows no people")
        asked = {hoi.object for hoi in vocabulary.hois if hoi.object is not None}
        unknown = tuple(sorted(vocabulary.objects[object_] for object_ in asked - found))
        if asked and len(unknown) == len(asked):
            raise ValueError("the detector knows none of the objects that have HOI classes")
        objects = np.array(list(known.values()), np.int64)
        return cls(detr.model, tuple(known), objects, vocabulary.person, unknown)

    @classmethod
    def read(
        cls, path: Path, config: DetectorConfig, num_queries: int | None, vocabulary: Vocabulary
    ) -> ObjectDetector:
        """The detector of a file; see `hoiclip.detr.file.load_detr`.

        Raises:
            WeightsError: the file is no such detector, or knows too little of the vocabulary.
        """
        try:
            return cls.of(load_detr(path, config, num_queries), vocabulary)
        except ValueError as error:
            raise WeightsError(f"{path}: {error}") from None

    def to(self, device: torch.device) -> ObjectDetector:
        """Moves the network."""
        self.model.to(device)
        return self


def _spaced(name: str) -> str:
    return name.replace("_", " ")


@torch.no_grad()
def detect(detector: ObjectDetector, batch: Batch, config: DetectionsConfig) -> list[Detections]:
    """What is kept of the detections in each image of a batch, in the order of the queries.

    A score is the largest softmax over the vocabulary's objects; the detector's other classes and
    'nothing' take part in the softmax, but are no candidates.

    Args:
        detector: frozen; images go to its device.
        batch: images at the sizes of `config.transforms`.
        config: which detections are kept.
    """
    device = detector.model.queries.weight.device
    outputs = detector.model(*batch.inputs(device))
    columns = torch.tensor(detector.columns, device=device)
    scores, classes = outputs.logits[-1].softmax(-1)[..., columns].max(-1)
    sizes = torch.tensor([[*size, *size] for size in batch.sizes])
    boxes = cxcywh_to_xyxy(outputs.boxes_cxcywh[-1].cpu()) * sizes[:, None]
    columns_of = (boxes, scores.cpu(), classes.cpu(), outputs.features[-1].cpu())
    return [
        keep_detections(
            Detections(
                box.numpy(), score.numpy(), detector.objects[place.numpy()], feature.numpy()
            ),
            detector.person,
            config,
        )
        for box, score, place, feature in zip(*columns_of, strict=True)
    ]


def detect_images(
    detector: ObjectDetector,
    images: pa.Table,
    store: ImageStore,
    config: DetectionsConfig,
    settings: PassConfig,
) -> list[Detections]:
    """As `detect_shards`, of all images as one shard."""
    (found,) = detect_shards(detector, images, store, config, settings, [range(len(images))])
    return found


def detect_shards(
    detector: ObjectDetector,
    images: pa.Table,
    store: ImageStore,
    config: DetectionsConfig,
    settings: PassConfig,
    shards: Sequence[range],
) -> Iterator[list[Detections]]:
    """What is kept of the detections in each image of each shard.

    Args:
        detector: frozen, on the device to compute on.
        images: rows of `schema.IMAGES`.
        store: where the images are.
        config: which detections are kept.
        settings: batch size and workers.
        shards: indices of images.

    Raises:
        InputError: an image cannot be read.
    """
    dataset = InferenceDataset(images, store, config.transforms, None)
    device = detector.model.queries.weight.device
    loaded = shard_batches(dataset, shards, settings.batch_size, settings.workers, device)
    for rows, (batches, count) in zip(shards, loaded, strict=True):
        found: dict[int, Detections] = {}
        for batch in track(batches, f"detections from image {rows.start}", count):
            found.update(zip(batch.indices, detect(detector, batch, config), strict=True))
        yield [found[index] for index in rows]
