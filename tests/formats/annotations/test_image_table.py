import io

import numpy as np
import pytest
from PIL import ExifTags, Image

from hoiclip.errors import InputError
from hoiclip.formats.annotations.image_sizes import LARGEST_SIDE, sizes_of_images
from hoiclip.formats.annotations.image_table import image_table


def ids(*names):
    return image_table("x", names, np.ones((len(names), 2)))["image_id"].to_pylist()


def test_ids_come_from_names_or_positions():
    assert ids() == []
    assert ids("HICO_test2015_00000012.jpg", "HICO_test2015_00000003.jpg") == [12, 3]
    assert ids("a_7.jpg", "b_7.jpg") == [0, 1]
    assert ids("a_7.jpg", "b.jpg") == [0, 1]
    assert ids("9" * 30 + ".jpg") == [0]


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "/a.jpg",
        "../a.jpg",
        "a/../../b.jpg",
        "a\\b.jpg",
        "a\x00.jpg",
        "a/",
        "a/.",
        "..",
        5,
        None,
        "\ud800",
    ],
)
def test_names_that_are_none(name):
    with pytest.raises(InputError, match=r"row 1, file_name"):
        image_table("x", ["a.jpg", name], np.ones((2, 2)))


@pytest.mark.parametrize("size", [[0, 5], [5, -1], [2.5, 3], [np.nan, 3], [np.inf, 3], [2**31, 1]])
def test_sizes_that_are_none(size):
    with pytest.raises(InputError, match=r"row 1, size"):
        image_table("x", ["a.jpg", "b.jpg"], np.array([[1, 1], size]))


def test_size_is_that_of_the_stored_pixels(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGB", (30, 20)).save(tmp_path / "plain.jpg")
    size = sizes_of_images(tmp_path)
    assert size("plain.jpg") == (30, 20)
    assert size("turned.jpg") == (30, 20)


def test_files_that_are_no_images(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20)).save(buffer, "png")
    (tmp_path / "cut.png").write_bytes(buffer.getvalue()[:12])
    (tmp_path / "text.jpg").write_text("text")
    size = sizes_of_images(tmp_path)
    skipping = sizes_of_images(tmp_path, skip_bad=True)
    for name in ("cut.png", "text.jpg", "absent.jpg"):
        with pytest.raises(InputError, match=name):
            size(name)
        assert skipping(name) == (LARGEST_SIDE, LARGEST_SIDE)
