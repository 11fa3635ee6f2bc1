"""Unpacking tar and zip archives that came from elsewhere."""

from __future__ import annotations

import lzma
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from hoiclip.errors import InputError
from hoiclip.files import atomic_folder

LIMIT_BYTES = 1 << 37
"""Most that an archive may unpack to (128 GiB), so that a bomb does not fill the disk."""


def unpack(archive: str | Path, folder: str | Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
    """Unpacks a tar (plain, gzip, bzip2, xz) or zip archive into `folder`, all or nothing.

    Args:
        archive: the file.
        folder: replaced if it exists.
        limit_bytes: most that the members may hold together.

    Raises:
        InputError: not such an archive, damaged, larger than the limit, or a member that would be
            written outside the folder, or is a device or (in a zip) a link.
    """
    archive = Path(archive)
    try:
        with atomic_folder(folder) as aside:
            if zipfile.is_zipfile(archive):
                _unpack_zip(archive, aside, limit_bytes)
            else:
                _unpack_tar(archive, aside, limit_bytes)
    except FileNotFoundError:
        raise InputError(archive, "no such file") from None
    except tarfile.FilterError as error:
        raise InputError(archive, f"unsafe member ({error})", fix="Do not use this file") from None
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        OSError,
    ) as error:
        raise InputError(archive, f"cannot be unpacked ({error})") from None


def _unpack_tar(archive: Path, folder: Path, limit_bytes: int) -> None:
    size = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            size += member.size
            _check_size(archive, size, limit_bytes)
            tar.extract(member, folder, filter="data")


def _unpack_zip(archive: Path, folder: Path, limit_bytes: int) -> None:
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        _check_size(archive, sum(member.file_size for member in members), limit_bytes)
        for member in members:
            name = PurePosixPath(member.filename)
            inside = name.name and not name.is_absolute() and ".." not in name.parts
            link = stat.S_ISLNK(member.external_attr >> 16)
            if not inside or "\\" in member.filename or link:
                problem = f"unsafe member {member.filename!r}"
                raise InputError(archive, problem, fix="Do not use this file")
        file.extractall(folder)


def _check_size(archive: Path, size: int, limit_bytes: int) -> None:
    if size > limit_bytes:
        problem = f"unpacks to more than {limit_bytes} bytes"
        raise InputError(archive, problem, fix="Raise limit_bytes if the file can be trusted")
