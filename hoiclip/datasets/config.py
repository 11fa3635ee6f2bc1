"""The section `dataset` of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from hoiclip.datasets.hico_det import HicoDetConfig
from hoiclip.datasets.own import OwnConfig
from hoiclip.datasets.toy import ToyConfig
from hoiclip.datasets.vcoco import VcocoConfig
from hoiclip.fetch.download import Source
from hoiclip.inside import check_inside
from hoiclip.util.ranges import Config, Range


@dataclass(frozen=True, kw_only=True)
class Download(Source):
    """A file of the data set.

    Attributes:
        form: the form of annotations that needs the file (`mat`, `original`, ...); None: any.
    """

    form: str | None = None


@dataclass(frozen=True, kw_only=True)
class DatasetConfig(Config):
    """Which data set is prepared, and from what.

    Attributes:
        source: the data set; of the sections below, its own alone is read.
        raw: folder with its files.
        workers: processes that render or check images; the result does not depend on it.
        bad_images: what becomes of images that are missing, unreadable or of another size than
            stated: `error`, or `drop`, which leaves them out with their rows and reports them.
        drop_unknown: leaves out and reports boxes and interactions outside the vocabulary;
            otherwise they are an error.
        toy: the toy world.
        hico_det: HICO-DET.
        vcoco: V-COCO.
        own: people's own data.
        downloads: files that are fetched or have to be placed; paths are relative to `raw`.
    """

    source: Literal["toy", "hico_det", "vcoco", "own"]
    raw: str
    workers: Annotated[int, Range(1, 256)]
    bad_images: Literal["error", "drop"]
    drop_unknown: bool
    toy: ToyConfig
    hico_det: HicoDetConfig
    vcoco: VcocoConfig
    own: OwnConfig
    downloads: list[Download]

    def __post_init__(self) -> None:
        super().__post_init__()
        for index, entry in enumerate(self.downloads):
            for path in (entry.path, entry.unpack):
                if path is not None:
                    check_inside(f"downloads[{index}]", path, self.raw)
        for key in ("vocabulary", "train", "test"):
            check_inside(f"own.{key}", getattr(self.own, key), self.raw)
        check_inside("own.images", self.own.images, self.raw, folder_itself=True)
