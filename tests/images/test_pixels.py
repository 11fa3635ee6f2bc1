"""Every kind of pixel against a ramp from black to white in 8 bits."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hoiclip.datasets.image_checks import UNREADABLE, ListedImage, examine
from hoiclip.errors import InputError
from hoiclip.images.store import decode

CASES = Path(__file__).resolve().parents[3] / "shared/cases/images-16bit"
RAMP = np.tile((np.arange(256) * 257).astype(np.uint16), (4, 1))
GRAY = np.repeat((RAMP // 257).astype(np.uint8)[..., None], 3, 2)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(bits, pixels, *, sample_format=1, photometric=1):
    """A TIFF of one strip and one channel, 256 by 4."""
    values = {
        256: 256, 257: 4, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 4,
        279: len(pixels), 339: sample_format,
    }  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items())
    head = struct.pack("<2sHI", b"II", 42, 8 + len(pixels)) + pixels
    return head + struct.pack("<H", len(values)) + entries + bytes(4)


def png(colour_type, channels):
    """A PNG of 16 bits."""

    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    rows = np.repeat(RAMP[..., None], channels, 2).astype(">u2")
    header = struct.pack(">IIBBBBB", 256, 4, 16, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def twelve_bits():
    values = (RAMP >> 4).reshape(-1, 2)
    first, second = values[:, 0], values[:, 1]
    packed = [first >> 4, ((first & 15) << 4) | (second >> 8), second & 255]
    return np.stack(packed, 1).astype(np.uint8).tobytes()


UNIT = (RAMP / 65535).astype("<f4")
READ = {
    "gray PNG": png(0, 1),
    "gray PNG with alpha": png(4, 2),
    "RGB PNG": png(2, 3),
    "RGBA PNG": png(6, 4),
    "I;16 TIFF": encoded(Image.fromarray(RAMP), "TIFF"),
    "I;16B TIFF": encoded(Image.frombytes("I;16B", (256, 4), RAMP.astype(">u2").tobytes()), "TIFF"),
    "16-bit TIFF of which 0 is white": tiff(16, (65535 - RAMP).tobytes(), photometric=0),
    "12-bit TIFF": tiff(12, twelve_bits()),
    "PGM": encoded(Image.fromarray(RAMP), "PPM"),
    "JPEG 2000": encoded(Image.fromarray(RAMP), "JPEG2000"),
    "float TIFF": tiff(32, UNIT.tobytes(), sample_format=3),
    "float TIFF of which 0 is white": tiff(
        32, (1 - UNIT).tobytes(), sample_format=3, photometric=0
    ),
}


@pytest.mark.parametrize("kind", READ)
def test_white_is_255(kind):
    found = np.asarray(decode(READ[kind], "a")).astype(int)
    assert abs(found - GRAY).max() <= 1
    assert (found[:, 0] == 0).all()
    assert (found[:, -1] == 255).all()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (tiff(32, (UNIT * 255).tobytes(), sample_format=3), "from 0 to 255: only 0 to 1"),
        (tiff(32, (UNIT - 0.5).tobytes(), sample_format=3), "from -0.5 to 0.5: only 0 to 1"),
        (tiff(32, np.where(UNIT == 0, np.nan, UNIT).tobytes(), sample_format=3), "NaN or infinite"),
        (tiff(32, np.where(UNIT == 1, np.inf, UNIT).tobytes(), sample_format=3), "NaN or infinite"),
        (tiff(32, RAMP.astype("<u4").tobytes()), "does not say which value is white"),
        (tiff(16, RAMP.tobytes(), sample_format=2), "does not say which value is white"),
        (encoded(Image.fromarray(RAMP.astype(np.int32)), "TIFF"), "which value is white"),
        (tiff(64, UNIT.astype("<f8").tobytes(), sample_format=3), "a TIFF with pixels of a kind"),
        (b"\0\0\0\x18ftypheic" + bytes(30), "save it as JPEG"),
        (encoded(Image.fromarray(GRAY), "EPS"), "PostScript, which is not run"),
        (b"", "the file is empty"),
    ],
)
def test_where_white_is_not_known_the_image_is_unreadable(data, told):
    with pytest.raises(InputError, match=f"^photo: .*{told}"):
        decode(data, "photo")
    # In training, too: the same decoder judges the images of a data set.
    verdict = examine(ListedImage("photo", 256, 4), data)
    assert verdict.kind == UNREADABLE
    assert told in verdict.told["problem"]


COLOUR = Image.fromarray(np.stack([GRAY[..., 0], 255 - GRAY[..., 0], GRAY[..., 0] // 2], 2))


@pytest.mark.parametrize(
    ("data", "tolerance"),
    [
        (encoded(COLOUR.convert("CMYK"), "TIFF"), 0),
        (encoded(COLOUR.convert("CMYK"), "JPEG", quality=100), 3),
        (encoded(COLOUR.convert("YCbCr"), "TIFF"), 3),
        (encoded(COLOUR.convert("RGBX"), "TIFF"), 0),
        (encoded(COLOUR, "PNG"), 0),
    ],
)
def test_colours_are_those_of_the_file(data, tolerance):
    found = np.asarray(decode(data, "a")).astype(int)
    assert abs(found - np.asarray(COLOUR)).max() <= tolerance


def test_transparent_pixels_have_the_colour_of_the_file():
    image = COLOUR.copy()
    image.putalpha(Image.fromarray(GRAY[..., 0]))
    assert np.array_equal(decode(encoded(image, "PNG"), "a"), COLOUR)
    palette = COLOUR.quantize(16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = decode(encoded(palette, "PNG", transparency=bytes(range(16))), "a")
    assert np.array_equal(found, palette.convert("RGB"))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("image", [Image.fromarray(RAMP), COLOUR.quantize(16)])
def test_what_is_no_rgb_is_turned_too(image, kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    found = np.asarray(decode(encoded(image, kind, exif=exif), "a"))
    upright = np.asarray(decode(encoded(image, kind), "a"))
    assert np.array_equal(found, np.rot90(upright, -1))


def test_of_several_frames_the_first_is_read():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "TIFF", "PNG", "WEBP"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        red, _, blue = np.asarray(decode(data, "a"))[0, 0].tolist()
        assert red > 200 > 50 > blue


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the shared cases")
def test_reported_images_look_like_the_8_bit_one():
    expected = np.asarray(decode((CASES / "gray8.png").read_bytes(), "a")).astype(int)
    for name in ("gray16.png", "gray16.tif", "float01.tif"):
        found = np.asarray(decode((CASES / name).read_bytes(), name)).astype(int)
        assert abs(found - expected).max() <= 1
