"""The files that training with labels reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from hoiclip.core import schema
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.images.store import ImageStore


@dataclass(frozen=True)
class TrainPaths:
    """Files that training reads.

    Attributes:
        vocabulary: vocabulary.parquet.
        train: partition to learn from.
        classes: classes.parquet.
        images: folder of its images.
        text_embeddings: cache.
        clip: file of `hoiclip.checkpoints.clip.save_clip`.
        detector: DETR's weights, safetensors under DETR's names.
        verb_vectors: cache; None where the method has no verb classifier.
    """

    vocabulary: Path = Path("data/vocabulary.parquet")
    train: Path = Path("data/splits/train")
    classes: Path = Path("data/splits/classes.parquet")
    images: Path = Path("data/images/train")
    text_embeddings: Path = Path("caches/text_embeddings.parquet")
    clip: Path = Path("caches/weights/clip.safetensors")
    detector: Path = Path("caches/weights/detector.safetensors")
    verb_vectors: Path | None = None

    def files(self) -> list[Path]:
        """All of them."""
        return [path for path in vars(self).values() if path is not None]


@dataclass(frozen=True)
class TrainData:
    """The annotated files of `TrainPaths`, read and checked."""

    vocabulary: Vocabulary
    train: Annotations
    classes: pa.Table
    store: ImageStore

    @classmethod
    def read(cls, paths: TrainPaths) -> TrainData:
        """Reads and checks the tables.

        Raises:
            InputError: a table is absent, malformed or contradicts another.
        """
        vocabulary = Vocabulary.read(paths.vocabulary)
        train = Annotations.read(paths.train)
        train.check(paths.train, vocabulary)
        classes = schema.read_table(paths.classes, schema.CLASSES)
        return cls(vocabulary, train, classes, ImageStore(paths.images))

    @property
    def seen(self) -> np.ndarray:
        """(C,) bool: HOI classes that training may see."""
        return self.classes["seen"].to_numpy()

    def aspects(self) -> np.ndarray:
        """(I,) width by height of the images to learn from."""
        width, height = (self.train.images[key].to_numpy() for key in ("width", "height"))
        return width / height

    def median_shorter_side(self, most: int) -> int | None:
        """Of the images to learn from, px, at most `most`; None without images."""
        sides = np.minimum(*(self.train.images[key].to_numpy() for key in ("width", "height")))
        return min(int(np.median(sides)), most) if len(sides) else None
