"""Sizes of images for annotation files that do not state them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from hoiclip.errors import InputError
from hoiclip.formats.annotations.coco import CocoInstances
from hoiclip.formats.annotations.source import SourceOptions
from hoiclip.images.store import ImageStore, stored_size

ImageSize = Callable[[str], tuple[int, int]]
"""File name → (width, height) of the pixels that the boxes are in; raises `InputError`."""

LARGEST_SIDE = 2**31 - 1
"""Width and height of an image whose size nobody tells; no box reaches beyond it."""
_COCO_ID = re.compile(r"([0-9]{1,18})\.[^./]*$")


def sizes_for(path: Path, options: SourceOptions, *, by_coco_id: bool = False) -> ImageSize:
    """The sizes that the options tell; `unlimited` where they tell none.

    Args:
        path: the annotations, for messages.
        options: with `images`, or `coco`.
        by_coco_id: whether the files are named by COCO's ids, so that `coco` tells.

    Raises:
        InputError: no such folder or file, or malformed.
    """
    if options.images is not None:
        return sizes_of_images(options.images, skip_bad=options.skip_bad_images)
    if by_coco_id and options.coco:
        return sizes_from_coco(path, options.coco)
    return unlimited


def sizes_of_images(folder: Path, *, skip_bad: bool = False) -> ImageSize:
    """Sizes of the stored pixels, from the headers of the images, files or tar shards.

    The published annotations without sizes hold boxes of the stored pixels.

    Args:
        folder: of the images.
        skip_bad: gives an image that is missing or unreadable the size of `unlimited`; whoever
            writes the images finds that out and tells.

    Raises:
        InputError: no such folder.
    """
    store = ImageStore(folder)

    def size(name: str) -> tuple[int, int]:
        try:
            return stored_size(store.read_bytes(name))
        except (InputError, OSError) as error:
            if skip_bad:
                return unlimited(name)
            if isinstance(error, InputError):
                raise
            problem = f"image {name!r} cannot be read ({error})"
            raise InputError(folder, problem, key="file_name") from None

    return size


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
    return LARGEST_SIDE, LARGEST_SIDE
