"""Unpacking tar and zip archives that came from elsewhere.

No member but plain files and folders is ever written: tarfile's own filter lets nested links out of
the folder on some Pythons (CVE-2025-4517), and image archives hold none.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from hoiclip.core.files import atomic_folder
from hoiclip.errors import InputError
from hoiclip.progress import track

LIMIT_BYTES = 1 << 37
"""Most that an archive may unpack to (128 GiB), so that a bomb does not fill the disk."""

_DEEPEST = 64  # folders in folders
# Of one member in tar; tarfile takes time and memory by their square.
_LONGEST_HEADERS = 1 << 14
_OPENERS: dict[bytes, Callable[[Path], io.BufferedIOBase]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}
_OTHERS = {
    b"(\xb5/\xfd": "Zstandard",
    b"Rar!": "RAR",
    b"7z\xbc\xaf": "7-Zip",
    b"\x1f\x9d": "compress",
}
_DO_NOT_USE = "Do not use this file"


class _Member(NamedTuple):
    name: str
    size: int
    is_folder: bool
    is_plain: bool
    open: Callable[[], IO[bytes]]


def unpack(archive: str | Path, folder: str | Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
    """Unpacks a tar (plain, gzip, bzip2, xz) or zip archive into `folder`, all or nothing.

    Where everything in the archive stands in one folder, `folder` gets what is in that one. Of
    members of one name the last counts; owners, permissions and times are not taken over.

    Args:
        archive: the file.
        folder: replaced if it exists.
        limit_bytes: most that the members may hold together.

    Raises:
        InputError: not such an archive, damaged, larger than the limit, or a member that is no
            plain file or folder (a link, a device, a sparse file), or whose name is absolute, has
            `..`, a backslash or a colon, or is nested more than 64 folders deep.
    """
    archive = Path(archive)
    if not archive.is_file():
        raise InputError(archive, "no such file")
    read = _zip_members if zipfile.is_zipfile(archive) else _tar_members
    size = 0
    try:
        with atomic_folder(folder) as aside:
            for member in track(read(archive), f"unpack {archive.name}"):
                _check_member(archive, member)
                size += member.size
                _check_size(archive, size, limit_bytes)
                _write(archive, member, aside)
            _lift_only_folder(aside)
    except InputError:
        raise
    except Exception as error:  # tarfile and zipfile let errors of any type out of a damaged file
        reason = getattr(error, "strerror", None)  # of the disk, not of the file
        fix = None if reason else "If the file is damaged, delete it and get it anew"
        problem = f"cannot be unpacked ({reason or error or type(error).__name__})"
        raise InputError(archive, problem, fix=fix) from None


def _tar_members(archive: Path) -> Iterator[_Member]:
    with archive.open("rb") as file:
        start = file.read(8)
    if kind := next((k for magic, k in _OTHERS.items() if start.startswith(magic)), None):
        fix = "Unpack it yourself, or give a tar (plain, gzip, bzip2, xz) or zip"
        raise InputError(archive, f"a {kind} archive, which is not read", fix=fix)
    opener = next((o for magic, o in _OPENERS.items() if start.startswith(magic)), _plain)
    with opener(archive) as stream:
        bounded = _Bounded(stream)
        # It has nothing to close but the stream.
        tar = tarfile.TarFile(fileobj=bounded)  # type: ignore[arg-type]  # written by nobody
        for member in tar:
            bounded.left = None
            # What tarfile keeps of the members before, nobody asks for.
            tar.members.clear()  # type: ignore[attr-defined]  # in no documentation
            plain = (member.isreg() and not member.issparse()) or member.isdir()
            # A negative size would lead tarfile in circles (CVE-2025-8194).
            plain = plain and member.size >= 0
            yield _Member(
                member.name,
                member.size if member.isreg() else 0,
                member.isdir(),
                plain,
                partial(_contents, tar, member),
            )
            bounded.left = _LONGEST_HEADERS


def _plain(archive: Path) -> io.BufferedIOBase:
    return archive.open("rb")


def _contents(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    contents = tar.extractfile(member)
    if contents is None:
        raise tarfile.ReadError(f"{member.name[:80]!r} has no contents")
    return contents


class _Bounded:
    """A file of which tarfile reads no more headers for a member than any real one has."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell
        self.left: int | None = _LONGEST_HEADERS
        """Bytes that may be read still; None: any number, of a member's contents."""

    def read(self, size: int) -> bytes:
        if self.left is not None:
            if not 0 <= size <= self.left:
                raise tarfile.ReadError(f"over {_LONGEST_HEADERS} bytes of headers for a member")
            self.left -= size
        return self._stream.read(size)


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            yield _Member(
                member.filename,
                member.file_size,
                member.is_dir(),
                kind in (0, stat.S_IFREG, stat.S_IFDIR),
                partial(file.open, member),
            )


def _check_member(archive: Path, member: _Member) -> None:
    name = PurePosixPath(member.name)
    outside = name.is_absolute() or ".." in name.parts or set(member.name) & {"\\", ":", "\0"}
    named = bool(name.parts) or member.is_folder
    if outside or not named or not member.is_plain or len(name.parts) > _DEEPEST:
        raise InputError(archive, f"unsafe member {member.name[:80]!r}", fix=_DO_NOT_USE)


def _write(archive: Path, member: _Member, folder: Path) -> None:
    target = folder / member.name
    try:
        if member.is_folder:
            target.mkdir(parents=True, exist_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with member.open() as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
    except (FileExistsError, IsADirectoryError, NotADirectoryError):
        problem = f"member {member.name[:80]!r} is a file and a folder at once"
        raise InputError(archive, problem, fix=_DO_NOT_USE) from None


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
