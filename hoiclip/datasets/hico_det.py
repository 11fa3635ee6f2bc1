"""HICO-DET in `dataset.raw`, in any of the three forms in which its annotations travel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hoiclip.datasets.partition import SourcePartition, provenance
from hoiclip.formats.annotations import hico_instances, hico_mat, hoia
from hoiclip.formats.annotations.source import SourceOptions

_UNPACKED = Path("hico_20160224_det")
_VALID_PAIRS = Path("annotations/corre_hico.npy")
# Formats of the registry, which are imported here so that `deps` list them: it imports by name.
_FORMATS = {"mat": hico_mat, "hoia": hoia, "instances": hico_instances}
_FILES = {
    "mat": dict.fromkeys(("train", "test"), _UNPACKED / "anno_bbox.mat"),
    "hoia": {
        "train": Path("annotations/trainval_hico.json"),
        "test": Path("annotations/test_hico.json"),
    },
    "instances": {
        "train": Path("instances_train2015.json"),
        "test": Path("instances_test2015.json"),
    },
}


@dataclass(frozen=True, kw_only=True)
class HicoDetConfig:
    """HICO-DET.

    Attributes:
        annotations: `mat` (anno_bbox.mat), `hoia` (trainval_hico.json, test_hico.json and, where it
            is there, corre_hico.npy), `instances` (instances_{train,test}2015.json).
    """

    annotations: Literal["mat", "hoia", "instances"]


def form(config: HicoDetConfig) -> str:
    """Name of the form in which the annotations are."""
    return config.annotations


def needed(config: HicoDetConfig) -> list[Path]:
    """Files and folders that have to be there, relative to `dataset.raw`."""
    files = dict.fromkeys(_FILES[config.annotations].values())
    return [*files, *map(_images, ("train", "test"))]


def optional(config: HicoDetConfig) -> list[Path]:
    """Files that are used where they are there, relative to `dataset.raw`."""
    return [_VALID_PAIRS] if config.annotations == "hoia" else []


def read(
    raw: Path, config: HicoDetConfig, partition: Literal["train", "test"], *, drop_unknown: bool
) -> SourcePartition:
    """Reads the annotations of a partition.

    Raises:
        InputError: a file is absent or malformed.
    """
    path, images = raw / _FILES[config.annotations][partition], raw / _images(partition)
    valid_pairs = next((raw / p for p in optional(config) if (raw / p).exists()), None)
    options = SourceOptions(
        partition=partition,
        vocabulary="hico_det",
        images=images,
        skip_bad_images=True,
        numbering="coco",
        valid_pairs=valid_pairs,
        drop_unknown=drop_unknown,
    )
    files = [path] if valid_pairs is None else [path, valid_pairs]
    return SourcePartition(
        source=_FORMATS[config.annotations].load(path, options),
        images=images,
        provenance=provenance("hico_det", config.annotations, partition, files),
    )


def _images(partition: str) -> Path:
    return _UNPACKED / "images" / f"{partition}2015"
