from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoiclip.catalog.vocabularies import hico_det, vcoco
from hoiclip.core.vocabulary import NO_INTERACTION, Hoi, Verb, Vocabulary
from hoiclip.methods.clip_distill.caches.classes import classes_of_object
from hoiclip.methods.clip_distill.model.config import TeacherConfig
from hoiclip.methods.clip_distill.model.teacher import (
    image_targets,
    shuffled_within_objects,
    union_targets,
)

VERBS = (
    Verb("hold", "holding"),
    Verb("throw", "throwing"),
    Verb(NO_INTERACTION, None),
    Verb("walk", None, "walking"),
)
# Of the cup two verbs, of the ball one and no_interaction; the tree has no class.
VOCABULARY = Vocabulary(
    ("person", "cup", "tree", "ball"), VERBS, (Hoi(0, 3), Hoi(0, 1), Hoi(2, 3), Hoi(1, 1))
)
CLASSES = classes_of_object(VOCABULARY)
CUP, TREE, BALL = 1, 2, 3


def teacher(**changes) -> TeacherConfig:
    values = {
        "view": "pad", "temperature": 10.0, "null_prompt": True, "global_scope": "object",
        "filter": "none", "shuffle": False,
    }  # fmt: skip
    return TeacherConfig(**(values | changes))


def unions(cosines, null, objects, scores=None, **changes):
    scores = np.ones(len(objects)) if scores is None else np.array(scores)
    return union_targets(
        np.array(cosines, np.float64), np.array(null, np.float64), np.array(objects), scores,
        CLASSES, teacher(**changes),
    )  # fmt: skip


def test_classes_of_each_object_by_id_and_whose_null_prompt_competes():
    assert CLASSES.indices.tolist() == [[0, 0], [1, 3], [0, 0], [0, 2]]
    assert CLASSES.mask.tolist() == [[False] * 2, [True] * 2, [False] * 2, [True] * 2]
    assert CLASSES.has_null.tolist() == [True, True, True, False]


@pytest.mark.parametrize("vocabulary", [hico_det(), vcoco()], ids=["hico_det", "vcoco"])
def test_classes_of_published_vocabularies(vocabulary):
    """Each class once, under its own object; in HICO-DET every object has no_interaction."""
    classes = classes_of_object(vocabulary)
    assert len(classes.mask) == vocabulary.num_objects + vocabulary.has_missing_objects
    rows, places = np.nonzero(classes.mask)
    ids = classes.indices[rows, places]
    assert sorted(ids) == list(range(vocabulary.num_hois))
    assert (vocabulary.object_of_hoi[ids] == rows).all()
    assert (np.diff(ids)[np.diff(rows) == 0] > 0).all()
    has_classes = classes.mask.any(1)
    none = any(verb.name == NO_INTERACTION for verb in vocabulary.verbs)
    assert (classes.has_null[has_classes] == (not none)).all()


def test_unions_by_hand():
    # exp(10 · 0.2), exp(10 · 0.1) and, of the null prompt, exp(10 · 0.3).
    a, b, n = math.exp(2), math.exp(1), math.exp(3)
    found = unions([[0.2, 0.1], [0.2, 0.1]], [0.3, 0.3], [CUP, BALL])
    np.testing.assert_allclose(found.probability[0], np.array([a, b]) / (a + b + n))
    # The ball has no_interaction among its classes, so that its null prompt keeps out.
    np.testing.assert_allclose(found.probability[1], np.array([a, b]) / (a + b))
    without = unions([[0.2, 0.1]], [0.3], [CUP], null_prompt=False)
    np.testing.assert_allclose(without.probability[0], np.array([a, b]) / (a + b))


def test_ties_share():
    found = unions([[0.2, 0.2]], [0.2], [CUP])
    np.testing.assert_allclose(found.probability, [[1 / 3, 1 / 3]])


def test_cosines_beyond_the_objects_classes_do_not_count():
    vocabulary = Vocabulary(("person", "cup", "ball"), VERBS, (Hoi(0, 1), Hoi(1, 1), Hoi(0, 2)))
    classes = classes_of_object(vocabulary)
    arguments = (np.zeros(1), np.array([2]), np.ones(1), classes, teacher(null_prompt=False))
    found = union_targets(np.array([[0.1, 9.0]]), *arguments)
    assert found.probability.tolist() == [[1, 0]]


def test_an_object_without_classes_gets_nothing_and_nothing_breaks():
    found = unions([[0.5, 0.5]], [0.5], [TREE], filter="entropy")
    assert found.probability.tolist() == [[0, 0]]
    assert np.isfinite(found.weight).all()


def test_no_pairs():
    found = unions(np.zeros((0, 2)), [], np.zeros(0, int))
    assert found.probability.shape == (0, 2)
    assert found.weight.shape == (0,)


def test_the_entropy_filter_by_hand():
    scores = [0.5, 0.5, 0.8]
    cosines, null = [[0.2, 0.2], [9.0, 0.0], [0.2, 0.2]], [0.2, 0.0, 9.0]
    found = unions(cosines, null, [CUP, CUP, BALL], scores, filter="entropy")
    # Not sure at all; sure; not sure among two, since nothing else competes.
    np.testing.assert_allclose(found.weight, [0, 0.5, 0], atol=1e-12)
    unlike = unions([[0.2, 0.1]], [0.3], [CUP], [0.5], filter="entropy")
    p = np.exp([2, 1, 3]) / np.exp([2, 1, 3]).sum()
    expected = 0.5 * (1 + (p * np.log(p)).sum() / math.log(3))
    np.testing.assert_allclose(unlike.weight, [expected])
    assert unions(cosines, null, [CUP, CUP, BALL], scores).weight.tolist() == [1, 1, 1]


def test_one_class_without_competition_is_certain():
    vocabulary = Vocabulary(("person", "cup"), VERBS, (Hoi(0, 1),))
    classes = classes_of_object(vocabulary)
    config = teacher(null_prompt=False, filter="entropy")
    found = union_targets(
        np.array([[0.1]]), np.zeros(1), np.array([1]), np.array([0.7]), classes, config
    )
    assert found.probability.tolist() == [[1]]
    assert found.weight.tolist() == [0.7]


def images(objects, **changes):
    cosines, null = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0, 0.5, 0, 0.6])
    return image_targets(cosines, null, np.array(objects, int), CLASSES, teacher(**changes))


def test_images_by_hand():
    found = images([CUP, BALL, CUP])
    cup, ball = np.exp([2, 4, 5]), np.exp([1, 3])
    expected = [ball[0] / ball.sum(), cup[0] / cup.sum(), ball[1] / ball.sum(), cup[1] / cup.sum()]
    np.testing.assert_allclose(found.probability, expected)
    assert found.mask.all()


def test_classes_of_undetected_objects_get_nothing():
    found = images([CUP])
    assert found.mask.tolist() == [False, True, False, True]
    assert (found.probability[[0, 2]] == 0).all()
    nothing = images([])
    assert not nothing.mask.any()
    assert not nothing.probability.any()
    assert not images([TREE]).mask.any()


def test_in_the_scope_of_the_image_objects_compete():
    found = images([BALL, CUP], global_scope="image")
    powers = np.exp([1, 2, 3, 4])
    np.testing.assert_allclose(found.probability, powers / (powers.sum() + math.exp(5)))
    alone = images([CUP], global_scope="image")
    np.testing.assert_allclose(alone.probability, images([CUP]).probability)


cosine = st.floats(-1, 1, width=32)


@given(
    st.lists(st.tuples(cosine, cosine, cosine, st.sampled_from([CUP, BALL])), max_size=6),
    st.booleans(),
    st.sampled_from([1e-3, 1.0, 100.0, 10_000.0]),
)
def test_targets_are_probabilities(rows, null_prompt, temperature):
    values = np.array([row[:3] for row in rows], np.float32).reshape(-1, 3)
    objects = np.array([row[3] for row in rows], int)
    config = teacher(null_prompt=null_prompt, temperature=temperature, filter="entropy")
    scores = np.ones(len(rows), np.float32)
    found = union_targets(values[:, :2], values[:, 2], objects, scores, CLASSES, config)
    assert found.probability.dtype == np.float32
    total = found.probability.sum(1)
    assert ((found.probability >= 0) & (total[:, None] <= 1 + 1e-5)).all()
    assert ((found.weight >= 0) & (found.weight <= 1)).all()
    whole = total > 1 - 1e-5
    assert whole[~CLASSES.has_null[objects]].all()
    assert null_prompt or whole.all()


def test_shuffling_stays_within_an_object_and_moves():
    rng = np.random.default_rng(0)
    objects = rng.integers(0, 3, 300)
    order = shuffled_within_objects(objects, np.random.default_rng(1))
    assert sorted(order) == list(range(300))
    assert (objects[order] == objects).all()
    assert (order == np.arange(300)).mean() < 0.05
    again = shuffled_within_objects(objects, np.random.default_rng(1))
    assert (order == again).all()
