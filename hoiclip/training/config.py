"""Optimisation, as every method has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from hoiclip.util.ranges import (
    BatchSize,
    Config,
    Count,
    CountOrZero,
    Device,
    Range,
    Rate,
    Seed,
    Threads,
    Weight,
    Workers,
)


@dataclass(frozen=True, kw_only=True)
class OptimizationConfig(Config):
    """How a network is trained, whatever it is.

    Attributes:
        seed: of initialisation, order and augmentation.
        threads: CPU threads of one process; part of what decides the bits of a result.
        device: `cpu`, `cuda`, one of several as `cuda:1`, or `auto`.
        precision: `float32`, or `bf16`: matrices of the network in bfloat16 (autocast), heads and
            losses in float32 all the same.
        compile: whether `torch.compile` makes one graph of the network, which the first steps wait
            for; the last bits differ.
        epochs: (HOICLIP, GEN-VLKT: 90).
        lr_drop_epoch: epoch from which the rate is multiplied by `lr_drop_factor` (60); one after
            the last does not drop it.
        lr_drop_factor: (0.1).
        workers: processes that load images beside the training one; 0 loads in it.
        batch_size: images per step (16), over all processes; the last incomplete batch of an epoch
            is dropped.
        lr: AdamW's rate (1e-4).
        weight_decay: on every trained tensor (1e-4).
        clip_norm: largest gradient norm (0.1); 0 does not clip.
        keep_every: epochs between those whose weights are kept to choose from; 0 keeps the last
            alone, which is always kept.
    """

    seed: Seed
    threads: Threads
    device: Device
    precision: Literal["float32", "bf16"]
    compile: bool = False
    epochs: Count
    lr_drop_epoch: Count
    lr_drop_factor: Annotated[float, Range(0, 1, above=True)]
    workers: Workers
    batch_size: BatchSize
    lr: Rate
    weight_decay: Rate
    clip_norm: Weight
    keep_every: CountOrZero
