"""Pixels of every kind that image files hold → RGB of 8 bits.

Integers are scaled by their bit depth, so that 65535 of 16 bits is 255. Where a file does not say
which value is white (floating-point numbers outside 0..1, integers of 32 bits or with a sign) it is
refused: any guess would turn some photo black or white. Transparency is left out: a transparent
pixel has the colour that the file gives it.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, TiffImagePlugin, TiffTags

from hoiclip.errors import InputError

# Formats whose single channel of more than 8 bits Pillow gives with 65535 as white.
_WHITE_IS_65535 = ("PNG", "PPM", "JPEG2000")
_UNREAD_KINDS = {
    b"II*\0": "a TIFF with pixels of a kind that cannot be read",
    b"MM\0*": "a TIFF with pixels of a kind that cannot be read",
    b"%!PS": "PostScript, which is not run",
    b"%PDF": "a PDF, not an image",
}
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
_WHITE_IS_ZERO = 0
_TAGS = {tag.name: number for number, tag in TiffTags.TAGS_V2.items()}


def to_rgb(image: Image.Image, name: str) -> Image.Image:
    """A new RGB image.

    Args:
        image: as Pillow opened it, of any mode.
        name: of the file, for messages.

    Raises:
        InputError: it is not known which value is white.
    """
    if image.mode.startswith("I"):
        return _gray(_levels(image, name))
    if image.mode == "F":
        return _gray(_unit_range(image, name))
    if image.mode in _PREMULTIPLIED:
        image = image.convert(_PREMULTIPLIED[image.mode])
    image.info.pop("transparency", None)  # of which Pillow warns
    return image.convert("RGB")


def unread_kind(data: bytes) -> str:
    """What bytes are that Pillow does not take for an image."""
    if not data:
        return "not an image: the file is empty"
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        return "a HEIF image (HEIC), which cannot be read: save it as JPEG"
    return _UNREAD_KINDS.get(data[:4], "not an image that can be read")


def _gray(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values).convert("RGB")


def _levels(image: Image.Image, name: str) -> np.ndarray:
    """(H, W) uint8 of integers of more than 8 bits."""
    bits = _bits(image)
    if bits is None:
        raise InputError(
            name,
            f"integer pixels of {image.format} (mode {image.mode}), of which the file does not say "
            "which value is white",
            fix="Save it with 8 or 16 unsigned bits",
        )
    white = 2**bits - 1
    gray = np.rint(np.arange(white + 1) * (255 / white)).astype(np.uint8)
    if _is_negative(image):
        gray = gray[::-1]
    return gray[np.asarray(image)]


def _bits(image: Image.Image) -> int | None:
    """Bits of a channel of unsigned integers; None where they tell no white."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # Pillow gives integers with a sign, and those of 32 bits, as mode I.
        return None if image.mode == "I" else image.tag_v2[_TAGS["BitsPerSample"]][0]
    return 16 if image.format in _WHITE_IS_65535 else None


def _unit_range(image: Image.Image, name: str) -> np.ndarray:
    """(H, W) uint8 of floating-point numbers from 0 to 1."""
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise InputError(name, "floating-point pixels of which some are NaN or infinite")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        problem = f"floating-point pixels from {low:g} to {high:g}: only 0 to 1 has a known white"
        raise InputError(name, problem, fix="Save it with 8 or 16 unsigned bits")
    values = np.rint(values * 255).astype(np.uint8)
    return 255 - values if _is_negative(image) else values


def _is_negative(image: Image.Image) -> bool:
    """Whether 0 is white, which Pillow turns over itself up to 8 bits."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    return image.tag_v2.get(_TAGS["PhotometricInterpretation"]) == _WHITE_IS_ZERO
