"""Optimisation (`train` in params.yaml), with the paper's values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from hoiclip.data.transforms import TransformsConfig
from hoiclip.ranges import BatchSize, Config, Count, Range, Rate, Seed, Threads, Weight, Workers
from hoiclip.set_prediction.criterion import LossConfig
from hoiclip.set_prediction.matcher import MatchingConfig


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """Optimisation (`train` in params.yaml).

    Attributes:
        seed: of initialisation, order and augmentation.
        threads: CPU threads of one process; part of what decides the bits of a result.
        warm_start: whether encoder, instance decoder and box heads start from the DETR of `weights`
            (paper: yes) or from random weights.
        device: `cpu`, `cuda` or `auto`.
        epochs: (paper: 90).
        lr_drop_epoch: epoch from which the rate is multiplied by `lr_drop_factor` (60); one after
            the last does not drop it.
        lr_drop_factor: (0.1).
        workers: processes that load images beside the training one; 0 loads in it.
        batch_size: images per step (16); the last incomplete batch of an epoch is dropped.
        lr: AdamW's rate (1e-4).
        lr_backbone: the backbone's rate (1e-5); 0 freezes it.
        weight_decay: on every trained tensor (1e-4).
        clip_norm: largest gradient norm (0.1); 0 does not clip.
        validate_every: epochs between validations; the last epoch always validates.
        keep: `best` keeps the weights of the best validation mAP, `last` the last ones.
        loss: weights of the losses.
        matching: weights of the matching cost.
        transforms: image sizes and augmentation.
    """

    seed: Seed
    threads: Threads
    warm_start: bool
    device: Literal["cpu", "cuda", "auto"]
    epochs: Count
    lr_drop_epoch: Count
    lr_drop_factor: Annotated[float, Range(0, 1, above=True)]
    workers: Workers
    batch_size: BatchSize
    lr: Rate
    lr_backbone: Rate
    weight_decay: Rate
    clip_norm: Weight
    validate_every: Count
    keep: Literal["best", "last"]
    loss: LossConfig
    matching: MatchingConfig
    transforms: TransformsConfig
