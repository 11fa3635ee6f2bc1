"""V-COCO in `dataset.raw`: its original labels joined with COCO's boxes, or its pairs alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from hoiclip.data.sources.partition import SourcePartition, provenance, stored_sizes
from hoiclip.formats.annotations import vcoco, vcoco_instances
from hoiclip.formats.annotations.coco import CocoInstances

_COCO_PART = {"train": "train2014", "test": "val2014"}
_NAME = {"train": "trainval", "test": "test"}


@dataclass(frozen=True, kw_only=True)
class VcocoConfig:
    """V-COCO.

    Attributes:
        annotations: `original` (vcoco_{trainval,test}.json, COCO's instances_{train,val}2014.json
            and, where they are there, vcoco_{trainval,test}.ids), or `instances`
            (instances_vcoco_{trainval,test}.json), which cannot express roles without an object.
    """

    annotations: Literal["original", "instances"]


def form(config: VcocoConfig) -> str:
    """Name of the form in which the annotations are."""
    return config.annotations


def needed(config: VcocoConfig) -> list[Path]:
    """Files and folders that have to be there, relative to `dataset.raw`."""
    files = [path for partition in _NAME for path in _files(config, partition)]
    return [*files, *map(_images, _NAME)]


def optional(config: VcocoConfig) -> list[Path]:
    """Files that are used where they are there, relative to `dataset.raw`."""
    return [_image_ids(p) for p in _NAME] if config.annotations == "original" else []


def read(
    raw: Path, config: VcocoConfig, partition: Literal["train", "test"], *, drop_unknown: bool
) -> SourcePartition:
    """Reads the annotations of a partition; of `test`, people without labels too, if it can.

    Raises:
        InputError: a file is absent or malformed.
    """
    files = [raw / path for path in _files(config, partition)]
    images = raw / _images(partition)
    unlabelled: pa.Table | None = None
    if config.annotations == "original":
        labels, coco = files[0], CocoInstances(files[1:])
        image_ids = raw / _image_ids(partition) if (raw / _image_ids(partition)).exists() else None
        files += [image_ids] if image_ids else []
        read = vcoco.read(labels, coco, image_ids=image_ids, drop_unknown=drop_unknown)
        if partition == "test":
            unlabelled = vcoco.unlabelled_people(labels, coco, read[0].images, read[0].instances)
    else:
        read = vcoco_instances.read(files[0], stored_sizes(images), drop_unknown=drop_unknown)
    annotations, vocabulary, report = read
    return SourcePartition(
        annotations=annotations,
        vocabulary=vocabulary,
        report=report,
        images=images,
        image_rows=np.arange(annotations.images.num_rows),
        provenance=provenance(
            "vcoco", config.annotations, partition, files,
            missing_roles=config.annotations == "original",
        ),
        unlabelled_people=unlabelled,
    )  # fmt: skip


def _files(config: VcocoConfig, partition: str) -> list[Path]:
    if config.annotations == "instances":
        return [Path(f"instances_vcoco_{_NAME[partition]}.json")]
    coco = Path(f"annotations/instances_{_COCO_PART[partition]}.json")
    return [Path(f"vcoco_{_NAME[partition]}.json"), coco]


def _image_ids(partition: str) -> Path:
    return Path(f"vcoco_{_NAME[partition]}.ids")


def _images(partition: str) -> Path:
    return Path("images") / _COCO_PART[partition]
