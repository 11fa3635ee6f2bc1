"""Batches of images for inference, made ahead by worker processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import DataLoader

from hoiclip.batches.batch import Batch, InferenceDataset, Sample, collate, inference_sizes
from hoiclip.batches.transforms import TransformsConfig


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
    batches = _batches_of_like(dataset, range(len(dataset)), batch_size)
    return _loader(dataset, batches, workers, device)


def shard_batches(
    dataset: InferenceDataset,
    shards: Sequence[range],
    batch_size: int,
    workers: int,
    device: torch.device,
) -> Iterator[tuple[Iterator[Batch], int]]:
    """As `inference_batches` of each shard, by one loader over all: workers, which live as long,
    read images of the next shard while this one ends.

    Args:
        dataset: the images of all shards.
        shards: indices of images; each is to be worked through before the next is asked for.
        batch_size: images of a batch, the last one of a shard perhaps of fewer.
        workers: as of `inference_batches`.
        device: that the batches are for; on CUDA they are there already, for the next one is
            transferred while one is worked on.

    Yields:
        The batches of a shard, and how many they are.
    """
    of_shards = [_batches_of_like(dataset, rows, batch_size) for rows in shards]
    loader = _loader(dataset, [batch for some in of_shards for batch in some], workers, device)
    loaded = _moved_ahead(iter(loader), device)
    for some in of_shards:
        yield islice(loaded, len(some)), len(some)


def _batches_of_like(dataset: InferenceDataset, rows: range, batch_size: int) -> list[list[int]]:
    order = [rows[place] for place in order_of_sizes(dataset.sizes[rows.start : rows.stop])]
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def _loader(
    dataset: InferenceDataset, batches: list[list[int]], workers: int, device: torch.device
) -> DataLoader[Sample]:
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
        worker_init_fn=default_signals,
    )


def _moved_ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """On CUDA the batches on the device, the next one's transfer begun before one is given."""
    if device.type != "cuda":
        yield from batches
        return
    stream = torch.cuda.Stream(device)

    def begun(batch: Batch) -> tuple[Batch, torch.cuda.Event]:
        with torch.cuda.stream(stream):
            return batch.to(device), stream.record_event()

    def ready(batch: Batch, there: torch.cuda.Event) -> Batch:
        here = torch.cuda.current_stream(device)
        here.wait_event(there)
        for tensor in (batch.images, batch.padding_mask, batch.clip_pixels):
            if tensor is not None:
                # Or its memory would be given away while this stream still reads it.
                tensor.record_stream(here)
        return batch

    coming = None
    for batch in batches:
        coming, given = begun(batch), coming
        if given is not None:
            yield ready(*given)
    if coming is not None:
        yield ready(*coming)


def by_size(images: pa.Table, transforms: TransformsConfig) -> pa.Table:
    """Rows of `schema.IMAGES` such that neighbours look nearly the same to a detector: of shards
    cut out of them, too, little is padded. Depends on the table and on `transforms` alone."""
    return images.take(np.array(order_of_sizes(inference_sizes(images, transforms)), int))


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
