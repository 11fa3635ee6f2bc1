import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from random_pairs import (
    CLASSES,
    OBJECT_LOGITS,
    layer_of,
    random_outputs,
    random_targets,
    slow_giou,
    slow_l1,
    slow_matching,
)

from hoiclip.contract.learning import BatchCounts
from hoiclip.set_prediction.criterion import Criterion, LossConfig, focal_loss
from hoiclip.set_prediction.matcher import HungarianMatcher, MatchingConfig
from hoiclip.set_prediction.model.targets import TargetCounts, Targets

PAPER = LossConfig(
    hoi=2.0, object=1.0, no_object=0.1, l1=2.5, giou=1.0, focal_alpha=0.5, focal_gamma=2.0
)
MATCHING = MatchingConfig(hoi=1.0, object=1.0, l1=2.5, giou=1.0)
ALL_SEEN = torch.ones(CLASSES, dtype=torch.bool)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def criterion(seen=ALL_SEEN, config=PAPER, matching=MATCHING):
    return Criterion(config, HungarianMatcher(matching), OBJECT_LOGITS, seen)


def slow_focal(logits, labels, alpha, gamma):
    total, positives = 0.0, 0
    for x, y in zip(logits, labels, strict=True):
        p = min(max(1 / (1 + math.exp(-x)), 1e-4), 1 - 1e-4)
        if y:
            positives += 1
            total -= alpha * (1 - p) ** gamma * math.log(p)
        else:
            total -= (1 - alpha) * p**gamma * math.log(1 - p)
    return total / max(positives, 1)


def slow_losses(outputs, targets, seen, config, matching):
    """The losses of the specification, one number at a time, each layer matched slowly."""
    sums = dict.fromkeys(("hoi", "object", "l1", "giou"), 0.0)
    annotated = (len(targets.objects), int(targets.has_object.sum()))
    of_seen = dataclasses.replace(targets, hoi_labels=targets.hoi_labels[:, seen])
    for index in range(len(outputs.hoi_logits)):
        layer = layer_of(outputs, index)
        layer = dataclasses.replace(layer, hoi_logits=layer.hoi_logits[..., seen])
        target_of = slow_matching(layer, of_seen, matching)
        flat_logits, flat_labels, weighted, weights = [], [], 0.0, 0.0
        human_terms, object_terms = [], []
        for i, q in itertools.product(*map(range, layer.hoi_logits.shape[:2])):
            t = target_of.get((i, q))
            flat_logits += layer.hoi_logits[i, q].tolist()
            flat_labels += [0] * int(seen.sum()) if t is None else of_seen.hoi_labels[t].tolist()
            label = OBJECT_LOGITS - 1 if t is None else targets.objects[t].item()
            weight = config.no_object if label == OBJECT_LOGITS - 1 else 1.0
            exponentials = [math.exp(x) for x in layer.object_logits[i, q].tolist()]
            weighted -= weight * math.log(exponentials[label] / sum(exponentials))
            weights += weight
            if t is None:
                continue
            human = (
                layer.human_boxes_cxcywh[i, q].tolist(),
                targets.human_boxes_cxcywh[t].tolist(),
            )
            human_terms.append((slow_l1(*human), 1 - slow_giou(*human)))
            if targets.has_object[t]:
                pair = (
                    layer.object_boxes_cxcywh[i, q].tolist(),
                    targets.object_boxes_cxcywh[t].tolist(),
                )
                object_terms.append((slow_l1(*pair), 1 - slow_giou(*pair)))
        sums["hoi"] += config.hoi * slow_focal(
            flat_logits, flat_labels, config.focal_alpha, config.focal_gamma
        )
        sums["object"] += config.object * weighted / weights
        humans, objects = (max(count, 1) for count in annotated)
        if config.box_normaliser == "released":
            objects = len(object_terms) + 1e-4
        for terms, count in ((human_terms, humans), (object_terms, objects)):
            sums["l1"] += config.l1 * sum(term[0] for term in terms) / count
            sums["giou"] += config.giou * sum(term[1] for term in terms) / count
    return sums


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("counts", [[2, 3], [0, 2], [1, 0], [0, 0], [5, 1], [4, 6]])
@pytest.mark.parametrize("unseen", [[], [1, 4]])
def test_losses_equal_the_slow_reference(released, missing, counts, unseen):
    """Three decoder layers; also with no targets, and with more targets than queries."""
    seen = ALL_SEEN.clone()
    seen[unseen] = False
    outputs, targets = random_outputs(2, 3, layers=3), random_targets(counts, missing)
    config = dataclasses.replace(PAPER, giou=1.3, focal_alpha=0.3)
    matching = MATCHING
    if released:
        config = dataclasses.replace(config, box_normaliser="released")
        matching = dataclasses.replace(matching, missing_object_giou="released")
    losses = criterion(seen, config, matching)(outputs, targets)
    expected = slow_losses(outputs, targets, seen, config, matching)
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(
        expected, rel=1e-5
    )


def test_box_losses_are_divided_by_annotated_not_by_matched_pairs():
    """Two queries for four pairs: the sums over two matched boxes are divided by four."""
    outputs, targets = random_outputs(1, 2, layers=1), random_targets([4])
    layer = layer_of(outputs, 0)
    matched = slow_matching(layer, targets, MATCHING)
    assert len(matched) == 2
    total = sum(
        slow_l1(boxes[i, q].tolist(), wanted[t].tolist())
        for (i, q), t in matched.items()
        for boxes, wanted in (
            (layer.human_boxes_cxcywh, targets.human_boxes_cxcywh),
            (layer.object_boxes_cxcywh, targets.object_boxes_cxcywh),
        )
    )
    assert criterion()(outputs, targets)["l1"].item() == pytest.approx(2.5 * total / 4, rel=1e-5)


def test_the_two_normalisers_agree_to_five_digits_where_every_pair_has_a_matched_object():
    outputs, targets = random_outputs(2, 4), random_targets([2, 3])
    released = dataclasses.replace(PAPER, box_normaliser="released")
    first, second = (criterion(config=c)(outputs, targets) for c in (PAPER, released))
    for name in ("l1", "giou"):
        assert first[name].item() == pytest.approx(second[name].item(), rel=1e-4)
        assert first[name].item() > second[name].item()


def test_unseen_classes_get_no_gradient_and_do_not_move_the_loss():
    seen = torch.tensor([True, False, True, True, False])
    outputs, targets = random_outputs(2, 4), random_targets([2, 1])
    loss = sum(criterion(seen)(outputs, targets).values())
    loss.backward()
    assert not outputs.hoi_logits.grad[..., ~seen].any()
    assert outputs.hoi_logits.grad[..., seen].any()
    changed = outputs.hoi_logits.detach().clone()
    changed[..., ~seen] = 50
    other = dataclasses.replace(outputs, hoi_logits=changed)
    assert sum(criterion(seen)(other, targets).values()).item() == pytest.approx(loss.item())


@pytest.mark.parametrize("counts", [[2, 3], [0, 0]])
@pytest.mark.parametrize("scale", [1, 1e4])
def test_gradients_are_finite_also_for_saturated_logits(counts, scale):
    outputs, targets = random_outputs(2, 4), random_targets(counts, missing=True)
    large = dataclasses.replace(
        outputs,
        hoi_logits=outputs.hoi_logits * scale,
        object_logits=outputs.object_logits * scale,
    )
    sum(criterion()(large, targets).values()).backward()
    for tensor in (outputs.hoi_logits, outputs.object_logits, outputs.human_boxes_cxcywh):
        assert torch.isfinite(tensor.grad).all()


def test_without_targets_boxes_cost_nothing():
    losses = criterion()(random_outputs(2, 4), random_targets([0, 0]))
    assert losses["l1"].item() == losses["giou"].item() == 0
    assert losses["hoi"].item() > 0


def test_every_layer_is_matched_anew():
    """Exchanging two queries of one layer alone leaves the losses as they are."""
    outputs, targets = random_outputs(1, 4), random_targets([3])
    order = torch.tensor([2, 0, 3, 1])
    exchanged = {}
    for name in ("hoi_logits", "object_logits", "human_boxes_cxcywh", "object_boxes_cxcywh"):
        tensor = getattr(outputs, name).detach().clone()
        tensor[0] = tensor[0][:, order]
        exchanged[name] = tensor
    first = criterion()(outputs, targets)
    second = criterion()(dataclasses.replace(outputs, **exchanged), targets)
    torch.testing.assert_close(first, second)


def test_focal_loss_by_hand():
    # p = 1/2 everywhere: every entry costs 1/2 * 1/4 * ln 2.
    value = focal_loss(torch.zeros(1, 4), torch.tensor([[1.0, 0, 0, 0]]), alpha=0.5, gamma=2.0)
    torch.testing.assert_close(value, torch.full((1, 4), 0.125 * math.log(2)))
    value = focal_loss(torch.zeros(1, 4), torch.zeros(1, 4), alpha=0.25, gamma=2.0)
    torch.testing.assert_close(value, torch.full((1, 4), 0.75 * 0.25 * math.log(2)))


def test_the_no_object_weight_scales_unmatched_queries():
    """With weight 0 only matched queries count; the mean is over weights, not queries."""
    outputs, targets = random_outputs(1, 4, layers=1), random_targets([1])
    config = dataclasses.replace(PAPER, no_object=0.0)
    ((_, query),) = slow_matching(layer_of(outputs, 0), targets, MATCHING)
    logits = outputs.object_logits[0, 0, query]
    expected = -logits.log_softmax(0)[targets.objects[0]]
    value = criterion(config=config)(outputs, targets)["object"]
    torch.testing.assert_close(value, expected)


def part_of(outputs, targets, images):
    """Outputs and targets of some of the images."""
    ends = np.cumsum([0, *targets.counts])
    rows = [row for i in images for row in range(ends[i], ends[i + 1])]
    tensors = {name: value[rows] for name, value in vars(targets).items() if name != "counts"}
    chosen = Targets([targets.counts[i] for i in images], **tensors)
    layered = ("hoi_logits", "object_logits", "human_boxes_cxcywh", "object_boxes_cxcywh")
    return (
        dataclasses.replace(outputs, **{n: getattr(outputs, n)[:, images] for n in layered}),
        chosen,
    )


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("counts", [[2, 3, 1], [0, 2, 4], [0, 0, 0], [1, 0, 3]])
def test_terms_of_parts_add_up_to_those_of_the_batch(counts, missing):
    seen = torch.tensor([True, False, True, True, True])
    outputs, targets = random_outputs(3, 4), random_targets(counts, missing)
    loss = criterion(seen)
    whole = loss(outputs, targets)
    parts = [part_of(outputs, targets, images) for images in ([0], [1, 2])]
    own = [loss.counts(some, 4) for _, some in parts]
    shared = BatchCounts(torch.stack(own).sum(0), own[0], 1)
    terms = [loss(*part, shared) for part in parts]
    for name, value in whole.items():
        torch.testing.assert_close(sum(term[name] for term in terms), value, rtol=1e-6, atol=1e-7)


def test_released_divisors_are_each_process_its_own_and_averaged():
    """Of object boxes alone: with human boxes that are right, theirs is all of L1 and GIoU."""
    outputs, targets = random_outputs(2, 4, layers=1), random_targets([3, 1])
    released = dataclasses.replace(PAPER, box_normaliser="released")
    parts = [part_of(outputs, targets, [image]) for image in (0, 1)]
    own = [criterion().counts(some, 4) for _, some in parts]

    def terms(config, part, mine):
        return criterion(config=config)(*part, BatchCounts(sum(own), mine, 2))["l1"]

    for part, mine, count in zip(parts, own, (3, 1), strict=True):
        # 4 objects in all; here each process divides its own by its own count, twice over.
        by_all, by_own = (terms(config, part, mine) for config in (PAPER, released))
        alone = criterion()(*part)["l1"] * count
        humans_and_objects = alone / 4
        torch.testing.assert_close(by_all, humans_and_objects)
        objects = (by_own - by_all) / (1 / ((count + 1e-4) * 2) - 1 / 4)
        assert 0 < objects < alone


def test_an_image_with_more_pairs_than_queries_counts_its_share_of_labels():
    targets = random_targets([6, 2])
    counts = TargetCounts.of(targets, 3, ALL_SEEN)
    first, second = targets.hoi_labels[:6].sum().item(), targets.hoi_labels[6:].sum().item()
    assert counts.positives == pytest.approx(first / 2 + second)
    assert (counts.humans, counts.matched, counts.images) == (8, 5, 2)
