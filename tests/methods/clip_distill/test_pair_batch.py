from __future__ import annotations

import dataclasses

import torch
from student_world import make_targets, make_world

from hoiclip.methods.clip_distill.model.batch import PairBatch, join_pairs


def image_of(objects: tuple, instances: list[int], seed: int) -> PairBatch:
    pairs = make_world((0,) * len(objects), objects, images=1, seed=seed).pairs
    return dataclasses.replace(pairs, instances=torch.tensor(instances, dtype=torch.long))


def test_pairs_of_images_are_joined_in_order():
    first, none, last = (
        image_of((0, 1, 1), [0, 1, 1], 0),
        image_of((), [], 1),
        image_of((3,), [0], 2),
    )
    joined = join_pairs([none, first, none, last])
    assert joined.image.tolist() == [1, 1, 1, 3]
    assert joined.instances.tolist() == [0, 1, 1, 3]
    assert torch.equal(joined.geometry, torch.cat([first.geometry, last.geometry]))
    assert joined.objects.tolist() == [0, 1, 1, 3]
    # The parts are as they were.
    assert first.instances.tolist() == [0, 1, 1]


def test_images_without_any_pair_make_a_batch():
    joined = join_pairs([image_of((), [], 0)] * 2)
    assert joined.image.shape == joined.instances.shape == (0,)


def test_a_batch_moves_with_all_its_tensors():
    world = make_world()
    for part in (world.pairs, make_targets(world)):
        moved = part.to(torch.device("meta"))
        assert type(moved) is type(part)
        assert all(value.device.type == "meta" for value in vars(moved).values())
