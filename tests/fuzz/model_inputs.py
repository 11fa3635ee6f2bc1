"""Model files and images for `hoiclip predict`, and CLIP's own file."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path

import numpy as np
from case import Case
from checkpoint_inputs import damaged_state
from damage import damaged_bytes, damaged_json
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from hoiclip.model.tensors import HEADER_KEY, read_safetensors

NUMBERS = st.sampled_from(
    ["0", "-1", "1", "2", "1e3", "0.5", "nan", "inf", "-inf", "1e400", "9" * 30, "", "x", "²", "--"]
)


MODEL_NAMES = st.sampled_from(["hoiclip", "gen_vlkt", "clip_distill"])
SCORING = ("k", "weight", "kind", "detection_power", "global_power", "x", "")
"""Keys of how the methods join scores, and others."""


@cache
def model_file(name):
    return _read_given(f"{name}.safetensors")


@cache
def clip_file():
    return _read_given("clip.safetensors")


def _read_given(name):
    path = Path("../given") / name
    tensors, metadata = read_safetensors(path)
    return {k: v.clone() for k, v in tensors.items()}, metadata, path.read_bytes()


def _safetensors(tensors, metadata):
    save_file(tensors, "made.safetensors", metadata)
    data = Path("made.safetensors").read_bytes()
    Path("made.safetensors").unlink()
    return data


@st.composite
def headers(draw):
    of_clip = draw(st.integers(0, 3)) == 0
    tensors, metadata, whole = clip_file() if of_clip else model_file(draw(MODEL_NAMES))
    key = "clip_config" if of_clip else HEADER_KEY
    kind = draw(st.sampled_from(["header", "header", "header", "tensors", "bytes"]))
    if kind == "header":
        text = draw(damaged_json(json.loads(metadata[key]))).decode(errors="replace")
        data = _safetensors(tensors, metadata | {key: text})
    elif kind == "tensors":
        data = _safetensors(draw(damaged_state(tensors, plain=True)), metadata)
    else:
        data = draw(damaged_bytes(whole))
    if of_clip:
        return Case("headers", "clip", [], {"clip.safetensors": data})
    files = {"model.safetensors": data}
    return Case("headers", "hoiclip", predict("../given/photos/a.png"), files)


def predict(image, *options, weights="model.safetensors"):
    fixed = ["--device", "cpu", "--threads", "1", "--out", "out", "--weights", weights]
    return ["predict", image, *fixed, *options]


# Images: `hoiclip predict`.


@cache
def image_files():
    """Encoded images of several formats and modes, by suffix and a number."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 24, 3), np.uint8)
    rgb = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    made = [
        (rgb, "png", {}), (rgb, "jpg", {"exif": exif}), (rgb, "bmp", {}), (rgb, "webp", {}),
        (rgb, "tif", {"compression": "tiff_lzw"}), (rgb.convert("L"), "jpg", {}),
        (rgb.convert("P"), "gif", {}), (rgb.convert("RGBA"), "png", {}),
        (rgb.convert("CMYK"), "jpg", {}), (rgb.convert("1"), "png", {}),
        (Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), "png", {}),
        (Image.fromarray(pixels[..., 0].astype(np.float32) / 255), "tif", {}),
        (Image.fromarray(pixels[:, :1]), "png", {}), (rgb.convert("LA"), "png", {}),
        (Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), "tif", {}),
        (Image.fromarray(pixels[..., 0].astype(np.int32) * 70_000), "tif", {}),
        (rgb.convert("YCbCr"), "tif", {"compression": "jpeg"}), (rgb.convert("LAB"), "tif", {}),
        (rgb, "gif", {"save_all": True, "append_images": [rgb.rotate(90)]}), (rgb, "ppm", {}),
        (Image.new("1", (3000, 2000)), "png", {}), (Image.new("1", (90_000, 1)), "png", {}),
        (Image.new("1", (20_000, 15_000)), "png", {}),
    ]  # fmt: skip
    files = []
    for image, suffix, options in made:
        file = io.BytesIO()
        image.save(file, Image.registered_extensions()[f".{suffix}"], **options)
        files.append((suffix, file.getvalue()))
    return files


@st.composite
def images(draw):
    suffix, data = draw(st.sampled_from(image_files()))
    data = draw(damaged_bytes(data, rarely=draw(st.booleans())))
    stem = draw(st.sampled_from(["a", "a", "a", "\x1b[31mred", "a\nb", "-x", "ü" * 100, " ", "%s"]))
    name = f"folder/{stem}.{suffix}"
    options = ["--no-pictures"] * draw(st.booleans())
    if draw(st.integers(0, 3)) == 0:
        flags = ["--batch-size", "--least-score", "--top-k", "--nms-threshold"]
        flags += [f"--scoring={key}" for key in SCORING]
        options.append(f"{draw(st.sampled_from(flags))}={draw(NUMBERS)}")
    weights = f"../given/{draw(MODEL_NAMES)}.safetensors"
    arguments = predict("folder", *options, weights=weights)
    return Case("images", "hoiclip", arguments, {name: data})
