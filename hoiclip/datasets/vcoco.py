"""V-COCO in `dataset.raw`: its original labels joined with COCO's boxes, or its pairs alone."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hoiclip.datasets.partition import SourcePartition, provenance
from hoiclip.formats.annotations import vcoco, vcoco_instances
from hoiclip.formats.annotations.source import SourceOptions

# Formats of the registry, which are imported here so that `deps` list them: it imports by name.
_FORMATS = {"original": vcoco, "instances": vcoco_instances}
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
    path, *coco = [raw / path for path in _files(config, partition)]
    image_ids = raw / _image_ids(partition)
    has_ids = config.annotations == "original" and image_ids.exists()
    images = raw / _images(partition)
    options = SourceOptions(
        images=images,
        skip_bad_images=True,
        coco=tuple(coco),
        image_ids=image_ids if has_ids else None,
        drop_unknown=drop_unknown,
    )
    source = _FORMATS[config.annotations].load(path, options)
    if partition != "test":
        # Nobody evaluates there.
        annotations = dataclasses.replace(source.annotations, unlabelled_people=None)
        source = dataclasses.replace(source, annotations=annotations)
    files = [path, *coco, image_ids] if has_ids else [path, *coco]
    form = config.annotations
    return SourcePartition(
        source=source,
        images=images,
        provenance=provenance("vcoco", form, partition, files, missing_roles=source.missing_roles),
    )


def _files(config: VcocoConfig, partition: str) -> list[Path]:
    if config.annotations == "instances":
        return [Path(f"instances_vcoco_{_NAME[partition]}.json")]
    coco = Path(f"annotations/instances_{_COCO_PART[partition]}.json")
    return [Path(f"vcoco_{_NAME[partition]}.json"), coco]


def _image_ids(partition: str) -> Path:
    return Path(f"vcoco_{_NAME[partition]}.ids")


def _images(partition: str) -> Path:
    return Path("images") / _COCO_PART[partition]
