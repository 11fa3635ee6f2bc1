"""Batches of a training, made ahead by worker processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from hoiclip.batches.loading import default_signals
from hoiclip.contract.learning import TrainingBatch, TrainingData
from hoiclip.training.batches import BatchOrder
from hoiclip.training.config import OptimizationConfig

BatchT = TypeVar("BatchT", bound=TrainingBatch)
Key = tuple[int, int]
"""Epoch and index of a sample."""


class Batches(Generic[BatchT]):
    """This process's parts of every batch still to come, over all epochs: workers, which live as
    long as the training, go on to the next epoch while this one ends.

    Attributes:
        waited: seconds that were spent waiting for batches.

    Args:
        data: what is learnt from.
        order: which images a step takes.
        config: epochs, workers.
        device: whose transfers pinned memory makes faster.
        epoch: the first one, from 0.
        done: its steps that are done already.
    """

    def __init__(
        self,
        data: TrainingData[BatchT],
        order: BatchOrder,
        config: OptimizationConfig,
        device: torch.device,
        epoch: int,
        done: int,
    ) -> None:
        self.waited = 0.0
        self.parts = order.parts
        loader = DataLoader(
            _Samples(data),
            batch_sampler=_keys(order, config.epochs, epoch, done),
            num_workers=config.workers,
            collate_fn=data.collate,
            pin_memory=device.type == "cuda",
            worker_init_fn=default_signals,
        )
        self._loaded = iter(loader)

    def __next__(self) -> list[BatchT]:
        """This process's parts of the next batch."""
        began = time.monotonic()
        parts = [next(self._loaded) for _ in range(self.parts)]
        self.waited += time.monotonic() - began
        return parts


def _keys(order: BatchOrder, epochs: int, first: int, done: int) -> Iterator[list[Key]]:
    for epoch in range(first, epochs):
        for parts in order.epoch(epoch, done if epoch == first else 0):
            for part in parts:
                yield [(epoch, index) for index in part]


class _Samples(Dataset[Any]):
    def __init__(self, data: TrainingData[Any]) -> None:
        self.data = data

    def __getitem__(self, key: Key) -> Any:
        epoch, index = key
        return self.data.sample(index, epoch)
