from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoiclip.pairs.iou import row_iou
from hoiclip.pairs.pair_nms import PAPER_NMS, pair_nms
from hoiclip.set_prediction.model.postprocess import enhancement, postprocess
from hoiclip.set_prediction.model.top_pairs import top_of_sweep

seeds = st.integers(0, 2**32 - 1)


def slow_iou(a, b, extra):
    if np.isnan(a[0]) or np.isnan(b[0]):
        return float(np.isnan(a[0]) and np.isnan(b[0]))
    width = min(a[2], b[2]) - max(a[0], b[0]) + extra
    height = min(a[3], b[3]) - max(a[1], b[1]) + extra
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(c[2] - c[0] + extra) * (c[3] - c[1] + extra) for c in (a, b)]
    return width * height / (sum(areas) - width * height)


def slow_nms(human, object_, classes, scores, threshold, powers, extra):
    kept = []
    for i in sorted(range(len(scores)), key=lambda i: -scores[i]):
        overlaps = [
            slow_iou(human[i], human[j], extra) ** powers[0]
            * slow_iou(object_[i], object_[j], extra) ** powers[1]
            for j in kept
            if classes[i] == classes[j]
        ]
        if all(overlap <= threshold for overlap in overlaps):
            kept.append(i)
    return [i in kept for i in range(len(scores))]


def slow_top(scores, k):
    places = [(q, c) for q in range(scores.shape[0]) for c in range(scores.shape[1])]
    best = sorted(places, key=lambda place: (-scores[place], place))[:k]
    return [q * scores.shape[1] + c for q, c in best]


def slow_enhancement(similarity, k, weight, kind):
    out = np.zeros(similarity.shape)
    for row, values in zip(out, similarity, strict=True):
        for c in sorted(range(len(values)), key=lambda c: (-values[c], c))[:k]:
            row[c] = values[c]
    if kind == "sigmoid" and k:
        out = 1 / (1 + np.exp(-out))
    return out * weight


def random_batch(seed, levels=8):
    rng = np.random.default_rng(seed)
    images, queries, classes = (int(rng.integers(1, n)) for n in (5, 6, 8))
    objects = rng.integers(0, 4, classes)

    def quantised(*shape):
        return (rng.integers(0, levels, shape) / levels).astype(np.float32)

    corner = rng.integers(0, 4, (2, images, queries, 2))
    size = rng.integers(1, 6, (2, images, queries, 2))
    human, object_ = np.concatenate([corner, corner + size], -1).astype(np.float32)
    object_[rng.random((images, queries)) < 0.2] = np.nan
    similarity = quantised(images, classes) - np.float32(0.25)
    hoi, obj = quantised(images, queries, classes), quantised(images, queries, 4)
    return hoi, obj, human, object_, objects, similarity


@given(seed=seeds, k=st.integers(0, 9), kind=st.sampled_from(["cosine", "sigmoid"]))
@settings(deadline=None)
def test_enhancement_keeps_the_most_similar_classes(seed, k, kind):
    similarity = np.random.default_rng(seed).integers(-3, 4, (3, 7)).astype(np.float32) / 4
    expected = slow_enhancement(similarity, k, 0.5, kind)
    np.testing.assert_allclose(enhancement(similarity, k, 0.5, kind), expected, atol=1e-6)


def test_enhancement_by_hand():
    similarity = np.array([[0.1, 0.3, 0.2, 0.2]], np.float32)
    np.testing.assert_allclose(enhancement(similarity, 2, 1.0), [[0, 0.3, 0.2, 0]])
    assert not enhancement(similarity, 0, 1.0, "sigmoid").any()
    np.testing.assert_allclose(
        enhancement(similarity, 1, 1.0, "sigmoid"), [[0.5, 0.5744425, 0.5, 0.5]]
    )
    np.testing.assert_array_equal(enhancement(similarity, 9, 2.0), similarity * 2)


def test_enhancement_refuses():
    similarity = np.zeros((1, 2))
    with pytest.raises(ValueError, match="'cosin'"):
        enhancement(similarity, 1, 1.0, "cosin")
    with pytest.raises(ValueError, match="-1 is negative"):
        enhancement(similarity, -1, 1.0)


def fused(hoi, objects, added, object_of_hoi):
    """(B, Q, C) scores, summed in float32 in the order of the formula."""
    scores = np.square(objects, dtype=np.float32)[..., object_of_hoi] + hoi
    return scores if added is None else scores + added[:, None]


def test_the_score_squares_that_of_the_classs_object():
    hoi = np.array([[[0.5, 0.25]]], np.float32)
    objects = np.array([[[0.5, 1.0, 0.0]]], np.float32)
    boxes = np.array([[[0.0, 0.0, 1.0, 1.0]]])
    added = [np.array([[0.0, 0.125]]), None]
    found = postprocess(hoi, objects, boxes, boxes, np.array([0, 1]), added)
    assert [pairs.hoi.tolist() for pairs in found] == [[1, 0], [1, 0]]
    assert [pairs.score.tolist() for pairs in found] == [[1.375, 0.75], [1.25, 0.75]]
    (nothing,) = postprocess(hoi, objects, boxes, boxes, np.array([2, 2]), [None])
    assert nothing.score.tolist() == [0.5, 0.25]


def top_pairs(scores, k=100):
    """Of `top_of_sweep`, with nothing but HOI scores."""
    images, queries, classes = scores.shape
    nothing = np.zeros((images, queries, 1), np.float32)
    objects, added = np.zeros(classes, np.int64), np.zeros((1, images, classes), np.float32)
    return top_of_sweep(scores, nothing, objects, added, k)[0]


@given(
    seed=seeds,
    k=st.integers(0, 12),
    shape=st.tuples(st.integers(0, 3), st.integers(1, 6), st.integers(1, 70)),
)
@settings(deadline=None)
def test_top_pairs_with_ties_equal_a_full_sort(seed, k, shape):
    scores = np.random.default_rng(seed).integers(-5, 5, shape).astype(np.float32)
    top = top_pairs(scores, k)
    assert top.shape == (shape[0], min(k, shape[1] * shape[2]))
    assert top.tolist() == [slow_top(image, k) for image in scores]


def test_top_pairs_at_the_size_of_hico_det():
    rng = np.random.default_rng(0)
    scores = rng.random((3, 64, 600), dtype=np.float32)
    scores[1] = np.round(scores[1], 2)
    scores[2] = 0.5
    expected = [np.argsort(-image.ravel(), kind="stable")[:100] for image in scores]
    np.testing.assert_array_equal(top_pairs(scores), expected)


@pytest.mark.parametrize("place", [(0, 0), (3, 68), (5, 69)])
def test_top_pairs_refuse_nan_wherever_it_stands(place):
    scores = np.zeros((1, 6, 70), np.float32)
    scores[0][place] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        top_pairs(scores, 10)


@given(
    seed=seeds,
    threshold=st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]),
    powers=st.sampled_from([(1.0, 0.5), (0.0, 1.0), (2.0, 0.0)]),
    inclusive=st.booleans(),
)
@settings(deadline=None, max_examples=200)
def test_pair_nms_equals_plain_loops(seed, threshold, powers, inclusive):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 25))
    corner, size = rng.integers(0, 3, (2, n, 2)), rng.integers(2, 7, (2, n, 2))
    human, object_ = np.concatenate([corner, corner + size], -1).astype(np.float32)
    object_[rng.random(n) < 0.3] = np.nan
    classes, scores = rng.integers(0, 3, n), rng.integers(0, 6, n) / 6
    arrays = human, object_, classes, scores
    kept = pair_nms(*arrays, threshold, *powers, plus_one_extents=inclusive)
    assert kept.tolist() == slow_nms(*arrays, threshold, powers, int(inclusive))


def test_a_suppressed_row_suppresses_nothing():
    # Neighbours overlap by 9/11, rows two apart by 8/12: the third survives, the fourth does not.
    boxes = np.array([[0, x, 1, 10 + x] for x in range(4)], float)
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        scores = np.array([0.9, 0.8, 0.7, 0.6])[order]
        kept = pair_nms(boxes[order], boxes[order], np.zeros(4), scores, 0.7, 1.0, 0.0)
        assert kept.tolist() == np.array([True, False, True, False])[order].tolist()


def test_an_overlap_of_exactly_the_threshold_stays():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], float)
    args = boxes, boxes[:1].repeat(2, 0), np.zeros(2), np.array([0.9, 0.8])
    assert pair_nms(*args, 0.5).tolist() == [True, True]
    assert pair_nms(*args, 0.5, plus_one_extents=True).tolist() == [True, False]


def test_the_papers_settings_by_hand():
    # 0.9 * 0.64 ** 0.5 = 0.72 suppresses, 0.9 * 0.6 ** 0.5 = 0.697 does not.
    human = np.array([[0, 0, 10, 100], [0, 0, 10, 90]], float)
    for extent, kept in ((64, False), (60, True)):
        object_ = np.array([[0, 0, 10, 100], [0, 0, 10, extent]], float)
        found = pair_nms(human, object_, np.zeros(2), np.array([0.9, 0.8]), **asdict(PAPER_NMS))
        assert found.tolist() == [True, kept]


def test_missing_objects_are_the_same_object_to_pair_nms():
    box, missing = [0.0, 0.0, 10.0, 10.0], [np.nan] * 4
    human = np.array([box] * 4)
    object_ = np.array([missing, box, missing, box])
    scores = np.array([0.5, 0.5, 0.5, 0.6])
    # Of equal scores the first row stays; a missing object and a box are different objects.
    kept = pair_nms(human, object_, np.zeros(4), scores)
    assert kept.tolist() == [True, False, False, True]


def test_overlap_of_missing_boxes():
    box, missing = [0.0, 0.0, 2.0, 2.0], [np.nan] * 4
    first, second = np.array([box, box, missing, missing]), np.array([box, missing, box, missing])
    for inclusive in (False, True):
        assert row_iou(first, second, inclusive=inclusive).tolist() == [1, 0, 0, 1]


def test_boxes_without_extent_overlap_nothing_unless_inclusive():
    point = np.array([[3.0, 3.0, 3.0, 3.0]])
    assert row_iou(point, point, inclusive=False).tolist() == [0]
    assert row_iou(point, point, inclusive=True).tolist() == [1]
    assert row_iou(point, point, inclusive=True, least_extent=1.0).tolist() == [0]


@given(seed=seeds, top_k=st.integers(1, 30), nms=st.booleans())
@settings(deadline=None)
def test_the_pass_equals_its_parts_for_every_enhancement(seed, top_k, nms):
    hoi, obj, human, object_, objects, similarity = random_batch(seed)
    wanted = [
        None,
        *(enhancement(similarity, k, 0.5, kind) for k in (1, 3) for kind in ("cosine", "sigmoid")),
    ]
    settings_ = replace(PAPER_NMS, threshold=0.3, plus_one_extents=True) if nms else None
    boxes_and_objects = hoi, obj, human, object_, objects
    together = postprocess(*boxes_and_objects, wanted, top_k=top_k, nms=settings_)
    num_classes = hoi.shape[2]
    for added, found in zip(wanted, together, strict=True):
        (alone,) = postprocess(*boxes_and_objects, [added], top_k=top_k, nms=settings_, threads=1)
        scores = fused(hoi, obj, added, objects)
        rows = []
        for image, values in enumerate(scores):
            places = [divmod(flat, num_classes) for flat in slow_top(values, top_k)]
            keep = [True] * len(places)
            if nms:
                queries = [q for q, _ in places]
                keep = slow_nms(
                    human[image, queries],
                    object_[image, queries],
                    [c for _, c in places],
                    [values[p] for p in places],
                    0.3,
                    (1.0, 0.5),
                    1,
                )
            rows += [(image, *p) for p, k in zip(places, keep, strict=True) if k]
        for pairs in (found, alone):
            columns = pairs.image, pairs.query, pairs.hoi
            assert list(zip(*(c.tolist() for c in columns), strict=True)) == rows
            np.testing.assert_array_equal(pairs.score, scores[columns])
            np.testing.assert_array_equal(pairs.hoi_score, hoi[columns])
            np.testing.assert_array_equal(pairs.human_boxes_xyxy, human[columns[:2]])
            np.testing.assert_array_equal(pairs.object_boxes_xyxy, object_[columns[:2]])
            np.testing.assert_array_equal(
                pairs.object_score, obj[columns[0], columns[1], objects[columns[2]]]
            )
            parts = pairs.object_score**2 + pairs.hoi_score + pairs.clip_score
            np.testing.assert_array_equal(parts, pairs.score)


def test_the_pass_over_several_blocks_numbers_images_through():
    rng = np.random.default_rng(1)
    hoi = rng.random((150, 2, 3), dtype=np.float32)
    boxes = np.tile(np.arange(150, dtype=np.float32)[:, None, None], (1, 2, 4))
    args = rng.random((150, 2, 1), dtype=np.float32), boxes, boxes, np.zeros(3, int), [None]
    (pairs,) = postprocess(hoi, *args, top_k=1, nms=PAPER_NMS)
    assert pairs.image.tolist() == list(range(150))
    assert pairs.human_boxes_xyxy[:, 0].tolist() == list(range(150))
    assert pairs.query.dtype == pairs.hoi.dtype == np.int32


def test_the_pass_over_nothing():
    empty, boxes = np.zeros((0, 4, 3), np.float32), np.zeros((0, 4, 4), np.float32)
    for nms in (None, PAPER_NMS):
        (pairs,) = postprocess(empty, empty, boxes, boxes, np.arange(3), [None], nms=nms)
        assert len(pairs.image) == len(pairs.score) == 0


def test_the_pass_refuses_an_object_without_scores():
    scores, boxes = np.zeros((1, 1, 1), np.float32), np.zeros((1, 1, 4), np.float32)
    with pytest.raises(ValueError, match=r"object 3, but there are scores of 1 objects"):
        postprocess(scores, scores, boxes, boxes, np.array([3]), [None])
