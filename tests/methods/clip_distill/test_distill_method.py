from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from distill_method_world import (
    VOCABULARY,
    make_caches,
    make_config,
    make_detections,
    make_method,
)

from hoiclip.batches.batch import Batch
from hoiclip.contract.method import NotFiniteError, RankSettings
from hoiclip.methods.clip_distill.caches.pairs import make_pairs
from hoiclip.methods.clip_distill.detect import detect
from hoiclip.methods.clip_distill.model.config import DistillScoring
from hoiclip.methods.clip_distill.model.data import DistillData
from hoiclip.methods.clip_distill.model.method import ClipDistillMethod
from hoiclip.pairs.pair_nms import PAPER_NMS

SETTINGS = RankSettings(top_k=100, nms=None, threads=1)


@pytest.fixture
def method(clip_config) -> ClipDistillMethod:
    return make_method(clip_config).eval()


def images(count: int = 2, seed: int = 6) -> Batch:
    torch.manual_seed(seed)
    return Batch(
        torch.randint(256, (count, 3, 64, 64), dtype=torch.uint8), None,
        torch.randn(count, 3, 32, 32), list(range(count)),
        [False] * count, [(64 + 8 * index, 64) for index in range(count)],
    )  # fmt: skip


def scored(method, batch, settings=SETTINGS):
    return method.score_pairs(batch, settings, [method.scoring])[0]


def test_every_pair_is_scored_on_the_classes_of_its_object(method):
    batch = images()
    rows = scored(method, batch)
    found = detect(method.detector, batch, method.config.detections)
    pairs = [make_pairs(each, VOCABULARY) for each in found]
    assert sum(map(len, pairs)) > 4
    expected = {
        (image, query, hoi)
        for image, each in enumerate(pairs)
        for query, object_ in enumerate(each.objects)
        for hoi in np.flatnonzero(VOCABULARY.object_of_hoi == object_)
    }
    places = list(zip(rows.image.tolist(), rows.query.tolist(), rows.hoi.tolist(), strict=True))
    assert set(places) == expected
    assert len(places) == len(expected)
    for row, (image, query, _) in enumerate(places):
        each = pairs[image]
        np.testing.assert_array_equal(rows.human_boxes_xyxy[row], each.human_boxes_xyxy[query])
        np.testing.assert_array_equal(rows.object_boxes_xyxy[row], each.object_boxes_xyxy[query])
        assert rows.object_score[row] == each.scores[query]
    assert np.isnan(rows.object_boxes_xyxy).all(1).sum() == (rows.hoi == 4).sum() > 0
    np.testing.assert_allclose(
        rows.score, rows.hoi_score * rows.object_score * rows.clip_score, rtol=1e-6
    )
    for image in range(2):
        assert (np.diff(rows.score[rows.image == image]) <= 0).all()
    assert (rows.score > 0).all()
    assert (rows.score < 1).all()


def test_images_of_a_batch_do_not_see_each_other(method):
    batch = images()
    both = scored(method, batch)
    for image in range(2):
        one = slice(image, image + 1)
        alone = Batch(
            batch.images[one], None, batch.clip_pixels[one], [0], [False], batch.sizes[one]
        )
        rows = scored(method, alone)
        chosen = both.image == image
        np.testing.assert_allclose(rows.score, both.score[chosen], rtol=1e-4)
        np.testing.assert_array_equal(rows.query, both.query[chosen])


def test_the_best_rows_and_suppression(method):
    rows = scored(method, images())
    best = scored(method, images(), RankSettings(top_k=3, nms=None, threads=1))
    for image in range(2):
        np.testing.assert_array_equal(
            best.score[best.image == image], rows.score[rows.image == image][:3]
        )
    # Of pairs that overlap at all, one of each class is left.
    fewer = scored(
        method,
        images(),
        RankSettings(top_k=100, nms=dataclasses.replace(PAPER_NMS, threshold=0.0), threads=1),
    )
    assert len(fewer.score) < len(rows.score)


def test_scorings_share_one_pass(method):
    scorings = [DistillScoring(detection_power=power, global_power=0.0) for power in (1.0, 0.0)]
    with_boxes, without = method.score_pairs(images(), SETTINGS, scorings)
    assert (with_boxes.clip_score == 1).all()
    np.testing.assert_allclose(without.score, without.hoi_score, rtol=1e-6)


def test_images_without_detections_have_no_rows(clip_config):
    rule = {"score_threshold": 1.0, "min_instances": 0}
    assert len(scored(make_method(clip_config, detections=rule).eval(), images()).score) == 0


@pytest.mark.parametrize("part", ["global_", "union", "instance"])
def test_scores_that_are_not_finite_are_told_with_their_image(method, part):
    with torch.no_grad():
        getattr(method.network, part).score.bias.fill_(torch.inf)
    with pytest.raises(NotFiniteError) as error:
        scored(method, images())
    assert error.value.image == 0


def test_one_image_that_is_not_finite(method):
    batch = images()
    batch.clip_pixels[1, 0, 0, 0] = torch.nan
    with pytest.raises(NotFiniteError) as error:
        scored(method, batch)
    assert error.value.image == 1


def test_a_restored_method_says_the_same(method):
    header = json.loads(json.dumps(method.header()))
    parts = {"model": method.network, **method.frozen}
    state = {name: part.state_dict() for name, part in parts.items()}
    again = ClipDistillMethod.restore(header, VOCABULARY, state).eval()
    assert again.config == method.config
    assert again.scoring == method.scoring
    first, second = scored(method, images()), scored(again, images())
    for name, values in vars(first).items():
        np.testing.assert_array_equal(getattr(second, name), values)
    assert not any(p.requires_grad for part in again.frozen.values() for p in part.parameters())


def test_a_file_that_does_not_fit_is_refused(method):
    parts = {"model": method.network, **method.frozen}
    state = {name: part.state_dict() for name, part in parts.items()}
    damaged = {**state, "detector": dict(state["detector"])}
    damaged["detector"]["class_head.bias"] = torch.zeros(3)
    with pytest.raises(ValueError, match=r"class_head\.bias"):
        ClipDistillMethod.restore(method.header(), VOCABULARY, damaged)
    damaged = {**state, "model": dict(state["model"])}
    damaged["model"]["texts.embeddings"] = torch.zeros(4, 12)
    with pytest.raises(ValueError, match="5 HOI classes, the tensors have 4"):
        ClipDistillMethod.restore(method.header(), VOCABULARY, damaged)


def test_training_brings_the_student_near_its_teacher(clip_config):
    method = make_method(clip_config)
    data = DistillData(make_caches(), range(4), method.config.teacher, 32)
    features = method.frozen_features(torch.randn(4, 3, 32, 32))
    method.network.train()
    optimizer = torch.optim.AdamW(method.parameter_groups(make_config().train))
    totals = []
    for epoch in range(30):
        batch = data.collate([data.sample(index, epoch) for index in range(4)])
        terms = method.training_step(batch, features)
        assert set(terms) == {"union", "instance", "image", "tie", "relatedness"}
        assert (terms["relatedness"].item() == 0) == (epoch == 0)
        total = sum(terms.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(sum(v.item() for k, v in terms.items() if k != "relatedness"))
    assert totals[-1] < 0.8 * totals[0]


def test_all_of_the_student_and_nothing_else_is_trained(clip_config):
    method = make_method(clip_config)
    (group,) = method.parameter_groups(make_config().train)
    assert group["lr"] == 0.01
    assert len(group["params"]) == len(list(method.network.parameters()))
    assert not any(p.requires_grad for p in method.clip.parameters())


@pytest.mark.parametrize(("objects", "learnt"), [([], False), ([0], True)])
def test_a_batch_of_images_without_pairs_trains_at_most_the_global_branch(
    clip_config, objects, learnt
):
    """Which learns of a cup that nobody holds what CLIP says of the image."""
    method = make_method(clip_config)
    caches = make_caches()
    caches.detections[1] = make_detections(np.random.default_rng(0), objects)
    data = DistillData(caches, [1, 1], method.config.teacher, 32)
    batch = data.collate([data.sample(0, 0), data.sample(1, 0)])
    terms = method.training_step(batch, method.frozen_features(torch.randn(2, 3, 32, 32)))
    told = {name for name, term in terms.items() if term.item() != 0}
    assert told == ({"image"} if learnt else set())
    sum(terms.values()).backward()
    parts = {
        name.split(".")[0]
        for name, p in method.network.named_parameters()
        if p.grad is not None and p.grad.any()
    }
    assert parts == ({"global_"} if learnt else set())


def test_clip_sees_the_whole_image_padded(method):
    from PIL import Image

    view = method.clip_view(Image.new("RGB", (64, 16), (255, 0, 0)))
    assert view.shape == (3, 32, 32)
    red = view[0] > view[1] + 0.5
    assert red[13:19].all()
    assert not red[:11].any()
    assert not red[21:].any()
