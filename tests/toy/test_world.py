from collections import Counter

import numpy as np
import pytest

from hoiclip.toy import world
from hoiclip.toy.world import ALL_COMBINATIONS, HOIS, OBJECTS, VERBS, sample_corpus, sample_scene


def _counts(scenes):
    return Counter(
        (verb, scene.entities[pair.object].category)
        for scene in scenes
        for pair in scene.pairs
        for verb in pair.verbs
    )


def _gap(a, b):
    """The larger of the sideways and the vertical distance of two boxes."""
    return max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3])


@pytest.fixture(scope="module")
def train_scenes():
    rng = np.random.default_rng(0)
    return list(sample_corpus(rng, 500, HOIS, world.train_weights(), minimum=2))


def test_vocabulary_is_canonical():
    assert OBJECTS[0] == "person"
    assert list(OBJECTS[1:]) == sorted(OBJECTS[1:])
    names = [verb.name for verb in VERBS]
    assert names == sorted(names)
    assert len(names) == 8
    assert len(OBJECTS) == 11
    assert [verb.name for verb in VERBS if verb.phrase is None] == ["no_interaction"]
    for classes, n in ((HOIS, 44), (ALL_COMBINATIONS, 80)):
        assert list(classes) == sorted(set(classes), key=lambda c: (c[1], c[0]))
        assert len(classes) == n
    assert min(Counter(v for v, _ in HOIS).values()) >= 3
    assert min(Counter(o for _, o in HOIS).values()) >= 3


@pytest.mark.parametrize("weights", [world.train_weights(), world.test_weights()])
def test_weights_are_probabilities(weights):
    assert weights.shape == (44,)
    assert (weights > 0).all()
    assert weights.sum() == pytest.approx(1)


def test_same_generator_state_gives_the_same_scene():
    weights = world.train_weights()
    a, b = (sample_scene(np.random.default_rng(7), HOIS, weights) for _ in range(2))
    assert a == b
    assert a != sample_scene(np.random.default_rng(8), HOIS, weights)


@pytest.mark.parametrize("combination", ALL_COMBINATIONS)
def test_required_combination_is_shown(combination):
    rng = np.random.default_rng(1)
    for max_people in (1, 5):
        scene = sample_scene(
            rng, HOIS, world.train_weights(), max_people=max_people, required=combination
        )
        assert _counts([scene])[combination] >= 1
        assert sum(e.category == 0 for e in scene.entities) <= max_people


def test_pairs_join_a_person_and_an_object(train_scenes):
    for scene in train_scenes:
        assert scene.pairs
        members = [i for p in scene.pairs for i in (p.human, p.object)]
        assert len(members) == len(set(members))
        for pair in scene.pairs:
            assert scene.entities[pair.human].category == 0
            category = scene.entities[pair.object].category
            assert category > 0
            assert list(pair.verbs) == sorted(set(pair.verbs))
            assert all((verb, category) in HOIS for verb in pair.verbs)


def test_unpaired_person_and_object_are_clearly_apart(train_scenes):
    for scene in train_scenes:
        paired = {(p.human, p.object) for p in scene.pairs}
        people = [i for i, e in enumerate(scene.entities) if e.category == 0]
        things = [i for i, e in enumerate(scene.entities) if e.category]
        for h in people:
            height = max(40.0, scene.entities[h].box[3] - scene.entities[h].box[1])
            for o in things:
                gap = _gap(scene.entities[h].box, scene.entities[o].box)
                # Raised arms make a box taller than the person: 0.35 heights are 0.28 of such.
                assert (h, o) in paired or gap > 0.27 * height


def test_no_interaction_leaves_a_small_gap(train_scenes):
    for scene in train_scenes:
        for pair in scene.pairs:
            if [VERBS[v].name for v in pair.verbs] == ["no_interaction"]:
                person, thing = scene.entities[pair.human].box, scene.entities[pair.object].box
                gap = max(person[0] - thing[2], thing[0] - person[2])
                assert 0 < gap < 0.2 * (person[3] - person[1])


def test_entities_are_inside_the_image(train_scenes):
    for scene in train_scenes:
        box = np.array([e.box for e in scene.entities])
        seen = box.clip(0, world.SIZE)
        area, inside = (np.prod(b[:, 2:] - b[:, :2], axis=1) for b in (box, seen))
        assert (inside >= 0.9 * area).all()


def test_sitting_and_holding_occurs_where_both_classes_exist():
    rng = np.random.default_rng(2)
    sit, hold = ([v.name for v in VERBS].index(n) for n in ("sit_on", "hold"))
    bench = OBJECTS.index("bench")
    one = [sample_scene(rng, [(sit, bench)], np.ones(1), max_people=1) for _ in range(40)]
    assert {p.verbs for s in one for p in s.pairs} == {(sit,)}
    both = [
        sample_scene(rng, [(sit, bench), (hold, bench)], np.array([1.0, 0.0]), max_people=1)
        for _ in range(200)
    ]
    share = np.mean([s.pairs[0].verbs == tuple(sorted((sit, hold))) for s in both])
    assert 0.08 < share < 0.24


def test_corpus_has_a_long_tail_and_minimum_counts(train_scenes):
    counts = _counts(train_scenes)
    ordered = sorted(counts[c] for c in HOIS)
    assert ordered[0] >= 2
    assert sum(n < 10 for n in ordered) >= 11
    assert ordered[-1] > 10 * ordered[5]
    several = np.mean([sum(e.category == 0 for e in s.entities) > 1 for s in train_scenes])
    assert several >= 0.4


def test_test_partition_has_ten_instances_of_each_class():
    rng = np.random.default_rng(3)
    scenes = sample_corpus(rng, 450, HOIS, world.test_weights(), minimum=10)
    counts = _counts(scenes)
    assert min(counts[c] for c in HOIS) >= 10


def test_corpus_too_small_for_its_minimum_is_refused():
    with pytest.raises(ValueError, match="10 scenes"):
        next(sample_corpus(np.random.default_rng(0), 10, HOIS, world.train_weights(), minimum=1))
