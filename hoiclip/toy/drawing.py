"""Rendering of toy scenes: flat illustration with anti-aliased edges."""

import numpy as np
from PIL import ImageDraw

from hoiclip.toy.backgrounds import draw_background
from hoiclip.toy.shapes import paint
from hoiclip.toy.world import SIZE, Scene

_SUPERSAMPLING = 3


def render(scene: Scene, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Draw a scene.

    Returns the image, uint8 RGB (size, size, 3), and the entities' boxes, float32
    (num_entities, 4), as continuous x0, y0, x1, y1 in pixels of that image: the full extent of
    each entity, hidden parts included, clipped to the image.
    """
    canvas = draw_background(scene.background, scene.background_seed, size * _SUPERSAMPLING)
    draw = ImageDraw.Draw(canvas)
    layers = [layer for entity in scene.entities for layer in entity.layers]
    for layer in sorted(layers, key=lambda layer: layer.depth):
        paint(draw, layer, size / SIZE * _SUPERSAMPLING)
    boxes = np.array([entity.box for entity in scene.entities], dtype=np.float32)
    boxes = (boxes * (size / SIZE)).clip(0, size)
    return np.asarray(canvas.reduce(_SUPERSAMPLING)), boxes
