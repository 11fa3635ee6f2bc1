"""Sizes of images for annotation files that do not state them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hoiclip.data.images import ImageStore
from hoiclip.errors import InputError
from hoiclip.formats.annotations.coco import CocoInstances
from hoiclip.formats.annotations.image_table import ImageSize, sizes_from

_LARGEST_SIDE = 2**31 - 1
_COCO_ID = re.compile(r"([0-9]{1,18})\.[^./]*$")


def sizes_from_images(folder: Path) -> ImageSize:
    """Sizes from the images themselves, files or tar shards.

    Raises:
        InputError: no such folder.
    """
    return sizes_from(ImageStore(folder))


def sizes_from_coco(path: Path, files: Sequence[Path]) -> ImageSize:
    """Sizes from COCO's instances files, by the id at the end of a file name.

    Args:
        path: the annotations, for messages.
        files: COCO's files.

    Raises:
        InputError: a file is absent or malformed.
    """
    coco = CocoInstances(files)

    def size(name: str) -> tuple[int, int]:
        number = _COCO_ID.search(name)
        if number is None:
            problem = f"{name!r} does not end in a COCO image id"
            raise InputError(path, problem, key="file_name", fix="Give --images FOLDER")
        return coco.image(path, None, int(number[1]))[1:]

    return size


def unlimited(name: str) -> tuple[int, int]:
    """A size that holds any box."""
    return _LARGEST_SIDE, _LARGEST_SIDE
