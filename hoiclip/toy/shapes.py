"""Flat coloured shapes: the display list every entity of the toy world is made of.

The y axis points down. Coordinates are pixels of the 128-pixel image once an entity is placed
in a scene, and person heights while it is being built.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from PIL import ImageDraw

Point = tuple[float, float]
Colour = tuple[int, int, int]

OUTLINE = 0.6  # pixels of dark rim around every layer; it belongs to the entity and its box


@dataclass(frozen=True, slots=True)
class Shape:
    """A filled polygon (`width` 0) or a round-ended stroke of that width; one point is a disc."""

    points: tuple[Point, ...]
    colour: Colour
    width: float = 0.0


@dataclass(frozen=True, slots=True)
class Layer:
    """Shapes drawn together inside one rim. Layers of a scene are drawn by ascending `depth`."""

    depth: float
    shapes: tuple[Shape, ...]


def polygon(colour: Colour, *points: Point) -> Shape:
    """A filled polygon."""
    return Shape(points, colour)


def stroke(colour: Colour, width: float, *points: Point) -> Shape:
    """A line through the points with round ends."""
    return Shape(points, colour, width)


def disc(colour: Colour, centre: Point, radius: float) -> Shape:
    """A filled circle."""
    return Shape((centre,), colour, 2 * radius)


def arc(
    centre: Point, radii: Point, start: float = 0.0, stop: float = 360.0, n: int = 20
) -> tuple[Point, ...]:
    """`n` + 1 points of an ellipse from `start` to `stop` degrees (0 right, 90 down)."""
    angles = [math.radians(start + (stop - start) * i / n) for i in range(n + 1)]
    return tuple(
        (centre[0] + radii[0] * math.cos(a), centre[1] + radii[1] * math.sin(a)) for a in angles
    )


def shade(colour: Colour, factor: float) -> Colour:
    """The colour made darker (`factor` < 1) or lighter (> 1, towards white)."""
    red, green, blue = (
        int(c * factor) if factor <= 1 else int(255 - (255 - c) / factor) for c in colour
    )
    return red, green, blue


def transform(
    shapes: Iterable[Shape],
    *,
    scale: float = 1.0,
    mirror: bool = False,
    degrees: float = 0.0,
    offset: Point = (0.0, 0.0),
) -> tuple[Shape, ...]:
    """Mirror in the y axis, turn clockwise around the origin, scale, then move by `offset`."""
    cos, sin = math.cos(math.radians(degrees)) * scale, math.sin(math.radians(degrees)) * scale
    sign = -1.0 if mirror else 1.0
    dx, dy = offset
    return tuple(
        Shape(
            tuple(
                (cos * sign * x - sin * y + dx, sin * sign * x + cos * y + dy) for x, y in s.points
            ),
            s.colour,
            s.width * scale,
        )
        for s in shapes
    )


def extent(shapes: Iterable[Shape], rim: float = 0.0) -> tuple[float, float, float, float]:
    """The tight box x0, y0, x1, y1 of the shapes with a rim of that width around them."""
    x0 = y0 = math.inf
    x1 = y1 = -math.inf
    for shape in shapes:
        half = shape.width / 2
        for x, y in shape.points:
            x0, x1 = min(x0, x - half), max(x1, x + half)
            y0, y1 = min(y0, y - half), max(y1, y + half)
    return x0 - rim, y0 - rim, x1 + rim, y1 + rim


def paint(draw: ImageDraw.ImageDraw, layer: Layer, zoom: float) -> None:
    """Draw a layer, rim first, on a canvas with `zoom` canvas pixels per scene pixel."""
    scaled = [[(x * zoom, y * zoom) for x, y in s.points] for s in layer.shapes]
    rim = OUTLINE * zoom
    for shape, points in zip(layer.shapes, scaled, strict=True):
        dark = shade(shape.colour, 0.35)
        if shape.width:
            _stroke(draw, points, shape.width * zoom + 2 * rim, dark)
        else:
            _stroke(draw, [*points, points[0]], 2 * rim, dark)
    for shape, points in zip(layer.shapes, scaled, strict=True):
        if shape.width:
            _stroke(draw, points, shape.width * zoom, shape.colour)
        else:
            draw.polygon(points, fill=shape.colour)


def _stroke(draw: ImageDraw.ImageDraw, points: list[Point], width: float, colour: Colour) -> None:
    if len(points) > 1:
        draw.line(points, fill=colour, width=max(1, round(width)))
    if width >= 4 and len(points) < 9:  # finer joints, and those of smooth curves, do not show
        half = width / 2 - 0.5  # the ellipse's last pixel is drawn too
        for x, y in points:
            draw.ellipse((x - 0.5 - half, y - 0.5 - half, x - 0.5 + half, y - 0.5 + half), colour)
