import dataclasses
import itertools

import pytest
import torch
from random_pairs import (
    layer_of,
    random_outputs,
    random_targets,
    slow_cost,
    slow_giou,
    slow_matching,
)

from hoiclip.set_prediction.matcher import HungarianMatcher, LayerOutputs, MatchingConfig, hungarian

PAPER = MatchingConfig(hoi=1.0, object=1.0, l1=2.5, giou=1.0)
RELEASED = dataclasses.replace(PAPER, missing_object_giou="released")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize(
    "config",
    [PAPER, RELEASED, MatchingConfig(hoi=3, object=0.7, l1=0.2, giou=5)],
    ids=["paper", "released", "other weights"],
)
def test_cost_equals_the_formula(missing, config):
    layer = layer_of(random_outputs(2, 3), 0)
    targets = random_targets([2, 2], missing)
    cost = HungarianMatcher(config).cost(layer, targets)
    expected = [
        [[slow_cost(layer, i, q, targets, t, config) for t in range(4)] for q in range(3)]
        for i in range(2)
    ]
    torch.testing.assert_close(cost, torch.tensor(expected), atol=1e-5, rtol=1e-5)


def test_the_released_cost_of_a_pair_without_object_is_zero_to_one_higher():
    layer, targets = layer_of(random_outputs(2, 5), 0), random_targets([3, 2], missing=True)
    added = HungarianMatcher(RELEASED).cost(layer, targets) - HungarianMatcher(PAPER).cost(
        layer, targets
    )
    assert not added[..., targets.has_object].any()
    for image, query in itertools.product(range(2), range(5)):
        box = layer.object_boxes_cxcywh[image, query].tolist()
        expected = -slow_giou(box, [0.0] * 4)
        assert 0 <= expected <= 1
        assert added[image, query, ~targets.has_object].tolist() == pytest.approx(
            [expected] * int((~targets.has_object).sum()), abs=1e-5
        )


@pytest.mark.parametrize("config", [PAPER, RELEASED], ids=["paper", "released"])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize(
    ("queries", "counts"), [(4, [2, 3]), (4, [4, 0]), (3, [5, 1]), (2, [4, 3]), (3, [0, 0])]
)
@pytest.mark.parametrize("seed", range(3))
def test_indices_equal_trying_every_assignment(config, missing, queries, counts, seed):
    torch.manual_seed(seed)
    layer = layer_of(random_outputs(len(counts), queries), 0)
    targets = random_targets(counts, missing)
    images, rows, columns = (index.tolist() for index in HungarianMatcher(config)(layer, targets))
    found = {(i, q): t for i, q, t in zip(images, rows, columns, strict=True)}
    assert found == slow_matching(layer, targets, config)
    assert len(found) == len(columns)


def test_the_box_of_a_missing_object_does_not_matter():
    layer = layer_of(random_outputs(1, 4), 0)
    targets = random_targets([3], missing=True)
    moved = targets.object_boxes_cxcywh.clone()
    moved[~targets.has_object] = 0.9
    other = dataclasses.replace(targets, object_boxes_cxcywh=moved)
    matcher = HungarianMatcher(PAPER)
    first, second = (matcher.cost(layer, t) for t in (targets, other))
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
    for index in HungarianMatcher(PAPER)(layer, targets):
        assert index.shape == (0,)
        assert index.dtype == torch.int64


def test_predictions_that_equal_the_targets_are_matched_to_them():
    targets = random_targets([3, 2])
    outputs = random_outputs(2, 4, layers=1)
    layer = LayerOutputs(*(t.detach() for t in vars(layer_of(outputs, 0)).values()))
    places = [(0, 3), (0, 0), (0, 2), (1, 1), (1, 3)]
    for target, (image, query) in enumerate(places):
        layer.hoi_logits[image, query] = targets.hoi_labels[target] * 20 - 10
        layer.object_logits[image, query] = 0
        layer.object_logits[image, query, targets.objects[target]] = 10
        layer.human_boxes_cxcywh[image, query] = targets.human_boxes_cxcywh[target]
        layer.object_boxes_cxcywh[image, query] = targets.object_boxes_cxcywh[target]
    matched = HungarianMatcher(PAPER)(layer, targets)
    found = {t: (i, q) for i, q, t in zip(*(m.tolist() for m in matched), strict=True)}
    assert [found[target] for target in range(5)] == places
