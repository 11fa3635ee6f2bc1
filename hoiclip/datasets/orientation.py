"""Boxes of images that EXIF turns, from the stored pixels to the picture that is shown."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from hoiclip.core import schema

UPRIGHT = 1
_NO_BOXES = np.zeros((0, 4))
_TURNS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}
"""EXIF orientation → axes swapped; then x mirrored, y mirrored, of the picture that is shown."""

ORIENTATIONS = tuple(_TURNS)


def turned_boxes(
    boxes_xyxy: np.ndarray, orientation: int, width: int, height: int
) -> tuple[np.ndarray, int, int]:
    """Boxes as they are in the picture that is shown, with its width and height.

    Args:
        boxes_xyxy: (N, 4), pixels of the stored image.
        orientation: EXIF's, 1 to 8.
        width: of the stored image, px.
        height: of the stored image, px.
    """
    swapped, mirrored_x, mirrored_y = _TURNS[orientation]
    x1, y1, x2, y2 = boxes_xyxy.T
    if swapped:
        x1, y1, x2, y2, width, height = y1, x1, y2, x2, height, width
    if mirrored_x:
        x1, x2 = width - x2, width - x1
    if mirrored_y:
        y1, y2 = height - y2, height - y1
    return np.stack([x1, y1, x2, y2], 1), width, height


def turned_sizes(images: pa.Table, orientations: dict[int, int]) -> pa.Table:
    """Rows of `schema.IMAGES` with the sizes of some images as they are shown.

    Args:
        images: with the sizes of the stored images.
        orientations: image id → EXIF orientation of the images to turn.
    """
    sizes = {key: images[key].to_numpy().copy() for key in ("width", "height")}
    for row, image_id in enumerate(images["image_id"].to_pylist()):
        if image_id in orientations:
            stored = [int(values[row]) for values in sizes.values()]
            shown = turned_boxes(_NO_BOXES, orientations[image_id], *stored)[1:]
            sizes["width"][row], sizes["height"][row] = shown
    for key, values in sizes.items():
        place = images.schema.get_field_index(key)
        images = images.set_column(place, images.schema.field(key), pa.array(values))
    return images


def turned_rows(table: pa.Table, images: pa.Table, orientations: dict[int, int]) -> pa.Table:
    """`table`, of columns `image_id` and `box_xyxy`, with the boxes of some images turned.

    Args:
        table: boxes in pixels of the stored images.
        images: rows of `schema.IMAGES` with the sizes of the stored images.
        orientations: image id → EXIF orientation of the images to turn.
    """
    columns = (images[key].to_pylist() for key in ("image_id", "width", "height"))
    stored = {image_id: size for image_id, *size in zip(*columns, strict=True)}
    boxes = schema.fixed_lists_to_numpy(table["box_xyxy"]).copy()
    image_ids = table["image_id"].to_numpy()
    for image_id, orientation in orientations.items():
        rows = image_ids == image_id
        boxes[rows] = turned_boxes(boxes[rows], orientation, *stored[image_id])[0]
    place = table.schema.get_field_index("box_xyxy")
    column = schema.numpy_to_fixed_lists(boxes)
    return table.set_column(place, table.schema.field("box_xyxy"), column)
