"""The files that the method reads, and the caches that it makes of them: no label is among them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast, get_args

import pyarrow as pa

from hoiclip.core import schema
from hoiclip.core.config import from_mapping, read_params
from hoiclip.core.files import sha256_file
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.errors import InputError, ParamsError
from hoiclip.methods.clip_distill.caches.classes import ObjectClasses, classes_of_object
from hoiclip.methods.clip_distill.caches.config import DetectionsConfig, PassConfig, View
from hoiclip.methods.clip_distill.caches.detections import Detections
from hoiclip.methods.clip_distill.caches.tables import (
    ImageCosines,
    PairCosines,
    read_detections,
    read_image_scores,
    read_union_scores,
)
from hoiclip.model.config import DetectorConfig
from hoiclip.util.ranges import quoted


@dataclass(frozen=True)
class DistillPaths:
    """Where the files are.

    Attributes:
        vocabulary: vocabulary.parquet.
        image_table: rows of `schema.IMAGES`.
        images: folder of these images.
        text_embeddings: cache.
        clip: file of `hoiclip.checkpoints.clip.save_clip`.
        detector: file of a DETR.
        detections: cache.
        image_scores: cache.
        union_scores: cache.
    """

    vocabulary: Path
    image_table: Path
    images: Path
    text_embeddings: Path
    clip: Path
    detector: Path
    detections: Path
    image_scores: Path
    union_scores: Path

    @classmethod
    def of_project(cls, root: str | Path = ".") -> DistillPaths:
        """Files of a project's train images: all of them, not those that have labels."""
        root = Path(root)
        return cls(
            root / "data/vocabulary.parquet",
            root / "data/annotations/train/images.parquet",
            root / "data/images/train",
            root / "caches/text_embeddings.parquet",
            root / "caches/weights/clip.safetensors",
            root / "caches/weights/detector.safetensors",
            *(
                root / "caches/clip_distill" / f"{name}.parquet"
                for name in ("detections", "image_scores", "union_scores")
            ),
        )

    def files(self) -> list[Path]:
        """All of them."""
        return list(vars(self).values())


@dataclass(frozen=True)
class CacheSettings:
    """Params that the passes which make the caches read.

    Attributes:
        passes: `clip_distill.caches`.
        detections: `clip_distill.detections`.
        view: `clip_distill.teacher.view`.
        detector: sizes of the pretrained detector, `model.detector`.
    """

    passes: PassConfig
    detections: DetectionsConfig
    view: View
    detector: DetectorConfig

    @classmethod
    def read(cls, params: Path) -> CacheSettings:
        """Reads a params file; the rest of `clip_distill` is not looked at.

        Raises:
            ParamsError: a section is missing or wrong.
        """
        detector = detector_sizes(params)
        method = read_params(params).get("clip_distill")
        if not isinstance(method, dict):
            raise ParamsError(f"{params}: section 'clip_distill' is missing")
        where, teacher = f"{params}: clip_distill", method.get("teacher")
        # The rest of the teacher's section is training's.
        view = teacher.get("view") if isinstance(teacher, dict) else None
        if view not in get_args(View):
            expected = " or ".join(get_args(View))
            raise ParamsError(f"{where}.teacher.view: {quoted(view)}, expected {expected}")
        return cls(
            from_mapping(PassConfig, method.get("caches"), f"{where}.caches"),
            from_mapping(DetectionsConfig, method.get("detections"), f"{where}.detections"),
            cast(View, view),
            detector,
        )


def detector_sizes(params: Path) -> DetectorConfig:
    """`model.detector` of a params file.

    Raises:
        ParamsError: it is missing or wrong.
    """
    model = read_params(params).get("model")
    if not isinstance(model, dict) or "detector" not in model:
        raise ParamsError(f"{params}: model.detector: missing")
    return from_mapping(DetectorConfig, model["detector"], f"{params}: model.detector")


def read_images(path: Path) -> pa.Table:
    """The images to learn from, one or more rows of `schema.IMAGES`.

    Raises:
        InputError: the table is absent, malformed or empty.
    """
    images = schema.read_table(path, schema.IMAGES)
    if not len(images):
        fix = "Give a data set with train images; they need no labels"
        raise InputError(path, "no images to learn from", fix=fix)
    return images


def detections_origin(paths: DistillPaths, settings: CacheSettings) -> dict[str, Any]:
    """What detections are made of; see `hoiclip.methods.clip_distill.caches.tables`."""
    rule = asdict(settings.detections)
    del rule["max_pairs"]  # of pairs, not of detections
    return {
        "detector": sha256_file(paths.detector),
        "detector size": settings.detector.sizes(),
        "image table": sha256_file(paths.image_table),
        "vocabulary": sha256_file(paths.vocabulary),
        "detection rule": rule,
    }


def scores_origin(paths: DistillPaths, settings: CacheSettings) -> dict[str, Any]:
    """What CLIP's scores are made of."""
    return {
        "clip": sha256_file(paths.clip),
        "text embeddings": sha256_file(paths.text_embeddings),
        "view": settings.view,
        "most pairs": settings.detections.max_pairs,
        "detections": sha256_file(paths.detections),
    } | detections_origin(paths, settings)


@dataclass(frozen=True)
class DistillCaches:
    """The method's caches and what they are about, read and checked.

    Attributes:
        vocabulary: objects and HOI classes.
        images: N rows of `schema.IMAGES`.
        classes: of the vocabulary.
        detections: of each image.
        unions: CLIP's cosines of each image's pairs.
        whole: CLIP's cosines of the images.
    """

    vocabulary: Vocabulary
    images: pa.Table
    classes: ObjectClasses
    detections: list[Detections]
    unions: list[PairCosines]
    whole: ImageCosines

    @classmethod
    def read(cls, paths: DistillPaths, settings: CacheSettings) -> DistillCaches:
        """Reads the caches.

        Raises:
            InputError: one is absent, malformed, or made of something else; or there are no images.
        """
        vocabulary = Vocabulary.read(paths.vocabulary)
        images = read_images(paths.image_table)
        ids = images["image_id"].to_pylist()
        classes = classes_of_object(vocabulary)
        origin = detections_origin(paths, settings)
        found = read_detections(paths.detections, ids, vocabulary.num_objects, origin)
        origin = scores_origin(paths, settings)
        unions = read_union_scores(
            paths.union_scores, ids, found, classes, vocabulary.num_objects, origin
        )
        sizes = (vocabulary.num_hois, len(classes.has_null))
        whole = read_image_scores(paths.image_scores, ids, *sizes, origin)
        return cls(vocabulary, images, classes, found, unions, whole)
