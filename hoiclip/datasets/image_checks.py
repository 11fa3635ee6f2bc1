"""Whether the images of a partition can be used, and are what its source says they are."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from PIL import ExifTags

from hoiclip.datasets.orientation import ORIENTATIONS, UPRIGHT
from hoiclip.errors import InputError
from hoiclip.images.store import ImageStore, decode, opened

MISSING = "image_missing"
UNREADABLE = "image_unreadable"
SIZE_DIFFERS = "image_size_differs"
TURNED = "image_turned"
AMBIGUOUS = "image_orientation_ambiguous"
BAD = (MISSING, UNREADABLE, SIZE_DIFFERS)
"""Findings for which an image cannot be used; it can with the others."""

_WAITING_PER_WORKER = 4


@dataclass(frozen=True)
class ListedImage:
    """An image as a source lists it.

    Attributes:
        file_name: in its folder.
        width: as stated, px.
        height: as stated, px.
    """

    file_name: str
    width: int
    height: int


@dataclass(frozen=True)
class Verdict:
    """What an image turned out to be.

    Attributes:
        kind: one of the findings above; None for an image that is as stated.
        told: details for people.
        orientation: EXIF orientation by which boxes have to be turned.
    """

    kind: str | None = None
    told: dict[str, Any] = field(default_factory=dict)
    orientation: int = UPRIGHT


def examine(listed: ListedImage, data: bytes) -> Verdict:
    """Decodes an image and holds its size against the stated one.

    Where EXIF turns the picture by a quarter and the stated size is that of the stored pixels, the
    boxes are of the stored pixels too, and have to be turned. Where EXIF mirrors or turns it and
    both sizes are equal, nobody can tell.
    """
    try:
        shown = decode(data, listed.file_name).size
    except InputError as error:
        return Verdict(UNREADABLE, {"problem": str(error)})
    stored, orientation = _header(data)
    stated = (listed.width, listed.height)
    told = {"stated": list(stated), "shown": list(shown), "orientation": orientation}
    if orientation == UPRIGHT and stated == shown:
        return Verdict()
    if stated == shown == stored:
        return Verdict(AMBIGUOUS, told)
    if stated == shown:
        return Verdict()
    if stated == stored:
        return Verdict(TURNED, told, orientation)
    return Verdict(SIZE_DIFFERS, told)


def _header(data: bytes) -> tuple[tuple[int, int], int]:
    try:
        with opened(data) as image:
            orientation = image.getexif().get(ExifTags.Base.Orientation)
            # Any other value turns nothing.
            return image.size, orientation if orientation in ORIENTATIONS else UPRIGHT
    except Exception as error:  # Pillow lets errors of any type out of a damaged file.
        raise OSError(str(error)) from None


def examine_all(
    folder: Path, images: Iterable[ListedImage], workers: int
) -> Iterator[tuple[bytes, Verdict]]:
    """Bytes and verdict of each image, in order; empty bytes for a missing one.

    Only a few images for each worker are in memory at a time.

    Args:
        folder: as `ImageStore` takes it.
        images: what to look for.
        workers: processes; the result does not depend on it.

    Raises:
        InputError: there is no such folder.
    """
    ImageStore(folder)
    waiting: deque[Future[tuple[bytes, Verdict]]] = deque()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for listed in images:
            waiting.append(pool.submit(_read_and_examine, folder, listed))
            if len(waiting) > _WAITING_PER_WORKER * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@lru_cache(maxsize=1)
def _store(folder: Path) -> ImageStore:
    return ImageStore(folder)


def _read_and_examine(folder: Path, listed: ListedImage) -> tuple[bytes, Verdict]:
    try:
        data = _store(folder).read_bytes(listed.file_name)
    except InputError as error:
        return b"", Verdict(MISSING, {"problem": str(error)})
    return data, examine(listed, data)
