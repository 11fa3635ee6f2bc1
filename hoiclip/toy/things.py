"""The ten everyday objects as flat shapes, in person heights, standing on y = 0 around x = 0.

They face right. Colours are random, so only the shape tells the class.
"""

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hoiclip.toy.shapes import Colour, Point, Shape, arc, disc, polygon, shade, stroke


@dataclass(frozen=True, slots=True)
class Thing:
    """Shapes of one object and where a person sits on it."""

    shapes: tuple[Shape, ...]
    seat: Point


def vivid(rng: np.random.Generator) -> Colour:
    """A random colour of medium to high saturation and brightness."""
    h, s, v = rng.random(), rng.uniform(0.45, 0.95), rng.uniform(0.55, 1.0)
    red, green, blue = (int(255 * c) for c in colorsys.hsv_to_rgb(h, s, v))
    return red, green, blue


def _ball(a: Colour, b: Colour) -> Thing:
    c, r = (0.0, -0.21), 0.21
    seams = (arc(c, (k, k), 18, 378, 5) for k in (0.08, 0.19))
    shapes = (
        disc(a, c, r),
        polygon(b, *arc(c, (0.075, 0.075), 18, 378, 5)),
        *(stroke(b, 0.03, inner, outer) for inner, outer in zip(*seams, strict=True)),
    )
    return Thing(shapes, (0.0, -0.41))


def _bench(a: Colour, b: Colour) -> Thing:
    shapes = (
        *(stroke(shade(b, 0.6), 0.045, (x, -0.44), (x, -0.03)) for x in (-0.32, 0.32)),
        *(stroke(a, 0.06, (-0.37, y), (0.37, y)) for y in (-0.42, -0.325)),
        stroke(shade(a, 1.5), 0.075, (-0.40, -0.21), (0.40, -0.21)),
    )
    return Thing(shapes, (0.0, -0.24))


def _bicycle(a: Colour, b: Colour) -> Thing:
    tyre, r = shade(b, 0.45), 0.15
    wheels = [(-0.24, -r - 0.02), (0.24, -r - 0.02)]
    crank, saddle, head = (-0.02, -0.15), (-0.11, -0.42), (0.17, -0.40)
    shapes = (
        *(stroke(tyre, 0.04, *arc(w, (r, r), n=24)) for w in wheels),
        stroke(a, 0.04, wheels[0], crank, head, (-0.09, -0.36), wheels[0]),
        stroke(a, 0.04, crank, saddle),
        stroke(a, 0.04, wheels[1], head, (0.15, -0.48)),
        stroke(tyre, 0.04, (0.15, -0.48), (0.23, -0.49)),
        stroke(tyre, 0.055, (-0.17, -0.43), (-0.06, -0.43)),
    )
    return Thing(shapes, (-0.11, -0.45))


def _chair(a: Colour, b: Colour) -> Thing:
    shapes = (
        *(stroke(a, 0.05, (x, -0.27), (x * 1.15, -0.03)) for x in (-0.15, 0.15)),
        stroke(a, 0.06, (-0.17, -0.58), (-0.15, -0.27)),
        stroke(b, 0.09, (-0.155, -0.55), (-0.145, -0.40)),
        stroke(b, 0.075, (-0.15, -0.27), (0.17, -0.27)),
    )
    return Thing(shapes, (0.02, -0.30))


def _dog(a: Colour, b: Colour) -> Thing:
    dark = shade(a, 0.75)
    shapes = (
        stroke(dark, 0.065, (-0.12, -0.2), (-0.14, -0.035)),
        stroke(dark, 0.065, (0.16, -0.2), (0.17, -0.035)),
        stroke(a, 0.045, (-0.19, -0.27), (-0.27, -0.35), (-0.29, -0.43)),
        stroke(a, 0.16, (-0.13, -0.23), (0.14, -0.24)),
        stroke(a, 0.065, (-0.18, -0.2), (-0.19, -0.035)),
        stroke(a, 0.065, (0.11, -0.2), (0.11, -0.035)),
        stroke(a, 0.11, (0.15, -0.26), (0.21, -0.37)),
        disc(a, (0.22, -0.40), 0.085),
        stroke(a, 0.075, (0.24, -0.375), (0.315, -0.365)),
        stroke(dark, 0.06, (0.175, -0.45), (0.15, -0.36)),
        disc((30, 25, 25), (0.345, -0.38), 0.02),
        disc((30, 25, 25), (0.25, -0.42), 0.015),
        stroke(b, 0.035, (0.13, -0.33), (0.235, -0.305)),
    )
    return Thing(shapes, (-0.02, -0.31))


def _guitar(a: Colour, b: Colour) -> Thing:
    neck = shade(b, 0.7)
    shapes = (
        polygon(a, *arc((0, -0.14), (0.145, 0.14))),
        polygon(a, *arc((0, -0.30), (0.11, 0.10))),
        stroke(neck, 0.045, (0, -0.28), (0, -0.64)),
        stroke(neck, 0.075, (0, -0.64), (0, -0.70)),
        disc(shade(a, 0.35), (0, -0.25), 0.045),
        stroke(neck, 0.03, (-0.05, -0.10), (0.05, -0.10)),
    )
    return Thing(shapes, (0.0, -0.38))


def _kite(a: Colour, b: Colour) -> Thing:
    top, right, bottom, left, mid = (0, -0.62), (0.2, -0.42), (0, -0.14), (-0.2, -0.42), (0, -0.42)
    shapes = (
        stroke(shade(b, 0.6), 0.025, bottom, (0.06, -0.09), (-0.03, -0.05), (0.05, -0.02)),
        polygon(a, top, right, mid),
        polygon(b, right, bottom, mid),
        polygon(a, bottom, left, mid),
        polygon(b, left, top, mid),
    )
    return Thing(shapes, (0.0, -0.6))


def _skateboard(a: Colour, b: Colour) -> Thing:
    shapes = (
        *(disc(b, (x, -0.06), 0.06) for x in (-0.19, 0.19)),
        *(disc(shade(b, 0.4), (x, -0.06), 0.02) for x in (-0.19, 0.19)),
        stroke(a, 0.055, (-0.37, -0.20), (-0.27, -0.145), (0.27, -0.145), (0.37, -0.20)),
    )
    return Thing(shapes, (0.0, -0.17))


def _suitcase(a: Colour, b: Colour) -> Thing:
    strap = shade(b, 0.7)
    shapes = (
        stroke(strap, 0.04, (-0.08, -0.35), (-0.07, -0.43), (0.07, -0.43), (0.08, -0.35)),
        polygon(a, (-0.25, -0.36), (0.25, -0.36), (0.25, 0.0), (-0.25, 0.0)),
        *(stroke(strap, 0.045, (x, -0.335), (x, -0.025)) for x in (-0.14, 0.14)),
        stroke(strap, 0.02, (-0.24, -0.24), (0.24, -0.24)),
    )
    return Thing(shapes, (0.0, -0.38))


def _umbrella(a: Colour, b: Colour) -> Thing:
    c, (rx, ry) = (0.0, -0.36), (0.3, 0.25)
    rib = shade(b, 0.5)
    shapes = (
        stroke(rib, 0.035, (0, -0.36), (0, -0.06), (0.03, -0.02), (0.075, -0.025), (0.09, -0.07)),
        stroke(rib, 0.03, (0, -0.6), (0, -0.65)),
        polygon(a, *arc(c, (rx, ry), 180, 360), (0.2, -0.32), (0.1, -0.36), (0.0, -0.32),
                (-0.1, -0.36), (-0.2, -0.32)),
        polygon(b, (0, -0.61), (0.1, -0.36), (0.0, -0.32), (-0.1, -0.36)),
    )  # fmt: skip
    return Thing(shapes, (0.0, -0.61))


_BUILDERS: dict[str, Callable[[Colour, Colour], Thing]] = {
    "ball": _ball,
    "bench": _bench,
    "bicycle": _bicycle,
    "chair": _chair,
    "dog": _dog,
    "guitar": _guitar,
    "kite": _kite,
    "skateboard": _skateboard,
    "suitcase": _suitcase,
    "umbrella": _umbrella,
}
NAMES: tuple[str, ...] = tuple(_BUILDERS)  # alphabetical


def make_thing(name: str, rng: np.random.Generator) -> Thing:
    """The named object in two random colours that differ visibly."""
    a = vivid(rng)
    b = vivid(rng)
    while sum(abs(p - q) for p, q in zip(a, b, strict=True)) < 150:
        b = vivid(rng)
    return _BUILDERS[name](a, b)
