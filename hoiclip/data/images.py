"""Reading images from tar shards or from a folder, and writing shards."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from hoiclip.errors import InputError
from hoiclip.files import atomic_folder

IMAGES_PER_SHARD = 1000


class ImageStore:
    """Images by file name, from a folder of files or of uncompressed tar shards.

    Safe to use from several threads and processes.

    Args:
        folder: holds image files, at any depth, or `*.tar` shards.

    Raises:
        InputError: the folder does not exist, or a shard is not a tar file.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise InputError(self.folder, "no such folder of images")

    @cached_property
    def _members(self) -> dict[str, tuple[Path, int, int]]:
        members = {}
        for shard in sorted(self.folder.glob("*.tar")):
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

    def read_bytes(self, file_name: str) -> bytes:
        """The encoded image.

        Raises:
            InputError: there is no such image, or its name points outside the folder.
        """
        if file_name in self._members:
            shard, offset, size = self._members[file_name]
            with open(shard, "rb") as file:
                return os.pread(file.fileno(), size, offset)
        try:
            path = (self.folder / file_name).resolve()
            if not path.is_relative_to(self.folder.resolve()):
                raise InputError(
                    self.folder, f"{file_name!r} points outside the folder", key="file_name"
                )
            return path.read_bytes()
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
        return decode(self.read_bytes(file_name), f"{self.folder}/{file_name}")


def decode(data: bytes, name: str) -> Image.Image:
    """Encoded bytes → RGB image, turned as EXIF says.

    Raises:
        InputError: truncated, of absurd size, or not an image; `name` is named.
    """
    try:
        image = Image.open(io.BytesIO(data))
        return ImageOps.exif_transpose(image).convert("RGB")
    except UnidentifiedImageError:
        raise InputError(name, "not an image that can be read") from None
    except Exception as error:  # Pillow lets errors of any type out of a damaged file.
        raise InputError(name, f"damaged image ({error})") from None


def write_shards(folder: str | Path, images: Iterable[tuple[str, bytes]]) -> None:
    """Writes (file name, encoded bytes) into numbered tar shards; all or nothing.

    The bytes of the shards depend on names and contents alone, so equal images give equal hashes.
    """
    with atomic_folder(folder) as aside:
        tar = None
        for index, (name, data) in enumerate(images):
            if index % IMAGES_PER_SHARD == 0:
                if tar is not None:
                    tar.close()
                shard = aside / f"{index // IMAGES_PER_SHARD:05d}.tar"
                tar = tarfile.open(shard, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        if tar is not None:
            tar.close()
