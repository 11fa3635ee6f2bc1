"""Which images a step takes depends on seed and epoch alone."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoiclip.training.batches import Aspects, BatchOrder


def batches(order: BatchOrder, epoch: int = 0, done: int = 0) -> list[list[int]]:
    return [list(itertools.chain(*parts)) for parts in order.epoch(epoch, done)]


@given(
    images=st.integers(1, 60),
    batch_size=st.integers(1, 20),
    processes=st.integers(1, 5),
    most=st.none() | st.integers(1, 7),
    epoch=st.integers(0, 3),
)
def test_processes_share_the_batches_of_one(images, batch_size, processes, most, epoch):
    if images < batch_size or batch_size < processes:
        return
    alone = BatchOrder(images, batch_size, 7)
    wholes = batches(alone, epoch)
    assert len(wholes) == alone.steps == images // batch_size
    seen = list(itertools.chain(*wholes))
    assert len(set(seen)) == len(seen) == alone.steps * batch_size
    shares = [BatchOrder(images, batch_size, 7, rank, processes, most) for rank in range(processes)]
    for step, whole in enumerate(wholes):
        taken = []
        for order in shares:
            parts = list(order.epoch(epoch))[step]
            assert len(parts) == order.parts
            assert all(parts)
            assert most is None or max(map(len, parts)) <= most
            taken += itertools.chain(*parts)
        assert sorted(taken) == sorted(whole)


def test_a_later_beginning_leaves_out_what_is_done():
    order = BatchOrder(20, 4, 0)
    assert batches(order, 1, 2) == batches(order, 1)[2:]
    assert batches(order, 1, 5) == []


def test_epochs_and_seeds_differ():
    order = BatchOrder(20, 4, 0)
    assert batches(order, 0) == batches(order, 0)
    assert batches(order, 0) != batches(order, 1)
    assert batches(order, 0) != batches(BatchOrder(20, 4, 1), 0)


@pytest.mark.parametrize(("rank", "parts"), [(0, 2), (1, 1)])
def test_a_process_with_a_smaller_share_may_have_fewer_parts(rank, parts):
    order = BatchOrder(10, 5, 0, rank, 2, 2)
    assert order.parts == parts
    assert [len(part) for part in next(order.epoch(0))] == ([2, 1] if rank == 0 else [2])


@given(images=st.integers(4, 60), batch_size=st.integers(1, 4), window=st.integers(1, 20))
def test_batches_of_like_shapes_hold_the_images_of_random_ones(images, batch_size, window):
    aspects = Aspects(np.random.default_rng(0).random(images), window)
    alike = batches(BatchOrder(images, batch_size, 7, aspects=aspects), 1)
    random = batches(BatchOrder(images, batch_size, 7), 1)
    assert [len(batch) for batch in alike] == [len(batch) for batch in random]
    per = max(1, window // batch_size)
    for start in range(0, len(random), per):
        some, others = random[start : start + per], alike[start : start + per]
        assert sorted(itertools.chain(*some)) == sorted(itertools.chain(*others))
        # In order of their aspects, the batches of a window do not overlap.
        spans = sorted(sorted(aspects.of_images[batch]) for batch in others)
        assert all(a[-1] <= b[0] for a, b in itertools.pairwise(spans))


def test_batches_of_like_shapes_come_in_random_order():
    aspects = Aspects(np.arange(64.0), 64)
    first = [batch[0] for batch in batches(BatchOrder(64, 2, 0, aspects=aspects))]
    assert sorted(first) != first
    assert first == [batch[0] for batch in batches(BatchOrder(64, 2, 0, aspects=aspects))]


@pytest.mark.parametrize("processes", [1, 2])
def test_processes_share_batches_of_like_shapes(processes):
    aspects = Aspects(np.arange(12.0) % 5, 8)
    whole = batches(BatchOrder(12, 4, 0, aspects=aspects))
    shares = [
        batches(BatchOrder(12, 4, 0, rank, processes, aspects=aspects)) for rank in range(processes)
    ]
    for step, batch in enumerate(whole):
        assert sorted(batch) == sorted(itertools.chain(*(share[step] for share in shares)))
