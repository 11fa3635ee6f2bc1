import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps

from hoiclip.core import schema
from hoiclip.datasets.orientation import ORIENTATIONS, turned_boxes, turned_rows, turned_sizes

SIDE = st.integers(1, 12)


def drawn(draw_box, width, height):
    """An image in which the box is white and all else black."""
    x1, y1, x2, y2 = draw_box
    pixels = np.zeros((height, width), np.uint8)
    pixels[y1:y2, x1:x2] = 255
    return Image.fromarray(pixels)


def as_shown(image, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image.info["exif"] = exif.tobytes()
    return ImageOps.exif_transpose(image)


@given(st.sampled_from(ORIENTATIONS), SIDE, SIDE, st.data())
def test_the_box_is_where_pillow_shows_its_pixels(orientation, width, height, data):
    x1 = data.draw(st.integers(0, width - 1))
    y1 = data.draw(st.integers(0, height - 1))
    x2, y2 = data.draw(st.integers(x1 + 1, width)), data.draw(st.integers(y1 + 1, height))
    shown = as_shown(drawn((x1, y1, x2, y2), width, height), orientation)
    rows, columns = np.nonzero(np.asarray(shown))
    expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    box = np.array([[x1, y1, x2, y2]], np.float64)
    boxes, *size = turned_boxes(box, orientation, width, height)
    assert boxes.tolist() == [expected]
    assert tuple(size) == shown.size


def test_all_of_exif_is_known():
    assert tuple(range(1, 9)) == ORIENTATIONS


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_no_boxes_and_boxes_between_pixels(orientation):
    assert turned_boxes(np.zeros((0, 4)), orientation, 5, 3)[0].shape == (0, 4)
    boxes, width, height = turned_boxes(np.array([[0.25, 0.5, 4.75, 2.0]]), orientation, 5, 3)
    x1, y1, x2, y2 = boxes[0].tolist()
    assert 0 <= x1 < x2 <= width
    assert 0 <= y1 < y2 <= height
    assert sorted([x2 - x1, y2 - y1]) == [1.5, 4.5]


def test_only_the_named_images_are_turned():
    images = pa.table(
        {"image_id": [7, 3], "file_name": ["b", "a"], "width": [10, 10], "height": [4, 4]}
    ).cast(schema.IMAGES)
    boxes = np.array([[1.0, 0, 2, 3], [1, 0, 2, 3], [0, 0, 10, 4]])
    people = pa.table({"image_id": [3, 7, 3], "box_xyxy": schema.numpy_to_fixed_lists(boxes)}).cast(
        schema.UNLABELLED
    )
    turned = turned_rows(people, images, {3: 6})
    assert turned.schema == schema.UNLABELLED
    assert turned["box_xyxy"].to_pylist() == [[1, 1, 4, 2], [1, 0, 2, 3], [0, 0, 4, 10]]
    sizes = turned_sizes(images, {3: 6})
    assert sizes.schema == schema.IMAGES
    assert sizes.select(["width", "height"]).to_pylist() == [
        {"width": 10, "height": 4},
        {"width": 4, "height": 10},
    ]
    assert turned_rows(people, images, {}).equals(people)
    assert turned_sizes(images, {}).equals(images)
