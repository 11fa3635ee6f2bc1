"""Batches of images for inference, made ahead by worker processes."""

from __future__ import annotations

import signal
from collections.abc import Sequence

import torch
from torch.utils.data import DataLoader

from hoiclip.batches.batch import InferenceDataset, Sample, collate


def inference_batches(
    dataset: InferenceDataset, batch_size: int, workers: int, device: torch.device
) -> DataLoader[Sample]:
    """Every image once, in batches of sizes as equal as can be: little is padded.

    Args:
        dataset: the images.
        batch_size: images of a batch, the last one perhaps of fewer.
        workers: processes that read images beside this one; 0 reads in this one.
        device: that the batches are for.

    Returns:
        A loader whose items are `Batch`; `indices` tell which images they hold.
    """
    order = order_of_sizes(dataset.sizes)
    return DataLoader(
        dataset,
        batch_sampler=[order[i : i + batch_size] for i in range(0, len(order), batch_size)],
        num_workers=workers,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
        worker_init_fn=default_signals,
    )


def order_of_sizes(sizes: Sequence[tuple[int, int]]) -> list[int]:
    """Indices of images of (width, height) such that neighbours have nearly the same."""
    return sorted(range(len(sizes)), key=lambda index: (sizes[index][::-1], index))


def padded_share(sizes: Sequence[tuple[int, int]], batches: Sequence[Sequence[int]]) -> float:
    """Pixels of padded batches by those of their images, 1 where nothing is padded."""
    padded = 0
    for batch in batches:
        width, height = (max(sizes[index][axis] for index in batch) for axis in (0, 1))
        padded += len(batch) * width * height
    return padded / sum(width * height for width, height in sizes)


def default_signals(worker: int) -> None:
    """Lets a worker end at SIGTERM, which a training itself heeds after its step."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
