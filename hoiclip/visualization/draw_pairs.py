"""Human-object pairs drawn on an image: two boxes, the line that joins them, and a label."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from PIL import Image, ImageColor, ImageDraw, ImageFont

SMALL_SIDE = 160  # pixels; an image no larger than this is enlarged before it is drawn on
ENLARGEMENT = 3
WIDEST = 480  # pixels; a wider image is shrunk to this
TALLEST = 4 * WIDEST
_SUPERSAMPLING = 2  # lines and letters are drawn this much larger and then reduced: smooth edges
_CASING = (0, 0, 0, 150)

Box = tuple[float, float, float, float]
Point = tuple[float, float]


@dataclass(frozen=True)
class Style:
    """How the lines of a pair look.

    Attributes:
        color: as `#rrggbb`.
        dash: lengths of dash and gap in pixels of the drawn image; None for a full line.
    """

    color: str
    dash: tuple[float, float] | None = None


# Told apart by the kind of line as well as by colours that colour-blind readers distinguish.
FOUND = Style("#3fa7ff")
MISSED = Style("#ff5a36", (9, 5))
FALSE_ALARM = Style("#ffd21f", (5, 3))
_PALETTE = ("#3fa7ff", "#ffd21f", "#ff5a36", "#2fd39a", "#e58ac6", "#ffffff")


@dataclass(frozen=True)
class DrawnPair:
    """A pair to draw; boxes in pixels of the image at its full size.

    Attributes:
        human_box_xyxy: x1, y1, x2, y2.
        object_box_xyxy: x1, y1, x2, y2; None for an interaction without an object.
        label: text beside the human box; empty for none.
        style: of its lines.
    """

    human_box_xyxy: Sequence[float]
    object_box_xyxy: Sequence[float] | None
    label: str
    style: Style


def style_of(index: int) -> Style:
    """A style for the pair number `index` of an image whose pairs are only to be told apart."""
    return Style(_PALETTE[index % len(_PALETTE)])


def display_scale(width: int, height: int) -> float:
    """Factor between an image and its picture: small ones are enlarged, large ones shrunk."""
    if max(width, height) <= SMALL_SIDE:
        return ENLARGEMENT
    return min(1.0, WIDEST / width, TALLEST / height)


def display_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the picture of an image."""
    scale = display_scale(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def draw_pairs(
    image: Image.Image, pairs: Sequence[DrawnPair], full_size: tuple[int, int] | None = None
) -> Image.Image:
    """The image at display scale with `pairs` on it, the first on top.

    The human box has the thicker line; the joining line ends in a dot on the object.

    Args:
        image: RGB.
        pairs: any number of them.
        full_size: width and height, px, that the boxes are in, where `image` is a reduced one.

    Returns:
        A new RGB image; without pairs, the image at display scale.
    """
    full_size = full_size or image.size
    size = display_size(*full_size)
    canvas = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    if not pairs:
        return canvas
    canvas = canvas.resize(
        (size[0] * _SUPERSAMPLING, size[1] * _SUPERSAMPLING), Image.Resampling.NEAREST
    )
    draw = ImageDraw.Draw(canvas, "RGBA")
    factors = (canvas.width / full_size[0], canvas.height / full_size[1])
    placed = [_scaled(pair, factors, canvas.size) for pair in pairs]
    for pair, (human, object_) in reversed(list(zip(pairs, placed, strict=True))):
        _draw_lines(draw, human, object_, pair.style)
    _draw_labels(draw, canvas.size, pairs, placed)
    return canvas.reduce(_SUPERSAMPLING)


def beside(left: Image.Image, right: Image.Image, gap: int = 8) -> Image.Image:
    """Two pictures side by side on white, aligned at the top, `gap` pixels apart."""
    size = (left.width + gap + right.width, max(left.height, right.height))
    canvas = Image.new("RGB", size, "white")
    canvas.paste(left, (0, 0))
    canvas.paste(right, (left.width + gap, 0))
    return canvas


def jpeg(picture: Image.Image, quality: int = 85) -> bytes:
    """The picture as JPEG, colours at full resolution so that thin lines stay clear."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
    return buffer.getvalue()


def _scaled(pair: DrawnPair, factors: Point, size: tuple[int, int]) -> tuple[Box, Box | None]:
    def box(values: Sequence[float]) -> Box:
        # Half a line inside the border, so that a box as large as the image can be seen.
        inset = _SUPERSAMPLING * 1.5
        x1, y1, x2, y2 = (
            min(max(value * factors[i % 2], inset), size[i % 2] - 1 - inset)
            for i, value in enumerate(values)
        )
        return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)

    object_ = None if pair.object_box_xyxy is None else box(pair.object_box_xyxy)
    return box(pair.human_box_xyxy), object_


def _draw_lines(draw: ImageDraw.ImageDraw, human: Box, object_: Box | None, style: Style) -> None:
    lines = [(_outline(human), 3.0)]
    if object_ is not None:
        lines += [(_outline(object_), 1.75), ([_centre(human), _centre(object_)], 1.75)]
    color = ImageColor.getrgb(style.color)
    for fill, extra in ((_CASING, 1.5), (color, 0.0)):
        for points, width in lines:
            for start, stop in _dashes(points, style.dash):
                drawn = round((width + extra) * _SUPERSAMPLING)
                draw.line([start, stop], fill=fill, width=drawn)
        if object_ is not None:
            radius = (3.5 + extra / 2) * _SUPERSAMPLING
            draw.circle(_centre(object_), radius, fill=fill)


def _dashes(
    points: Sequence[Point], dash: tuple[float, float] | None
) -> Iterator[tuple[Point, Point]]:
    """The drawn pieces of a path; every corner of the path begins a dash."""
    for (x1, y1), (x2, y2) in pairwise(points):
        length = math.hypot(x2 - x1, y2 - y1)
        if dash is None or length == 0:
            yield (x1, y1), (x2, y2)
            continue
        on, off = dash[0] * _SUPERSAMPLING, dash[1] * _SUPERSAMPLING
        # A whole number of periods and a last dash, so that the corners are closed.
        periods = max(1, round((length - on) / (on + off)))
        stretch = length / (periods * (on + off) + on)
        for index in range(periods + 1):
            start = index * (on + off) * stretch / length
            stop = min(1.0, start + on * stretch / length)
            yield (
                (x1 + (x2 - x1) * start, y1 + (y2 - y1) * start),
                (x1 + (x2 - x1) * stop, y1 + (y2 - y1) * stop),
            )


def _outline(box: Box) -> list[Point]:
    x1, y1, x2, y2 = box
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)]


def _centre(box: Box) -> Point:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _draw_labels(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    pairs: Sequence[DrawnPair],
    placed: Sequence[tuple[Box, Box | None]],
) -> None:
    font = ImageFont.load_default(15 * _SUPERSAMPLING)
    margin = 4 * _SUPERSAMPLING
    taken: list[Box] = []
    for pair, (human, object_) in zip(pairs, placed, strict=True):
        if not pair.label:
            continue
        left, top, right, bottom = font.getbbox(pair.label)
        width, height = right - left + 2 * margin, bottom - top + 2 * margin
        spot = _free_spot(human, object_, max(width, height), height, size, taken)
        taken.append(spot)
        draw.rounded_rectangle(
            spot, radius=margin, fill=pair.style.color, outline="black", width=_SUPERSAMPLING
        )
        middle = (spot[0] + spot[2]) / 2, (spot[1] + spot[3]) / 2
        draw.text(middle, pair.label, font=font, fill="black", anchor="mm")


def _free_spot(
    human: Box,
    object_: Box | None,
    width: float,
    height: float,
    size: tuple[int, int],
    taken: Sequence[Box],
) -> Box:
    """Where a label covers the labels before it least, near the human box if it can be."""
    corners = []
    for x1, y1, x2, y2 in (human,) if object_ is None else (human, object_):
        corners += [(x1, y1 - height), (x2 - width, y1 - height), (x1, y2), (x2 - width, y2)]
        corners += [(x1, y1), (x2 - width, y1), (x1, y2 - height), (x2 - width, y2 - height)]
    spots = []
    for x, y in corners:
        x = min(max(x, 0), max(size[0] - 1 - width, 0))
        y = min(max(y, 0), max(size[1] - 1 - height, 0))
        spots.append((x, y, x + width, y + height))
    return min(spots, key=lambda spot: sum(_common_area(spot, other) for other in taken))


def _common_area(a: Box, b: Box) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)
