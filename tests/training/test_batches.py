"""Which images a step takes depends on seed and epoch alone."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoiclip.training.batches import BatchOrder


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
