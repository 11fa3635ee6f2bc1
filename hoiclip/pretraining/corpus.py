"""Rendered scenes for pretraining, from random streams that no data set draws from."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np

from hoiclip.toy.drawing import render
from hoiclip.toy.world import ALL_COMBINATIONS, SIZE, Pair, sample_scene

# Leads every seed sequence of a corpus: a data set's sequences are shorter and start otherwise.
_STREAM = 0x636F72707573


@dataclass(frozen=True)
class RenderedScene:
    """A picture and what is in it.

    Attributes:
        image: (size, size, 3) uint8 RGB.
        boxes_xyxy: (n, 4) float32, in pixels, one per person or object.
        objects: (n,) int64, indices into the toy world's `OBJECTS` (0 is a person).
        pairs: the interactions; indices of human and object into the boxes, and verbs.
    """

    image: np.ndarray
    boxes_xyxy: np.ndarray
    objects: np.ndarray
    pairs: tuple[Pair, ...]


def render_scene(index: int, *, seed: int, size: int = SIZE) -> RenderedScene:
    """Scene `index` of the corpus `seed`: all (verb, object) combinations equally likely."""
    rng = np.random.default_rng([_STREAM, seed, index])
    weights = np.full(len(ALL_COMBINATIONS), 1 / len(ALL_COMBINATIONS))
    scene = sample_scene(rng, ALL_COMBINATIONS, weights)
    image, boxes = render(scene, size)
    objects = np.array([entity.category for entity in scene.entities], np.int64)
    return RenderedScene(image, boxes, objects, scene.pairs)


def render_corpus(
    count: int, *, seed: int, size: int = SIZE, workers: int = 2
) -> list[RenderedScene]:
    """The first `count` scenes of the corpus `seed`, the same whatever the number of workers.

    About `size`² x 3 bytes each. `workers` 0 renders in this process.
    """
    task = partial(render_scene, seed=seed, size=size)
    if workers == 0:
        return [task(index) for index in range(count)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(task, range(count), chunksize=64))
