from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoiclip.methods.clip_distill.model.config import DistillScoring
from hoiclip.methods.clip_distill.model.scoring import PairScores, ScoredRows, best_rows, score_rows
from hoiclip.pairs.pair_nms import PAPER_NMS

PLAIN = DistillScoring(detection_power=1.0, global_power=0.5)


def pair_scores(seed=0, pairs=7, images=3, levels=None) -> PairScores:
    """Classes 0 to 2 or 3 to 4 of each pair; with few `levels`, scores are often equal."""
    rng = np.random.default_rng(seed)
    image = np.sort(rng.integers(0, images, pairs))
    two = rng.random(pairs) < 0.5
    classes = np.where(two[:, None], [3, 4, 0], [0, 1, 2])
    mask = np.where(two[:, None], [True, True, False], [True, True, True])
    draw = rng.random if levels is None else (lambda size: rng.integers(1, levels, size) / levels)
    return PairScores(
        image, classes, mask, draw((pairs, 3)).astype(np.float32),
        draw(pairs).astype(np.float32), draw((images, 5)).astype(np.float32),
    )  # fmt: skip


def ranked(pairs: PairScores, scoring: DistillScoring, top_k: int) -> ScoredRows:
    """The best rows without suppression, which does not look at boxes."""
    rows = score_rows(pairs, scoring)
    nowhere = np.zeros((len(rows.score), 4))
    kept = best_rows(rows.image, rows.hoi, rows.score, nowhere, nowhere, top_k, None)
    return ScoredRows(*(column[kept] for column in vars(rows).values()))


def slow_rows(pairs: PairScores, scoring: DistillScoring, top_k: int) -> list[tuple]:
    rows = []
    for image in range(len(pairs.image_probability)):
        found = []
        for pair in np.flatnonzero(pairs.image == image):
            for place in np.flatnonzero(pairs.mask[pair]):
                hoi = pairs.classes[pair, place]
                score = pairs.detection[pair] ** np.float32(scoring.detection_power)
                score *= pairs.probability[pair, place]
                score *= pairs.image_probability[image, hoi] ** np.float32(scoring.global_power)
                found.append((-score, pair, hoi))
        rows += [(image, pair, hoi, -score) for score, pair, hoi in sorted(found)[:top_k]]
    return rows


@given(
    seed=st.integers(0, 10**6),
    levels=st.sampled_from([None, 2, 3]),
    top_k=st.integers(1, 12),
    power=st.sampled_from([0.0, 1.0, 2.8]),
    global_power=st.sampled_from([0.0, 0.5, 1.0]),
)
@settings(max_examples=60, deadline=None)
def test_rows_are_those_of_a_slow_loop(seed, levels, top_k, power, global_power):
    pairs = pair_scores(seed, levels=levels)
    scoring = DistillScoring(detection_power=power, global_power=global_power)
    rows = ranked(pairs, scoring, top_k)
    expected = slow_rows(pairs, scoring, top_k)
    places = zip(rows.image.tolist(), rows.pair.tolist(), rows.hoi.tolist(), strict=True)
    assert list(places) == [row[:3] for row in expected]
    np.testing.assert_allclose(rows.score, [row[3] for row in expected], rtol=1e-6)


def test_score_and_parts_by_hand():
    pairs = PairScores(
        np.array([0]), np.array([[2, 0]]), np.array([[True, False]]), np.array([[0.5, 0.9]]),
        np.array([0.5]), np.array([[1.0, 1.0, 0.25]]),
    )  # fmt: skip
    rows = ranked(pairs, DistillScoring(detection_power=2, global_power=0.5), 100)
    parts = (rows.hoi, rows.score, rows.hoi_score, rows.object_score, rows.clip_score)
    assert [part.tolist() for part in parts] == [[2], [0.0625], [0.5], [0.5], [0.5]]
    assert rows.score.dtype == np.float32


def test_no_class_outside_the_object_fills_the_best():
    """Though there is room for it, and its probability is the largest."""
    pairs = pair_scores(1, pairs=2, images=1)
    probability = np.where(pairs.mask, pairs.probability, 1.0)
    pairs = PairScores(**(vars(pairs) | {"probability": probability}))
    rows = ranked(pairs, PLAIN, 100)
    assert len(rows.score) == pairs.mask.sum()
    for pair, hoi in zip(rows.pair, rows.hoi, strict=True):
        assert hoi in pairs.classes[pair][pairs.mask[pair]]


def test_equal_scores_go_by_pair_then_class():
    pairs = PairScores(
        np.zeros(2, int), np.array([[1, 3], [0, 2]]), np.ones((2, 2), bool), np.full((2, 2), 0.5),
        np.ones(2), None,
    )  # fmt: skip
    rows = ranked(pairs, PLAIN, 3)
    assert list(zip(rows.pair.tolist(), rows.hoi.tolist(), strict=True)) == [(0, 1), (0, 3), (1, 0)]
    assert rows.clip_score.tolist() == [1, 1, 1]


def test_images_and_batches_without_pairs():
    pairs = pair_scores(0, pairs=0)
    assert len(ranked(pairs, PLAIN, 10).score) == 0
    pairs = pair_scores(0, pairs=3)
    late = PairScores(**(vars(pairs) | {"image": np.array([2, 2, 2])}))
    assert set(ranked(late, PLAIN, 10).image.tolist()) == {2}


def test_scores_lie_between_0_and_1():
    rows = ranked(pair_scores(3), PLAIN, 100)
    assert (rows.score >= 0).all()
    assert (rows.score <= 1).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_an_error(value):
    pairs = pair_scores()
    pairs.probability[2, 1] = value
    with pytest.raises(ValueError, match="not finite"):
        ranked(pairs, PLAIN, 10)


def suppressed(boxes, hois, scores, images, top_k=100, nms=PAPER_NMS) -> list[int]:
    boxes = np.array(boxes, float)
    images, hois = np.array(images, int), np.array(hois, int)
    return best_rows(images, hois, np.array(scores, float), boxes, boxes, top_k, nms).tolist()


def test_suppression_by_hand():
    """Within an image and a class, after the best have been taken."""
    here, there = [0, 0, 10, 10], [50, 0, 60, 10]
    boxes = [here, here, here, here, there]
    hois, scores, images = [0, 0, 1, 0, 0], [0.5, 0.9, 0.2, 0.6, 0.4], [7, 7, 7, 3, 7]
    assert suppressed(boxes, hois, scores, images) == [3, 1, 4, 2]
    assert suppressed(boxes, hois, scores, images, nms=None) == [3, 1, 0, 4, 2]
    # What suppression drops has had its place among the best.
    assert suppressed(boxes, hois, scores, images, top_k=2) == [3, 1]
    assert suppressed(np.zeros((0, 4)), [], [], []) == []


def test_neither_images_nor_classes_suppress_each_other():
    """Also where the last class of one image and the first of the next could be one number."""
    boxes, scores = [[0, 0, 10, 10]] * 4, [0.9, 0.8, 0.7, 0.6]
    assert suppressed(boxes, [0, 1, 0, 1], scores, [0, 0, 1, 1]) == [0, 1, 2, 3]
