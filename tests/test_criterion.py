import dataclasses
import math

import pytest
import torch
from pairs import (
    CLASSES,
    OBJECT_LOGITS,
    layer_of,
    random_outputs,
    random_targets,
    slow_giou,
    slow_l1,
)

from hoiclip.criterion import Criterion, LossConfig, focal_loss
from hoiclip.matcher import HungarianMatcher, MatchingConfig

PAPER = LossConfig(
    hoi=2.0, object=1.0, no_object=0.1, l1=2.5, giou=1.0, focal_alpha=0.5, focal_gamma=2.0
)
MATCHER = HungarianMatcher(MatchingConfig(hoi=1.0, object=1.0, l1=2.5, giou=1.0))
ALL_SEEN = torch.ones(CLASSES, dtype=torch.bool)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def criterion(seen=ALL_SEEN, config=PAPER):
    return Criterion(config, MATCHER, OBJECT_LOGITS, seen)


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


def slow_losses(outputs, targets, seen, config):
    """The losses of the specification, one number at a time; only the matching is shared."""
    sums = dict.fromkeys(("hoi", "object", "l1", "giou"), 0.0)
    classes = [c for c in range(CLASSES) if seen[c]]
    for layer in range(len(outputs.hoi_logits)):
        hoi, objects, human_boxes, object_boxes = layer_of(outputs, layer)
        labels = targets.hoi_labels[:, seen]
        images, queries, columns = MATCHER(
            hoi[..., seen], objects, human_boxes, object_boxes, targets, labels
        )
        target_of = {
            (i, q): t
            for i, q, t in zip(images.tolist(), queries.tolist(), columns.tolist(), strict=True)
        }
        flat_logits, flat_labels, weighted, weights = [], [], 0.0, 0.0
        human_terms, object_terms = [], []
        for i in range(hoi.shape[0]):
            for q in range(hoi.shape[1]):
                t = target_of.get((i, q))
                for c in classes:
                    flat_logits.append(hoi[i, q, c].item())
                    flat_labels.append(0 if t is None else targets.hoi_labels[t, c].item())
                label = OBJECT_LOGITS - 1 if t is None else targets.objects[t].item()
                weight = config.no_object if label == OBJECT_LOGITS - 1 else 1.0
                exponentials = [math.exp(x) for x in objects[i, q].tolist()]
                weighted -= weight * math.log(exponentials[label] / sum(exponentials))
                weights += weight
                if t is None:
                    continue
                human = (human_boxes[i, q].tolist(), targets.human_boxes_cxcywh[t].tolist())
                human_terms.append((slow_l1(*human), 1 - slow_giou(*human)))
                if targets.has_object[t]:
                    pair = (object_boxes[i, q].tolist(), targets.object_boxes_cxcywh[t].tolist())
                    object_terms.append((slow_l1(*pair), 1 - slow_giou(*pair)))
        sums["hoi"] += config.hoi * slow_focal(
            flat_logits, flat_labels, config.focal_alpha, config.focal_gamma
        )
        sums["object"] += config.object * weighted / weights
        for terms in (human_terms, object_terms):
            sums["l1"] += config.l1 * sum(term[0] for term in terms) / max(len(terms), 1)
            sums["giou"] += config.giou * sum(term[1] for term in terms) / max(len(terms), 1)
    return sums | {"total": sum(sums.values())}


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("counts", [[2, 3], [0, 2], [1, 0], [0, 0]])
@pytest.mark.parametrize("unseen", [[], [1, 4]])
def test_losses_equal_the_slow_reference(missing, counts, unseen):
    seen = ALL_SEEN.clone()
    seen[unseen] = False
    outputs, targets = random_outputs(2, 4), random_targets(counts, missing)
    config = dataclasses.replace(PAPER, giou=1.3, focal_alpha=0.3)
    losses = criterion(seen, config)(outputs, targets)
    expected = slow_losses(outputs, targets, seen, config)
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(
        expected, rel=1e-5
    )


def test_unseen_classes_get_no_gradient_and_do_not_move_the_loss():
    seen = torch.tensor([True, False, True, True, False])
    outputs, targets = random_outputs(2, 4), random_targets([2, 1])
    loss = criterion(seen)(outputs, targets)["total"]
    loss.backward()
    assert not outputs.hoi_logits.grad[..., ~seen].any()
    assert outputs.hoi_logits.grad[..., seen].any()
    changed = outputs.hoi_logits.detach().clone()
    changed[..., ~seen] = 50
    other = dataclasses.replace(outputs, hoi_logits=changed)
    assert criterion(seen)(other, targets)["total"].item() == pytest.approx(loss.item())


@pytest.mark.parametrize("counts", [[2, 3], [0, 0]])
@pytest.mark.parametrize("scale", [1, 1e4])
def test_gradients_are_finite_also_for_saturated_logits(counts, scale):
    outputs, targets = random_outputs(2, 4), random_targets(counts, missing=True)
    large = dataclasses.replace(
        outputs,
        hoi_logits=outputs.hoi_logits * scale,
        object_logits=outputs.object_logits * scale,
    )
    criterion()(large, targets)["total"].backward()
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
    first = criterion()(outputs, targets)["total"]
    second = criterion()(dataclasses.replace(outputs, **exchanged), targets)["total"]
    torch.testing.assert_close(first, second)


def test_focal_loss_by_hand():
    # p = 1/2 everywhere: every entry costs 1/2 * 1/4 * ln 2; one positive.
    value = focal_loss(torch.zeros(1, 4), torch.tensor([[1.0, 0, 0, 0]]), alpha=0.5, gamma=2.0)
    assert value.item() == pytest.approx(4 * 0.125 * math.log(2))
    # No positive: divided by 1.
    value = focal_loss(torch.zeros(1, 4), torch.zeros(1, 4), alpha=0.25, gamma=2.0)
    assert value.item() == pytest.approx(4 * 0.75 * 0.25 * math.log(2))


def test_the_no_object_weight_scales_unmatched_queries():
    """With weight 0 only matched queries count; the mean is over weights, not queries."""
    outputs, targets = random_outputs(1, 4, layers=1), random_targets([1])
    config = dataclasses.replace(PAPER, no_object=0.0)
    matched = MATCHER(*layer_of(outputs, 0), targets, targets.hoi_labels)
    logits = outputs.object_logits[0, 0, matched[1][0]]
    expected = -logits.log_softmax(0)[targets.objects[0]]
    value = criterion(config=config)(outputs, targets)["object"]
    torch.testing.assert_close(value, expected)
