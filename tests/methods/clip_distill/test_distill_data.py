from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from distill_method_world import VOCABULARY, make_caches, make_config, make_detections

from hoiclip.methods.clip_distill.agreement import count_agreement
from hoiclip.methods.clip_distill.caches.pairs import NO_OBJECT, make_pairs
from hoiclip.methods.clip_distill.caches.tables import PairCosines
from hoiclip.methods.clip_distill.model.batch import TeacherTargets
from hoiclip.methods.clip_distill.model.data import DistillData, held_out_rows, shuffled
from hoiclip.methods.clip_distill.model.losses import tie_loss
from hoiclip.methods.clip_distill.model.network import StudentOutputs
from hoiclip.methods.clip_distill.model.student_inputs import student_pairs
from hoiclip.methods.clip_distill.model.teacher import union_targets


def test_student_pairs_by_hand():
    """Two people and a ball in a wide image, of which CLIP's square shows a band."""
    found = make_detections(np.random.default_rng(0), [1, 2, 1])
    found.boxes_xyxy[:] = [[0, 0, 100, 50], [100, 25, 200, 75], [50, 50, 150, 100]]
    pairs = make_pairs(found, VOCABULARY)
    batch = student_pairs(pairs, found, (200, 100), 32)
    places = list(zip(pairs.human.tolist(), pairs.object.tolist(), strict=True))
    assert places == [(0, 1), (0, 2), (0, NO_OBJECT), (2, 0), (2, 1), (2, NO_OBJECT)]
    assert batch.image.tolist() == [0] * 6
    # Equal where the ball (row 1) is the object; a person alone shares with nobody.
    numbers = batch.instances.tolist()
    assert numbers[0] == numbers[4]
    assert len(set(numbers)) == 5
    assert max(numbers) < 6
    assert batch.objects.tolist() == [2, 1, 3, 1, 2, 3]
    # 200 px are 32; the band lies between 8 and 24 of the square.
    torch.testing.assert_close(batch.human_boxes_xyxy[0], torch.tensor([0, 0.25, 0.5, 0.5]))
    torch.testing.assert_close(batch.object_boxes_xyxy[0], torch.tensor([0.5, 0.375, 1, 0.625]))
    torch.testing.assert_close(batch.union_boxes_xyxy[0], torch.tensor([0, 0.25, 1, 0.625]))
    assert torch.equal(batch.human_features[3], torch.from_numpy(found.features[2]))
    assert torch.equal(batch.object_features[3], torch.from_numpy(found.features[0]))
    # Without an object.
    assert batch.object_boxes_xyxy[2].tolist() == [0, 0, 0, 0]
    assert batch.object_features[2].abs().sum() == 0
    assert torch.equal(batch.union_boxes_xyxy[2], batch.human_boxes_xyxy[2])


def test_an_image_without_people_has_no_pairs():
    found = make_detections(np.random.default_rng(0), [0, 2])
    batch = student_pairs(make_pairs(found, VOCABULARY), found, (64, 64), 32)
    assert batch.human_features.shape == (0, 16)
    assert batch.instances.shape == (0,)
    none = make_detections(np.random.default_rng(0), [])
    assert len(student_pairs(make_pairs(none, VOCABULARY), none, (64, 64), 32).image) == 0


def data_of(caches, rows=(0, 1, 2, 3)) -> DistillData:
    return DistillData(caches, rows, make_config().teacher, 32)


def test_a_batch_has_its_images_pairs_and_targets():
    caches = make_caches()
    data = data_of(caches, [3, 1, 0])
    assert data.file_names == ["3.png", "1.png", "0.png"]
    batch = data.collate([data.sample(index, 4) for index in (2, 1, 0)])
    assert (batch.epoch, batch.indices, batch.flipped) == (4, [2, 1, 0], [False] * 3)
    assert batch.clip_pixels is None
    counts = [len(caches.unions[row].pairs) for row in (0, 1, 3)]
    assert counts == [6, 0, 3]
    assert batch.pairs.image.bincount(minlength=3).tolist() == counts
    scored = caches.unions[3]
    pairs = scored.pairs
    expected = union_targets(
        scored.cosines, scored.null, pairs.objects, pairs.scores, caches.classes,
        make_config().teacher,
    )  # fmt: skip
    np.testing.assert_allclose(batch.targets.union[6:], expected.probability, rtol=1e-6)
    np.testing.assert_allclose(batch.targets.weight[6:], expected.weight, rtol=1e-6)
    # Nobody in the second image, whose cup is in no pair but is detected all the same.
    assert batch.targets.image_mask.sum(1).tolist() == [4, 1, 4]
    assert batch.targets.image_mask[2].tolist() == [True, True, True, False, True]


def test_objects_whose_pairs_find_no_room_are_detected_all_the_same():
    """What the image says of them teaches the global branch; no pair is there to be tied."""
    caches = make_caches()
    kept = [
        PairCosines(u.pairs[np.array([0])], u.cosines[:1], u.null[:1]) if len(u.pairs) else u
        for u in caches.unions
    ]
    whole, capped = (
        data_of(each).collate([data_of(each).sample(index, 0) for index in range(4)])
        for each in (caches, dataclasses.replace(caches, unions=kept))
    )
    assert len(capped.pairs.image) == 3 < len(whole.pairs.image)
    assert torch.equal(capped.targets.image_mask, whole.targets.image_mask)
    assert torch.equal(capped.targets.image, whole.targets.image)
    objects = capped.pairs.objects
    mask = torch.from_numpy(caches.classes.mask)[objects]
    outputs = StudentOutputs(
        torch.from_numpy(caches.classes.indices)[objects], mask, None,
        torch.zeros(mask.shape), None, None,
    )  # fmt: skip
    # Every probability is a half, and so costs ln 2 whatever its target.
    tie = tie_loss(outputs, capped.targets, capped.pairs.image)
    assert float(tie) == pytest.approx(math.log(2))


def test_held_out_images_depend_on_their_names_alone():
    names = [f"{index:05}.jpg" for index in range(4000)]
    out = held_out_rows(names, 0.05)
    assert out.mean() == pytest.approx(0.05, abs=0.01)
    assert np.array_equal(held_out_rows(names[::-1], 0.05), out[::-1])
    assert not held_out_rows(names, 0.0).any()
    assert (held_out_rows(names, 0.2) | ~out).all()


def test_shuffled_scores_are_of_others_with_the_same_classes():
    caches = make_caches()
    moved = shuffled(caches, 3)
    for kind in range(VOCABULARY.num_objects + 1):
        before, after = (
            np.concatenate([u.cosines[u.pairs.objects == kind] for u in c.unions])
            for c in (caches, moved)
        )
        assert sorted(map(tuple, before)) == sorted(map(tuple, after))
    assert any(
        not np.array_equal(a.cosines, b.cosines)
        for a, b in zip(caches.unions, moved.unions, strict=True)
    )
    assert [len(u.null) for u in moved.unions] == [len(u.null) for u in caches.unions]
    assert not np.array_equal(moved.whole.cosines, caches.whole.cosines)
    again = shuffled(caches, 3)
    assert np.array_equal(again.whole.null, moved.whole.null)


def test_agreement_by_hand():
    """One agrees, one does not, one has no choice."""
    mask = torch.tensor([[True, True], [True, True], [True, False]])
    logits = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 5.0]])
    outputs = StudentOutputs(torch.zeros(3, 2).long(), mask, None, logits, None, None)
    union = torch.tensor([[0.6, 0.1], [0.1, 0.6], [0.9, 0.0]])
    targets = TeacherTargets(union, None, None, None)
    assert count_agreement(outputs, targets) == (1, 2)
    whole = StudentOutputs(outputs.classes, mask, torch.zeros(1, 4), None, None, None)
    assert count_agreement(whole, targets) == (0, 0)
