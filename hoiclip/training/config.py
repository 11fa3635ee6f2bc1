"""Optimisation (`train` in params.yaml), with the paper's values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hoiclip.config import check
from hoiclip.criterion import LossConfig
from hoiclip.data.transforms import TransformsConfig
from hoiclip.matcher import MatchingConfig


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Optimisation (`train` in params.yaml).

    Attributes:
        seed: of initialisation, order and augmentation.
        threads: CPU threads of one process; part of what decides the bits of a result.
        warm_start: whether encoder, instance decoder and box heads start from the DETR of `weights`
            (paper: yes) or from random weights.
        device: `cpu`, `cuda` or `auto`.
        epochs: (paper: 90).
        lr_drop_epoch: epoch from which the rate is multiplied by `lr_drop_factor` (60).
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

    seed: int
    threads: int
    warm_start: bool
    device: Literal["cpu", "cuda", "auto"]
    epochs: int
    lr_drop_epoch: int
    lr_drop_factor: float
    workers: int
    batch_size: int
    lr: float
    lr_backbone: float
    weight_decay: float
    clip_norm: float
    validate_every: int
    keep: Literal["best", "last"]
    loss: LossConfig
    matching: MatchingConfig
    transforms: TransformsConfig

    def __post_init__(self) -> None:
        for name in ("threads", "epochs", "batch_size", "validate_every"):
            value = getattr(self, name)
            check(value >= 1, f"{name}: {value}, expected at least 1")
        for name in ("lr", "lr_backbone", "weight_decay", "clip_norm"):
            value = getattr(self, name)
            check(value >= 0, f"{name}: {value}, expected at least 0")
