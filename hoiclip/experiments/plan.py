"""Which trainings the comparisons need, as overrides of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hoiclip.ablation import ABLATION_ROWS

TRAINED_ROWS = {
    name: row.overrides for name, row in ABLATION_ROWS.items() if row.overrides is not None
}
"""Rows that are trainings, with what they switch."""
SEEDS = (0, 1, 2)
QUARTER = 4
LONG = 3
# CLIP's pretraining, about 1,900 CPU-seconds, over the 60 of an epoch of `base`, both measured on
# the same machine.
CLIP_PRETRAINING_EPOCHS = 32


@dataclass(frozen=True)
class Experiment:
    """One training and its test results, without and with the enhancement.

    Attributes:
        name: of its result file.
        row: key of `TRAINED_ROWS`.
        length: `full`, `quarter`, or another label.
        seed: train.seed.
        overrides: dotted keys of params.yaml and their values.
    """

    name: str
    row: str
    length: str
    seed: int
    overrides: dict[str, Any] = field(hash=False)


def experiment(row: str, length: str, seed: int, epochs: int, drop: int, **more: Any) -> Experiment:
    """An ablation row trained for `epochs` with the rate dropped at epoch `drop`."""
    overrides = {
        **TRAINED_ROWS[row],
        "train.seed": seed,
        "train.epochs": epochs,
        "train.lr_drop_epoch": drop,
        "train.threads": 1,
        "predict.threads": 1,
        **more,
    }
    return Experiment(f"{row}-{length}-{seed}", row, length, seed, overrides)


def seeds_plan(epochs: int, drop: int) -> list[Experiment]:
    """The default at full length; `verb` and `+free` are one training."""
    return [experiment("verb", "full", seed, epochs, drop) for seed in SEEDS]


def ablation_plan(epochs: int, drop: int) -> list[Experiment]:
    """Default and base at full length, every row at a quarter of the steps."""
    full = [experiment("base", "full", seed, epochs, drop) for seed in SEEDS]
    quarter = [
        experiment(row, "quarter", seed, epochs // QUARTER, max(drop // QUARTER, 1))
        for row in TRAINED_ROWS
        for seed in SEEDS
    ]
    return [*seeds_plan(epochs, drop), *full, *quarter]


def honesty_plan(epochs: int, drop: int) -> list[Experiment]:
    """No CLIP from random weights; base with CLIP's pretraining time; three times the length."""
    longer = epochs + CLIP_PRETRAINING_EPOCHS
    random_weights = {"train.warm_start": False}
    return [
        experiment("base", "random", 0, epochs, drop, **random_weights),
        experiment("verb", "triple", 0, LONG * epochs, LONG * drop),
        experiment("base", "clip-time", 0, longer, longer - (epochs - drop)),
    ]
