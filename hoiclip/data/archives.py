"""Unpacking tar and zip archives that came from elsewhere."""

from __future__ import annotations

import lzma
import stat
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from hoiclip.errors import InputError
from hoiclip.files import atomic_folder
from hoiclip.progress import track

LIMIT_BYTES = 1 << 37
"""Most that an archive may unpack to (128 GiB), so that a bomb does not fill the disk."""


def unpack(archive: str | Path, folder: str | Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
    """Unpacks a tar (plain, gzip, bzip2, xz) or zip archive into `folder`, all or nothing.

    Where everything in the archive stands in one folder, `folder` gets what is in that one.

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
            _lift_only_folder(aside)
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
        fix = "If the file is damaged, delete it and get it anew"
        raise InputError(archive, f"cannot be unpacked ({error})", fix=fix) from None


def _unpack_tar(archive: Path, folder: Path, limit_bytes: int) -> None:
    size = 0
    with tarfile.open(archive) as tar:
        for member in track(tar, f"unpack {archive.name}"):
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
            kind = stat.S_IFMT(member.external_attr >> 16)
            plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
            if not inside or not plain or set(member.filename) & {"\\", ":"}:
                problem = f"unsafe member {member.filename!r}"
                raise InputError(archive, problem, fix="Do not use this file")
        for member in track(members, f"unpack {archive.name}"):
            file.extract(member, folder)


def _lift_only_folder(folder: Path) -> None:
    entries = list(folder.iterdir())
    if len(entries) == 1 and entries[0].is_dir():
        # Out of the way first: it may hold an entry of its own name.
        aside = Path(tempfile.mkdtemp(dir=folder))
        inner = entries[0].rename(aside / "inner")
        for entry in list(inner.iterdir()):
            entry.rename(folder / entry.name)
        inner.rmdir()
        aside.rmdir()


def _check_size(archive: Path, size: int, limit_bytes: int) -> None:
    if size > limit_bytes:
        problem = f"unpacks to more than {limit_bytes} bytes"
        raise InputError(archive, problem, fix="Raise limit_bytes if the file can be trusted")
