"""Batches of images for inference: which images they hold, how much of them is padding."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from hoiclip.batches import loading
from hoiclip.batches.batch import Batch, InferenceDataset, collate
from hoiclip.batches.loading import (
    inference_batches,
    order_of_sizes,
    padded_share,
    shard_batches,
)
from hoiclip.batches.tensors import Tensors
from hoiclip.batches.transforms import MEAN, TransformsConfig, inference_size
from hoiclip.images.store import ImageStore
from hoiclip.training.batches import Aspects, BatchOrder

ANNOTATIONS = Path(__file__).parents[3] / "shared/data/hico_det/instances_test2015.json"
AS_STORED = TransformsConfig(
    flip=0.0, color_jitter=0.0, scales=[], crop_scales=[], crop_sides=[384, 600], max_side=1333,
    test_scale=0,
)  # fmt: skip
PAPER_SCALE = 800
SIZES = [(8, 4), (4, 8), (8, 4), (6, 6), (4, 8), (5, 5), (8, 5)]


def images_of(sizes) -> pa.Table:
    widths, heights = zip(*sizes, strict=True)
    names = [f"{number}.png" for number in range(len(sizes))]
    return pa.table({"file_name": names, "width": widths, "height": heights})


@pytest.fixture
def dataset(tmp_path) -> InferenceDataset:
    """Image n is all n."""
    for number, size in enumerate(SIZES):
        Image.new("RGB", size, (number,) * 3).save(tmp_path / f"{number}.png")
    return InferenceDataset(images_of(SIZES), ImageStore(tmp_path), AS_STORED, None)


@pytest.mark.parametrize("workers", [0, 2])
def test_every_image_comes_once_with_its_own_size(dataset, workers):
    batches = list(inference_batches(dataset, 3, workers, torch.device("cpu")))
    assert [len(batch.indices) for batch in batches] == [3, 3, 1]
    seen = [index for batch in batches for index in batch.indices]
    assert sorted(seen) == list(range(len(SIZES)))
    for batch in batches:
        for row, index in enumerate(batch.indices):
            assert batch.sizes[row] == SIZES[index]
            assert (batch.images[row].float().amax() == index) or index == 0
            inside = SIZES[index][0] * SIZES[index][1]
            mask = batch.padding_mask
            held = batch.images[row, 0].numel() if mask is None else int((~mask[row]).sum())
            assert held == inside


def test_images_of_one_size_are_batched_together():
    assert order_of_sizes([(8, 4), (4, 8), (8, 4), (6, 6), (4, 8)]) == [0, 2, 3, 1, 4]


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5))))
def test_an_order_is_a_permutation_with_equal_sizes_together(sizes):
    order = order_of_sizes(sizes)
    assert sorted(order) == list(range(len(sizes)))
    shown = [sizes[index] for index in order]
    changes = sum(a != b for a, b in pairwise(shown))
    assert changes == max(0, len(set(sizes)) - 1)


@dataclass(frozen=True)
class Inner(Tensors):
    values: torch.Tensor


@dataclass(frozen=True)
class Outer(Tensors):
    inner: Inner
    names: list[str]
    missing: torch.Tensor | None


def test_tensors_move_with_what_they_hold():
    outer = Outer(Inner(torch.zeros(2)), ["a"], None)
    moved = outer.to(torch.device("meta"))
    assert moved.inner.values.device.type == "meta"
    assert (moved.names, moved.missing) == (["a"], None)
    assert outer.inner.values.device.type == "cpu"


def test_a_batch_gives_a_detector_normalised_images_on_its_device(dataset):
    (batch,) = inference_batches(dataset, 9, 0, torch.device("cpu"))
    assert isinstance(batch, Batch)
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    images, mask = batch.inputs(torch.device("cpu"))
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert (images.amax(1)[mask] == 0).all()
    black = batch.indices.index(0)
    np.testing.assert_allclose(images[black, 0, 0, 0], -MEAN[0] / 0.229, rtol=1e-6)


def published_sizes() -> list[tuple[int, int]]:
    return [tuple(size) for size in json.loads(ANNOTATIONS.read_text(encoding="utf-8"))["size"]]


@pytest.mark.skipif(not ANNOTATIONS.exists(), reason="needs HICO-DET's annotations")
def test_hardly_anything_of_hico_dets_test_images_is_padded():
    config = TransformsConfig(**{**vars(AS_STORED), "test_scale": PAPER_SCALE})
    sizes = [inference_size(*size, config) for size in published_sizes()]
    order = order_of_sizes(sizes)
    batches = [order[i : i + 16] for i in range(0, len(order), 16)]
    assert padded_share(sizes, batches) < 1.02
    unsorted = [list(range(i, min(i + 16, len(sizes)))) for i in range(0, len(sizes), 16)]
    assert padded_share(sizes, unsorted) > 1.3


@pytest.mark.skipif(not ANNOTATIONS.exists(), reason="needs HICO-DET's annotations")
def test_batches_of_like_shapes_pad_less_in_training():
    stored = np.array(published_sizes())
    rng = np.random.default_rng(0)
    scales = rng.choice(range(480, 801, 32), len(stored))
    sizes = [
        inference_size(*size, TransformsConfig(**{**vars(AS_STORED), "test_scale": int(scale)}))
        for size, scale in zip(stored.tolist(), scales, strict=True)
    ]
    aspects = Aspects(stored[:, 0] / stored[:, 1], 256)
    shares = {}
    for name, given_ in {"random": None, "alike": aspects}.items():
        order = BatchOrder(len(sizes), 16, 0, aspects=given_)
        batches = [part for (part,) in order.epoch(0)]
        held = [index for batch in batches for index in batch]
        place = {index: number for number, index in enumerate(held)}
        shares[name] = padded_share(
            [sizes[index] for index in held], [[place[i] for i in batch] for batch in batches]
        )
    assert shares["random"] > 1.9
    assert shares["alike"] < 1.55


@pytest.mark.parametrize(("multiple", "shape"), [(1, (8, 8)), (8, (8, 8)), (6, (12, 12))])
def test_padded_sides_are_multiples(dataset, multiple, shape):
    batch = collate([dataset[0], dataset[1]], multiple)
    assert batch.images.shape[2:] == batch.padding_mask.shape[1:] == shape
    assert (~batch.padding_mask).sum((1, 2)).tolist() == [32, 32]


@pytest.mark.parametrize("workers", [0, 2])
def test_one_loader_gives_the_batches_of_every_shard(dataset, workers):
    shards = [range(2, 5), range(5, 7), range(0, 2)]
    found = shard_batches(dataset, shards, 2, workers, torch.device("cpu"))
    held = [(count, [batch.indices for batch in batches]) for batches, count in found]
    assert held == [(2, [[2, 3], [4]]), (1, [[5, 6]]), (1, [[0, 1]])]


def test_workers_live_as_long_as_the_shards(dataset, monkeypatch):
    made = []
    monkeypatch.setattr(
        loading,
        "DataLoader",
        lambda *given, **named: made.append(named) or DataLoader(*given, **named),
    )
    for batches, _ in shard_batches(dataset, [range(3), range(3, 7)], 2, 1, torch.device("cpu")):
        list(batches)
    assert len(made) == 1
    assert made[0]["worker_init_fn"] is loading.default_signals
