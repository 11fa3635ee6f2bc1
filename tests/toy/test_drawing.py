from dataclasses import replace

import numpy as np
import pytest

from hoiclip.toy import things, world
from hoiclip.toy.drawing import render
from hoiclip.toy.shapes import Layer, extent, stroke, transform
from hoiclip.toy.world import ALL_COMBINATIONS, HOIS, Scene, sample_scene

EMPTY = Scene((), (), 3, 4)


def _scenes(n, seed=0):
    rng = np.random.default_rng(seed)
    return [sample_scene(rng, HOIS, world.test_weights()) for _ in range(n)]


def test_render_shapes_and_types():
    (scene,) = _scenes(1)
    image, boxes = render(scene)
    assert image.shape == (128, 128, 3)
    assert image.dtype == np.uint8
    assert boxes.shape == (len(scene.entities), 4)
    assert boxes.dtype == np.float32
    large, large_boxes = render(scene, 256)
    assert large.shape == (256, 256, 3)
    np.testing.assert_allclose(large_boxes, 2 * boxes, rtol=1e-6)


def test_same_scene_gives_identical_bytes():
    for scene in _scenes(3):
        assert render(scene)[0].tobytes() == render(scene)[0].tobytes()


def test_backgrounds_vary_with_their_seed():
    images = {render(replace(EMPTY, background_seed=i))[0].tobytes() for i in range(8)}
    assert len(images) == 8


def test_boxes_are_tight_around_what_is_drawn():
    background = render(EMPTY)[0].astype(int)
    for scene in _scenes(25):
        for entity in scene.entities:
            image, boxes = render(replace(EMPTY, entities=(entity,)))
            mask = np.abs(image.astype(int) - background).sum(2) > 12
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            drawn = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
            np.testing.assert_allclose(boxes[0], drawn, atol=1.25)


def test_every_combination_changes_the_picture_inside_its_boxes():
    rng = np.random.default_rng(5)
    for combination in ALL_COMBINATIONS:
        scene = sample_scene(rng, [combination], np.ones(1), max_people=1)
        image, boxes = render(scene)
        plain, _ = render(replace(scene, entities=()))
        changed = (image != plain).any(2)
        outside = changed.copy()
        for x0, y0, x1, y1 in boxes.round().astype(int):
            assert changed[y0:y1, x0:x1].mean() > 0.2
            outside[max(y0 - 1, 0) : y1 + 1, max(x0 - 1, 0) : x1 + 1] = False
        assert not outside.any()


def test_lower_entities_hide_higher_ones():
    red, blue = (200, 0, 0), (0, 0, 200)

    def dot(depth, colour):
        layer = Layer(depth, (stroke(colour, 20.0, (64.0, 64.0)),))
        return world.Entity(1, (layer,), extent(layer.shapes))

    for entities in ((dot(1, red), dot(2, blue)), (dot(2, blue), dot(1, red))):
        image, _ = render(replace(EMPTY, entities=entities))
        assert tuple(image[64, 64]) == blue


@pytest.mark.parametrize("name", things.NAMES)
def test_objects_stand_on_the_ground_and_have_a_clear_size(name):
    thing = things.make_thing(name, np.random.default_rng(0))
    x0, y0, x1, y1 = extent(thing.shapes)
    assert y1 == pytest.approx(0, abs=0.02)
    assert 0.35 < max(x1 - x0, y1 - y0) < 0.9
    assert x0 < thing.seat[0] < x1
    assert y0 - 0.1 < thing.seat[1] < y1


def test_transform_turns_clockwise_after_mirroring():
    (shape,) = transform(
        [stroke((0, 0, 0), 1.0, (1.0, 0.0))], scale=2, mirror=True, degrees=90, offset=(5, 5)
    )
    np.testing.assert_allclose(shape.points[0], (5, 3), atol=1e-9)
    assert shape.width == 2
