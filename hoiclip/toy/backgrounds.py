"""Soft, textured backgrounds: rooms, meadows, streets, beaches."""

import colorsys

import numpy as np
from PIL import Image, ImageDraw


def _pastel(rng: np.random.Generator, hue: float | None = None) -> np.ndarray:
    hue = rng.random() if hue is None else (hue + rng.uniform(-0.04, 0.04)) % 1
    rgb = colorsys.hsv_to_rgb(hue, rng.uniform(0.12, 0.38), rng.uniform(0.78, 0.97))
    return 255 * np.array(rgb, dtype=np.float32)


def _blend(top: np.ndarray, bottom: np.ndarray, n: int) -> np.ndarray:
    """A vertical gradient, (n, 1, 3)."""
    t = np.linspace(0, 1, n, dtype=np.float32)[:, None, None]
    return top * (1 - t) + bottom * t


def _pattern(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """A regular wall or floor pattern in [-1, 1], (h, w)."""
    y, x = np.arange(h)[:, None], np.arange(w)[None]
    step = int(rng.integers(6, 15))
    kind = rng.integers(5)
    if kind == 0:
        return np.where(x // step % 2, 1.0, -1.0) + 0 * y
    if kind == 1:
        return np.where((x // step + y // step) % 2, 1.0, -1.0)
    if kind == 2:
        return np.where((x % step < 1) | (y % step < 1), -1.5, 0.3)
    if kind == 3:
        return np.where((x + step * (y // step % 2) // 2) % step + y % step < 3, 1.6, 0.0)
    return np.where((y % step < 1) | ((x + 2 * step * (y // step)) % (3 * step) < 1), -1.5, 0.2)


def draw_background(kind: int, seed: int, size: int) -> Image.Image:
    """An RGB image of `size` x `size` pixels; the same arguments give the same pixels."""
    rng = np.random.default_rng((kind, seed))
    horizon = int(rng.integers(34, 59))
    field = np.empty((128, 128, 3), dtype=np.float32)
    outdoors = rng.random() < 0.55
    if outdoors:
        sky = _pastel(rng, rng.choice((0.55, 0.6, 0.08, 0.75), p=(0.4, 0.3, 0.15, 0.15)))
        ground = _pastel(rng, rng.choice((0.28, 0.12, 0.6, 0.08))) * rng.uniform(0.78, 0.98)
        field[:horizon] = _blend(sky, 0.4 * sky + 150, horizon)
        field[horizon:] = _blend(0.93 * ground, ground, 128 - horizon)
    else:
        wall, floor = _pastel(rng), _pastel(rng) * rng.uniform(0.75, 0.95)
        field[:horizon] = wall + rng.uniform(3, 8) * _pattern(rng, horizon, 128)[..., None]
        field[horizon:] = floor + rng.uniform(3, 8) * _pattern(rng, 128 - horizon, 128)[..., None]
        field[horizon : horizon + 2] *= 0.8
    grain = rng.standard_normal((128, 128, 1), dtype=np.float32)
    if outdoors and rng.random() < 0.5:  # blades: noise drawn out upwards
        grain = (grain + np.roll(grain, 1, 0) + np.roll(grain, 2, 0)) * 0.8
    field[horizon:] += rng.uniform(1, 5) * grain[horizon:]
    field[:horizon] += rng.uniform(0, 2) * grain[:horizon]
    image = Image.fromarray(np.clip(field, 0, 255).astype(np.uint8))
    if outdoors:
        _scenery(ImageDraw.Draw(image), rng, horizon, sky, ground)
    return image.resize((size, size), Image.Resampling.BILINEAR)


def _scenery(
    draw: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    horizon: int,
    sky: np.ndarray,
    ground: np.ndarray,
) -> None:
    """Clouds, and hills or houses on the horizon, all pale so that nothing looks like an entity."""
    pale = tuple(int(c) for c in np.minimum(sky * 0.5 + 125, 255))
    for _ in range(rng.integers(3)):
        x, y = rng.uniform(0, 120), rng.uniform(4, horizon - 18)
        for dx, r in ((0, 4), (5, 6), (11, 4)):
            draw.ellipse((x + dx - r, y - 0.7 * r, x + dx + r, y + 0.7 * r), pale)
    far = tuple(int(c) for c in 0.55 * sky + 0.4 * ground)
    style = rng.integers(3)
    if style == 0:
        for _ in range(3):
            x, half = rng.uniform(0, 128), rng.uniform(18, 40)
            hill = (x - half, horizon - 0.35 * half, x + half, horizon + 0.35 * half)
            draw.pieslice(hill, 180, 360, far)
    elif style == 1:
        x = -4.0
        while x < 128:
            w, h = rng.uniform(10, 20), rng.uniform(6, 20)
            draw.rectangle((x, horizon - h, x + w, horizon), far)
            x += w + rng.uniform(0, 10)
