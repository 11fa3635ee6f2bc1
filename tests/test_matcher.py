import dataclasses
import itertools
import math

import pytest
import torch
from pairs import layer_of, random_outputs, random_targets, slow_giou, slow_l1

from hoiclip.matcher import HungarianMatcher, MatchingConfig, hungarian

PAPER = MatchingConfig(hoi=1.0, object=1.0, l1=2.5, giou=1.0)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def slow_cost(layer, targets, config):
    """The cost formula, one prediction and one target at a time."""
    hoi, objects, human_boxes, object_boxes = (tensor.tolist() for tensor in layer)
    table = []
    for image in range(len(hoi)):
        rows = []
        for q in range(len(hoi[image])):
            row = []
            for t in range(len(targets.objects)):
                label = targets.hoi_labels[t].tolist()
                p = [1 / (1 + math.exp(-x)) for x in hoi[image][q]]
                positive = sum(a * b for a, b in zip(p, label, strict=True))
                negative = sum((1 - a) * (1 - b) for a, b in zip(p, label, strict=True))
                of_hoi = -0.5 * (
                    positive / (sum(label) + 1e-4) + negative / (len(label) - sum(label) + 1e-4)
                )
                exponentials = [math.exp(x) for x in objects[image][q]]
                of_object = -exponentials[int(targets.objects[t])] / sum(exponentials)
                human = (human_boxes[image][q], targets.human_boxes_cxcywh[t].tolist())
                object_ = (object_boxes[image][q], targets.object_boxes_cxcywh[t].tolist())
                l1, giou = slow_l1(*human), -slow_giou(*human)
                if targets.has_object[t]:
                    l1, giou = max(l1, slow_l1(*object_)), max(giou, -slow_giou(*object_))
                row.append(
                    config.hoi * of_hoi
                    + config.object * of_object
                    + config.l1 * l1
                    + config.giou * giou
                )
            rows.append(row)
        table.append(rows)
    return torch.tensor(table)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("config", [PAPER, MatchingConfig(hoi=3, object=0.7, l1=0.2, giou=5)])
def test_cost_equals_the_formula(missing, config):
    layer = layer_of(random_outputs(2, 3), 0)
    targets = random_targets([2, 2], missing)
    cost = HungarianMatcher(config).cost(*layer, targets, targets.hoi_labels)
    torch.testing.assert_close(cost, slow_cost(layer, targets, config), atol=1e-5, rtol=1e-5)


def test_the_box_of_a_missing_object_does_not_matter():
    layer = layer_of(random_outputs(1, 4), 0)
    targets = random_targets([3], missing=True)
    moved = targets.object_boxes_cxcywh.clone()
    moved[~targets.has_object] = 0.9
    other = dataclasses.replace(targets, object_boxes_cxcywh=moved)
    matcher = HungarianMatcher(PAPER)
    first, second = (matcher.cost(*layer, t, t.hoi_labels) for t in (targets, other))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize(("queries", "counts"), [(4, [3]), (4, [4, 0, 2]), (5, [0, 1]), (2, [3])])
@pytest.mark.parametrize("seed", range(3))
def test_assignment_is_the_best_of_all(queries, counts, seed):
    torch.manual_seed(seed)
    cost = torch.randn(len(counts), queries, sum(counts))
    images, rows, columns = hungarian(cost, counts)
    start = 0
    for image, count in enumerate(counts):
        own = images == image
        found = list(zip(rows[own].tolist(), columns[own].tolist(), strict=True))
        pairs = min(queries, count)
        assert len({q for q, _ in found}) == len({t for _, t in found}) == pairs
        assert all(start <= t < start + count for _, t in found)
        if pairs:
            best = min(
                sum(cost[image, q, start + t].item() for q, t in zip(qs, ts, strict=True))
                for qs in itertools.permutations(range(queries), pairs)
                for ts in itertools.combinations(range(count), pairs)
            )
            assert sum(cost[image, q, t].item() for q, t in found) == pytest.approx(best, abs=1e-5)
        start += count


def test_no_targets_at_all_match_nothing():
    targets = random_targets([0, 0])
    layer = layer_of(random_outputs(2, 3), 0)
    for index in HungarianMatcher(PAPER)(*layer, targets, targets.hoi_labels):
        assert index.shape == (0,)
        assert index.dtype == torch.int64


def test_predictions_that_equal_the_targets_are_matched_to_them():
    targets = random_targets([3, 2])
    outputs = random_outputs(2, 4, layers=1)
    hoi, objects, human_boxes, object_boxes = (t.detach() for t in layer_of(outputs, 0))
    places = [(0, 3), (0, 0), (0, 2), (1, 1), (1, 3)]
    for target, (image, query) in enumerate(places):
        hoi[image, query] = targets.hoi_labels[target] * 20 - 10
        objects[image, query] = 0
        objects[image, query, targets.objects[target]] = 10
        human_boxes[image, query] = targets.human_boxes_cxcywh[target]
        object_boxes[image, query] = targets.object_boxes_cxcywh[target]
    matched = HungarianMatcher(PAPER)(
        hoi, objects, human_boxes, object_boxes, targets, targets.hoi_labels
    )
    found = {t: (i, q) for i, q, t in zip(*(m.tolist() for m in matched), strict=True)}
    assert [found[target] for target in range(5)] == places
