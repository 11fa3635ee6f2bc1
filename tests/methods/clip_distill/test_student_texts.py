from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from student_world import CLASSES, HOIS, MOST, OBJECT_OF_HOI, make_tables

from hoiclip.methods.clip_distill.model.teacher import ObjectClasses
from hoiclip.methods.clip_distill.model.texts import ClassTexts, TextTables


@pytest.fixture
def tables():
    torch.manual_seed(0)
    return make_tables()


def test_relative_cosines_by_hand():
    """Texts along axes: of a feature along the first, cosines are 1, 0 and, of the null prompt, 0;
    of the object without null prompt 0 and 0.6."""
    axes = torch.eye(3)
    tables = TextTables(
        torch.stack([axes[0], axes[1], axes[2], torch.tensor([0.6, 0.8, 0])]),
        torch.stack([axes[2], axes[0]]),
        ObjectClasses(np.array([[0, 1], [2, 3]]), np.ones((2, 2), bool), np.array([True, False])),
    )
    relative = ClassTexts(tables)(2 * axes[:1])
    torch.testing.assert_close(relative, torch.tensor([[2 / 3, -1 / 3, -0.3, 0.3]]))


def test_relative_cosines_are_what_a_loop_gives(tables):
    features = 3 * torch.randn(7, 12)
    found = ClassTexts(tables)(features)
    for row, feature in enumerate(F.normalize(features, dim=1)):
        for hoi in range(HOIS):
            object_ = OBJECT_OF_HOI[hoi]
            meant = [tables.hoi[c] for c in CLASSES[object_]]
            meant += [tables.null[object_]] if tables.classes.has_null[object_] else []
            mean = sum(float(feature @ text) for text in meant) / len(meant)
            expected = float(feature @ tables.hoi[hoi]) - mean
            assert float(found[row, hoi]) == pytest.approx(expected, abs=1e-6)


def test_an_offset_of_all_cosines_of_an_image_changes_nothing(tables):
    """A direction that all texts share, as the modality gap of CLIP is one."""
    shared = F.normalize(torch.ones(1, 12), dim=1)

    def with_shared(texts: torch.Tensor) -> torch.Tensor:
        return texts - (texts @ shared.T) * shared + 0.4 * shared

    moved = dataclasses.replace(tables, hoi=with_shared(tables.hoi), null=with_shared(tables.null))
    texts = ClassTexts(moved)
    features = torch.randn(5, 12)
    features = F.normalize(features - (features @ shared.T) * shared, dim=1)
    length = (1 + 0.25) ** 0.5
    torch.testing.assert_close(texts(features + 0.5 * shared) * length, texts(features))


def test_the_object_of_each_class(tables):
    assert ClassTexts(tables).object_of_hoi.tolist() == OBJECT_OF_HOI


def test_classes_of_each_row(tables):
    values = torch.arange(2 * HOIS).reshape(2, HOIS).float()
    texts = ClassTexts(tables)
    assert texts.of_objects(values, torch.tensor([1, 3])).tolist() == [[1, 3, 4], [11, 0, 0]]
    assert texts.of_objects(values, torch.tensor([2, 0])).tolist() == [[0, 0, 0], [6, 8, 0]]
    assert texts.of_objects(values[:0], torch.zeros(0, dtype=torch.long)).shape == (0, MOST)
