"""Reading images from tar shards or from a folder, and writing shards."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import groupby
from pathlib import Path
from threading import RLock

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from hoiclip.core.files import atomic_folder
from hoiclip.errors import InputError
from hoiclip.images.pixels import to_rgb, unread_kind

IMAGES_PER_SHARD = 1000
Size = tuple[int, int]

# EPS would be run by Ghostscript; of the others Pillow knows the head alone.
_NOT_READ = ("EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG")
_SWAPPING_SIDES = (5, 6, 7, 8)
_PILLOW = RLock()


@dataclass(frozen=True)
class Limits:
    """What an image may be before it is decoded.

    Attributes:
        pixels: of the stored image.
        bytes: of the file; None is no limit.
    """

    pixels: int = 200_000_000
    bytes: int | None = None


LIMITS = Limits()


class ImageStore:
    """Images by file name, from a folder of files or of uncompressed tar shards.

    Safe to use from several threads and processes.

    Args:
        folder: holds image files, at any depth, or `*.tar` shards.
        limits: of the images.

    Raises:
        InputError: the folder does not exist, or a shard is not a tar file.
    """

    def __init__(self, folder: str | Path, limits: Limits = LIMITS) -> None:
        self.folder, self.limits = Path(folder), limits
        if not self.folder.is_dir():
            raise InputError(self.folder, "no such folder of images")

    @cached_property
    def _members(self) -> dict[str, tuple[Path, int, int]]:
        members = {}
        for shard in self._shards:
            try:
                with tarfile.open(shard, "r:") as tar:
                    for member in tar:
                        # A negative size would lead tarfile in circles (CVE-2025-8194).
                        left = shard.stat().st_size - member.offset_data
                        if not 0 <= member.size <= left or member.issparse():
                            raise tarfile.ReadError(f"member {member.name[:80]!r} is damaged")
                        if member.isreg():
                            members[member.name] = (shard, member.offset_data, member.size)
            except Exception as error:  # tarfile lets errors of any type out of a damaged file
                raise InputError(shard, f"not a tar shard ({error})") from None
        return members

    def names(self) -> list[str]:
        """Names of all files that are there, also of those that are no images."""
        folder = self.folder
        loose = (p for p in folder.rglob("*") if not p.is_dir() and p not in self._shards)
        return sorted({*self._members, *(p.relative_to(folder).as_posix() for p in loose)})

    @cached_property
    def _shards(self) -> list[Path]:
        return sorted(self.folder.glob("*.tar"))

    def read_bytes(self, file_name: str) -> bytes:
        """The encoded image.

        Raises:
            InputError: there is no such image, it is no file or too large, or its name points
                outside the folder.
        """
        if file_name in self._members:
            shard, offset, size = self._members[file_name]
            _check_bytes(f"{shard}, {file_name}", size, self.limits)
            with open(shard, "rb") as file:
                return os.pread(file.fileno(), size, offset)
        try:
            path = (self.folder / file_name).resolve()
            if not path.is_relative_to(self.folder.resolve()):
                raise InputError(
                    self.folder, f"{file_name!r} points outside the folder", key="file_name"
                )
            return read_file(path, self.limits)
        except (OSError, ValueError):
            # ValueError: no file can have such a name, as one with a zero byte.
            raise InputError(
                self.folder,
                f"image {file_name!r} is missing",
                key="file_name",
                fix="Restore it or drop its rows from the annotations",
            ) from None

    def read(self, file_name: str) -> Image.Image:
        """The decoded image, RGB, turned as EXIF says.

        Raises:
            InputError: missing, truncated or not an image.
        """
        return decode(self.read_bytes(file_name), f"{self.folder}/{file_name}", self.limits)


def read_file(path: Path, limits: Limits = LIMITS) -> bytes:
    """The bytes of a regular file; neither waits for a FIFO nor touches a device.

    Raises:
        OSError: absent, a folder, or not readable.
        InputError: neither file nor folder, or too large.
    """
    _check_kind(path, os.stat(path))
    # Not waiting, should it have become a FIFO since.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        _check_kind(path, status)
        _check_bytes(path, status.st_size, limits)
        return file.read(status.st_size)


def _check_kind(path: Path, status: os.stat_result) -> None:
    mode = status.st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        kinds = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
        raise InputError(path, f"{kinds.get(stat.S_IFMT(mode), 'a device')}, not a file")


def _check_bytes(name: str | Path, size: int, limits: Limits) -> None:
    if limits.bytes is not None and size > limits.bytes:
        problem = f"{size / 1e6:.1f} MB, more than the limit of {limits.bytes / 1e6:g}"
        raise InputError(name, problem, fix="Raise --max-megabytes if the file can be trusted")


@cache
def formats() -> tuple[str, ...]:
    """Pillow's names of the image formats that are read, in the order in which it tries them."""
    Image.init()
    return tuple(name for name in Image.ID if name not in _NOT_READ)


@cache
def suffixes() -> frozenset[str]:
    """Suffixes of the files that hold images of `formats()`: lower case, with the dot."""
    read = {*formats(), "MPO"}  # which Pillow opens as JPEG
    return frozenset(s for s, name in Image.registered_extensions().items() if name in read)


@contextmanager
def opened(data: bytes, limits: Limits = LIMITS) -> Iterator[Image.Image]:
    """An encoded image of which the head is read, and no pixel yet.

    Inside, Pillow warns of nothing and has our limit of pixels for its own.

    Raises:
        Exception: of any type, as Pillow lets them out of a damaged file;
            `UnidentifiedImageError` where it is no image.
    """
    with _PILLOW, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = limits.pixels // 2  # Pillow warns from there, and refuses twice it
        try:
            with Image.open(io.BytesIO(data), formats=formats()) as image:
                yield image
        finally:
            Image.MAX_IMAGE_PIXELS = before


def decode(data: bytes, name: str, limits: Limits = LIMITS) -> Image.Image:
    """Encoded bytes → RGB image, turned as EXIF says; the first frame of several.

    Raises:
        InputError: truncated, too large, not an image, or with pixels that `hoiclip.images.pixels`
            refuses; `name` is named.
    """
    return decode_reduced(data, name, limits)[0]


def decode_reduced(
    data: bytes, name: str, limits: Limits = LIMITS, least: Callable[[Size], Size] | None = None
) -> tuple[Image.Image, Size]:
    """As `decode`, but of a JPEG perhaps fewer pixels, which is several times as fast.

    Args:
        data: encoded bytes.
        name: of the file, for messages.
        limits: of its size.
        least: takes the full size (width, height) and gives the size that is needed; None decodes
            every pixel.

    Returns:
        The image, of a half, a quarter or an eighth of the size where that is no less than needed,
        and the full size, turned as EXIF says.

    Raises:
        InputError: as for `decode`, and what `least` raises.
    """
    try:
        with opened(data, limits) as image:
            full = image.size
            reduced = least is not None and image.draft(None, least(full)) is not None
            if reduced and image.getexif().get(ExifTags.Base.Orientation) in _SWAPPING_SIDES:
                full = full[::-1]
            ImageOps.exif_transpose(image, in_place=True)
            return to_rgb(image, name), full if reduced else image.size
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(name, unread_kind(data)) from None
    except Image.DecompressionBombError:
        problem = f"more pixels than the limit of {limits.pixels / 1e6:g} megapixels"
        fix = "Raise --max-megapixels if the file can be trusted"
        raise InputError(name, problem, fix=fix) from None
    except Exception as error:  # Pillow lets errors of any type out of a damaged file.
        raise InputError(name, f"damaged image ({error})") from None


def stored_size(data: bytes) -> tuple[int, int]:
    """Width and height of the stored pixels, from the header alone.

    Raises:
        OSError: not an image.
    """
    try:
        with opened(data) as image:
            return image.size
    except Exception as error:  # Pillow lets errors of any type out of a damaged file.
        raise OSError(str(error)) from None


def write_shards(folder: str | Path, images: Iterable[tuple[str, bytes]]) -> None:
    """Writes (file name, encoded bytes) into numbered tar shards; all or nothing.

    The bytes of the shards depend on names and contents alone, so equal images give equal hashes.
    """
    with atomic_folder(folder) as aside:
        numbered = enumerate(images)
        for shard, some in groupby(numbered, lambda item: item[0] // IMAGES_PER_SHARD):
            with tarfile.open(aside / f"{shard:05d}.tar", "w", format=tarfile.PAX_FORMAT) as tar:
                for _, (name, data) in some:
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
