"""A tiny vocabulary with texts, a student and random batches, for the tests beside it."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from hoiclip.methods.clip_distill.model.batch import PairBatch, TeacherTargets
from hoiclip.methods.clip_distill.model.config import StudentConfig
from hoiclip.methods.clip_distill.model.network import GEOMETRY, Student
from hoiclip.methods.clip_distill.model.teacher import ObjectClasses
from hoiclip.methods.clip_distill.model.texts import TextTables

BRANCHES = ("global", "union", "instance")
EMBED, CLIP_WIDTH, DETECTOR_WIDTH, GRID = 12, 16, 8, 2
# Object 2 has no class; object 3 stands for "no object".
OBJECT_OF_HOI = [0, 1, 0, 1, 1, 3]
CLASSES = {0: [0, 2], 1: [1, 3, 4], 2: [], 3: [5]}
OBJECTS, HOIS, MOST = 4, 6, 3


def unit(*shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape), dim=-1)


def make_classes() -> ObjectClasses:
    indices = np.array([[0, 2, 0], [1, 3, 4], [0, 0, 0], [5, 0, 0]])
    mask = np.arange(MOST) < np.array([[2], [3], [0], [1]])
    return ObjectClasses(indices, mask, np.array([True, False, True, True]))


def make_tables() -> TextTables:
    return TextTables(unit(HOIS, EMBED), unit(OBJECTS, EMBED), make_classes())


def make_student(branches=BRANCHES, relatedness="none", seed=0, **changes) -> Student:
    """In eval mode, so without dropout."""
    torch.manual_seed(seed)
    config = StudentConfig(
        branches=list(branches), bank_heads=2, relatedness=relatedness, dropout=0.1
    )
    settings = {
        "tables": make_tables(), "visual_projection": torch.randn(CLIP_WIDTH, EMBED),
        "detector_width": DETECTOR_WIDTH, "config": config, "temperature": 10.0,
    }  # fmt: skip
    return Student(**(settings | changes)).eval()


def shake(student: Student) -> Student:
    """Moves every parameter off its start, adapters off zero above all."""
    with torch.no_grad():
        for parameter in student.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return student


class World(NamedTuple):
    """What the student takes, in its order."""

    tokens: torch.Tensor
    global_feature: torch.Tensor
    pairs: PairBatch

    def with_pairs(self, **changes) -> World:
        return self._replace(pairs=dataclasses.replace(self.pairs, **changes))


def make_world(image=(0, 0, 0, 1, 1), objects=(0, 1, 1, 3, 0), images=2, seed=1) -> World:
    torch.manual_seed(seed)
    pairs = len(image)

    def boxes() -> torch.Tensor:
        low = torch.rand(pairs, 2) * 0.5
        return torch.cat([low, low + 0.1 + torch.rand(pairs, 2) * 0.4], 1)

    tokens, global_feature = torch.randn(images, 1 + GRID**2, CLIP_WIDTH), unit(images, EMBED)
    batch = PairBatch(
        torch.tensor(image, dtype=torch.long),
        boxes(),
        boxes(),
        boxes(),
        torch.randn(pairs, DETECTOR_WIDTH),
        torch.randn(pairs, DETECTOR_WIDTH),
        torch.randn(pairs, GEOMETRY),
        torch.tensor(objects, dtype=torch.long),
        torch.arange(pairs),
    )
    return World(tokens, global_feature, batch)


def make_targets(world: World, seed=2) -> TeacherTargets:
    """Random soft targets; classes of the pairs' objects, and one object more, are detected."""
    torch.manual_seed(seed)
    tokens, _, pairs = world
    union = torch.rand(len(pairs.image), MOST)
    mask = torch.zeros(len(tokens), HOIS, dtype=torch.bool)
    for row, (image, object_) in enumerate(
        zip(pairs.image.tolist(), pairs.objects.tolist(), strict=True)
    ):
        union[row, len(CLASSES[object_]) :] = 0
        mask[image, CLASSES[object_]] = True
    if len(mask) > 1:
        mask[1, CLASSES[1]] = True
    image = torch.rand(len(tokens), HOIS) * mask
    return TeacherTargets(union, torch.rand(len(pairs.image)), image, mask)
