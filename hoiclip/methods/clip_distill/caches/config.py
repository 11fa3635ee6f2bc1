"""Settings of the passes that make the caches (`clip_distill` in params.yaml); values are ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from hoiclip.batches.transforms import TransformsConfig
from hoiclip.core.config import check
from hoiclip.util.ranges import (
    BatchSize,
    Config,
    Count,
    CountOrZero,
    Device,
    Pixels,
    Probability,
    Range,
    Threads,
    Workers,
)

View = Literal["pad", "crop"]
"""What CLIP sees of an image or a union; see `TeacherConfig.view`."""


@dataclass(frozen=True, kw_only=True)
class PassConfig(Config):
    """How the caches are computed.

    Attributes:
        device: `cpu`, `cuda`, `cuda:NUMBER` or `auto`.
        threads: CPU threads; part of what decides the bits of a result.
        workers: processes that read and cut images beside the computing one; no part of the result.
        batch_size: images that detector and CLIP see at once; decides the last bits.
    """

    device: Device
    threads: Threads
    workers: Workers
    batch_size: BatchSize


@dataclass(frozen=True, kw_only=True)
class DetectionsConfig(Config):
    """Which detections are kept, and how many pairs of them are learnt from.

    Attributes:
        num_queries: of the detector, the first so many; null takes all. A DETR pretrained with
            groups of queries is one group's size.
        test_scale: shorter side of what the detector sees, px (800); 0 leaves images as they are.
        max_side: its longest side (1333).
        score_threshold: least score (0.2).
        nms_iou: a box that overlaps a better one of its class by more is dropped (0.5); null keeps
            all.
        min_instances: so many people are kept whatever their score, and as many other instances
            (3).
        max_instances: no more people are kept, nor other instances (15); null keeps all.
        max_pairs: best pairs of an image to learn from (64); null takes all. Inference takes all.
    """

    num_queries: Annotated[int, Range(1, 10_000)] | None
    test_scale: Annotated[int, Range(0, 16_384)]
    max_side: Pixels
    score_threshold: Probability
    nms_iou: Probability | None
    min_instances: CountOrZero
    max_instances: Count | None
    max_pairs: Count | None

    def __post_init__(self) -> None:
        super().__post_init__()
        most = self.max_instances
        check(
            most is None or most >= self.min_instances,
            f"max_instances: {most}, expected at least min_instances, {self.min_instances}",
        )

    @property
    def transforms(self) -> TransformsConfig:
        """How the detector sees images, in training and in inference."""
        return TransformsConfig(
            flip=0.0,
            color_jitter=0.0,
            scales=[],
            crop_scales=[],
            crop_sides=[1, 1],
            max_side=self.max_side,
            test_scale=self.test_scale,
        )
