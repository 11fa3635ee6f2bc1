"""What training starts from: data, caches, weights; and the fresh or warm-started detector."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from hoiclip import schema
from hoiclip.clip_weights import load_clip
from hoiclip.data.annotations import Annotations
from hoiclip.data.images import ImageStore
from hoiclip.data.transforms import TransformsConfig
from hoiclip.detr_file import read_detr
from hoiclip.model.config import ModelConfig
from hoiclip.model.hoiclip import HOICLIP, Tables
from hoiclip.model_file import LARGEST_SCALE, Detector
from hoiclip.text_embeddings import read_text_embeddings
from hoiclip.training.warm_start import warm_start_from_detr
from hoiclip.verb_vectors import read_verb_vectors
from hoiclip.vocabulary import Vocabulary


@dataclass(frozen=True)
class TrainPaths:
    """Files that training reads.

    Attributes:
        vocabulary: vocabulary.parquet.
        train: partition to learn from.
        validation: partition to choose the weights by.
        classes: classes.parquet.
        images: folder of the train images, which hold those of validation too.
        text_embeddings: cache.
        verb_vectors: cache.
        clip: file of `hoiclip.clip_weights.save_clip`.
        detector: DETR's weights, safetensors under DETR's names.
    """

    vocabulary: Path
    train: Path
    validation: Path
    classes: Path
    images: Path
    text_embeddings: Path
    verb_vectors: Path
    clip: Path
    detector: Path


@dataclass(frozen=True)
class TrainData:
    """The files of `TrainPaths`, read and checked."""

    vocabulary: Vocabulary
    train: Annotations
    validation: Annotations
    classes: pa.Table
    store: ImageStore

    @classmethod
    def read(cls, paths: TrainPaths) -> TrainData:
        """Reads and checks the tables.

        Raises:
            InputError: a table is absent, malformed or contradicts another.
        """
        vocabulary = Vocabulary.read(paths.vocabulary)
        partitions = []
        for folder in (paths.train, paths.validation):
            annotations = Annotations.read(folder)
            annotations.check(folder, vocabulary)
            partitions.append(annotations)
        classes = schema.read_table(paths.classes, schema.CLASSES)
        return cls(vocabulary, *partitions, classes, ImageStore(paths.images))

    @property
    def seen(self) -> np.ndarray:
        """(C,) bool: HOI classes that training may see."""
        return self.classes["seen"].to_numpy()

    @property
    def median_shorter_side(self) -> int | None:
        """Of the images to learn from, px; None without images."""
        sides = np.minimum(*(self.train.images[key].to_numpy() for key in ("width", "height")))
        return min(int(np.median(sides)), LARGEST_SCALE) if len(sides) else None


def build_detector(
    paths: TrainPaths,
    vocabulary: Vocabulary,
    config: ModelConfig,
    transforms: TransformsConfig,
    *,
    warm_start: bool,
    inference_scale: int | None = None,
) -> Detector:
    """A detector ready to train: tables from the caches, the rest from a DETR or random.

    `inference_scale` is what its file states for photographs where `transforms` have no scale.

    Raises:
        WeightsError: weights are absent or do not fit.
        InputError: a cache is absent or belongs to another vocabulary.
    """
    clip = load_clip(paths.clip).visual()
    text = read_text_embeddings(paths.text_embeddings, vocabulary)
    verb_vectors = None
    if config.verb.representation != "none":
        vectors = read_verb_vectors(
            paths.verb_vectors, config.verb.representation, vocabulary.num_verbs
        )
        verb_vectors = torch.from_numpy(vectors)
    tables = Tables(
        torch.from_numpy(text.hoi),
        torch.from_numpy(text.object_classifier),
        torch.from_numpy(vocabulary.verb_to_hoi),
        verb_vectors,
    )
    model = HOICLIP(config, tables, clip.visual_projection)
    if warm_start:
        warm_start_from_detr(model, read_detr(paths.detector, config.detector), paths.detector)
    return Detector(
        model, clip, vocabulary, config, transforms, {}, {}, inference_scale=inference_scale
    )
