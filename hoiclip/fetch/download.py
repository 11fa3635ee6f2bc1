"""Fetching published files by address, checked by SHA-256; what cannot be fetched is told."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import http.client
import os
import re
import urllib.error
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tqdm import tqdm

from hoiclip.core.config import check
from hoiclip.core.files import read_json, sha256_file, write_json
from hoiclip.errors import InputError, NetworkError
from hoiclip.fetch.addresses import check_address, is_http, open_address, told_address, told_text
from hoiclip.fetch.archives import unpack
from hoiclip.progress import say

RECORD = "sha256.json"
"""File in the download folder with the hashes that were first seen; they are checked later on."""

_SHA256_DIGITS = 64
_LEAST_DIGITS = 8
_CHUNK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 60
# Of clients' errors those that the same request need not meet again.
_MAY_PASS = {http.HTTPStatus.REQUEST_TIMEOUT, http.HTTPStatus.TOO_MANY_REQUESTS}
# Of the disk, where those of a connection are the server's or the network's.
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EISDIR}


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file that the project needs.

    Attributes:
        path: where it goes, relative to the download folder.
        url: address, http or https, with `user:password@` before the host where it needs that; None
            where a person has to get it.
        sha256: its hash in hex, or at least the first eight digits of it, where that is published
            or known; else the first one seen counts.
        note: where a person gets it, what its licence allows.
        unpack: folder, relative to the download folder, that the file, an archive, is unpacked to;
            where that folder exists, the file itself need not. None: the file is what is needed.
    """

    path: str
    url: str | None
    sha256: str | None
    note: str
    unpack: str | None = None

    def __post_init__(self) -> None:
        check_sha256(f"{self.path}: sha256", self.sha256)
        check_address(f"{self.path}: url", self.url)
        check(Path(self.path).name != RECORD, f"{self.path}: this name is for the hashes' file")


def check_sha256(key: str, digits: str | None) -> None:
    """For `__post_init__`: ValueError unless `digits` is as `Source.sha256` is to be."""
    if digits is not None:
        good = re.fullmatch(rf"[0-9a-fA-F]{{{_LEAST_DIGITS},{_SHA256_DIGITS}}}", digits)
        problem = f"{digits[:80]!r} is no SHA-256 in hex, nor the first eight digits of one or more"
        check(good is not None, f"{key}: {problem}")


class State(Enum):
    """What is to be done about a source."""

    PRESENT = "is there"
    UNPACK = "is there, will be unpacked"
    FETCH = "will be fetched"
    RESUME = "will be fetched, from where it stopped"
    PLACE = "has to be placed by a person"


@dataclass(frozen=True)
class Step:
    """A source and what is to be done about it."""

    source: Source
    state: State

    def __str__(self) -> str:
        told = f"{self.source.path}: {self.state.value}"
        if self.state is State.PRESENT and self.source.unpack is not None:
            told += f" as {self.source.unpack}/"
        if self.state in (State.FETCH, State.RESUME):
            told += f" from {told_address(self.source.url or '')}"
        return f"{told} ({self.source.note})" if self.source.note and not self._there else told

    @property
    def _there(self) -> bool:
        return self.state is State.PRESENT


def plan(sources: Sequence[Source], folder: str | Path) -> list[Step]:
    """What `fetch` would do; reads no network and writes nothing."""
    return [Step(source, _state(source, Path(folder))) for source in sources]


def _state(source: Source, folder: Path) -> State:
    path = folder / source.path
    if source.unpack is not None and (folder / source.unpack).exists():
        return State.PRESENT
    if path.exists():
        return State.PRESENT if source.unpack is None else State.UNPACK
    if source.url is None:
        return State.PLACE
    return State.RESUME if _part(path).exists() else State.FETCH


def fetch(sources: Sequence[Source], folder: str | Path, *, progress: bool = True) -> None:
    """Fetches what is absent and checks every file; hashes not known before are recorded.

    Archives are unpacked; one that was fetched is deleted then, one that a person placed stays.
    Processes of one machine that fetch into one folder do so one after the other.

    Args:
        sources: the files.
        folder: where they go.
        progress: whether to show a bar on a terminal.

    Raises:
        InputError: files that a person has to place are absent (told before anything is fetched),
            a file has another hash than expected, an address cannot be read, or an archive cannot
            be unpacked.
    """
    folder = Path(folder)
    missing = [step for step in plan(sources, folder) if step.state is State.PLACE]
    if missing:
        raise InputError(folder, "; ".join(map(str, missing)))
    if not sources:
        return
    with _alone_in(folder):
        _fetch(sources, folder, progress)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Meanwhile other processes of this machine that fetch into the folder wait."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems lock no folders.
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"{folder}: waiting for another process that fetches into it")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _fetch(sources: Sequence[Source], folder: Path, progress: bool) -> None:
    record = _read_record(folder / RECORD)
    for source in sources:
        path = folder / source.path
        if source.unpack is not None and (folder / source.unpack).exists():
            continue
        expected = source.sha256
        if expected is None or len(expected) < _SHA256_DIGITS:
            known = record.get(source.path, "")
            # Digits that params.yaml says now count more than what was seen before.
            expected = known if known.startswith((expected or "").lower()) and known else expected
        if not path.exists():
            found = download(source.url or "", path, sha256=expected, progress=progress)
        else:
            found = sha256_file(path)
            _compare(path, found, expected)
        if source.unpack is not None:
            unpack(path, folder / source.unpack)
        if expected is None or len(expected) < _SHA256_DIGITS:
            say(f"{path}: SHA-256 {found}, which holds from now on")
            record[source.path] = found
            write_json(folder / RECORD, record)
        if source.unpack is not None and source.url is not None:
            path.unlink()


def _read_record(path: Path) -> dict[str, str]:
    record = read_json(path) if path.exists() else {}
    if not isinstance(record, dict) or not all(isinstance(v, str) for v in record.values()):
        fix = "Delete it; the hashes that params.yaml has are checked in any case"
        raise InputError(path, "not a table of hashes by file name", fix=fix)
    return record


def download(
    url: str, path: str | Path, *, sha256: str | None = None, progress: bool = True
) -> str:
    """Fetches `url` into `path`, which appears complete or not at all; gives its SHA-256 in hex.

    A transfer that was cut short goes on where it stopped, if the server can and its file is still
    the same (by ETag or date); otherwise it starts anew.

    Raises:
        InputError: not an http address, no answer, a redirect to one that is none or from https to
            http, a transfer cut short (the next call goes on), or another hash than `sha256`
            (nothing is kept).
        NetworkError: no answer in time, a server's own fault, or a transfer cut short.
    """
    path = Path(path)
    if not is_http(url):
        raise InputError(path, f"address {told_address(url)!r} is not http or https")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _errors_of(url):
        _transfer(url, _part(path), _state_file(path), progress)
    found = sha256_file(_part(path))
    _state_file(path).unlink(missing_ok=True)
    try:
        _compare(path, found, sha256)
        os.replace(_part(path), path)
    finally:
        _part(path).unlink(missing_ok=True)
    return found


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _state_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.part.json")


def _compare(path: Path, found: str, expected: str | None) -> None:
    if expected is not None and not found.startswith(expected.lower()):
        problem = f"SHA-256 is {found}, expected {expected}"
        raise InputError(path, problem, fix="Fetch it anew, or correct the hash")


@contextlib.contextmanager
def _errors_of(url: str) -> Iterator[None]:
    try:
        yield
    except urllib.error.HTTPError as error:
        told = f"the server says {error.code} {told_text(error.reason)}"
        if error.code in _MAY_PASS or error.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            raise NetworkError(told_address(url), told, fix="Run again to go on") from None
        raise InputError(told_address(url), told) from None
    except (urllib.error.URLError, OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            problem = f"cannot be kept on this disk ({error.strerror})"
            fix = "Mend that and run again to go on"
            raise InputError(told_address(url), problem, fix=fix) from None
        reason = getattr(error, "reason", error)
        told = f"cannot be read ({told_text(str(reason))})"
        # A reason in words is a rule's, such as that of redirects; the network's is an exception.
        passes = isinstance(reason, OSError | http.client.HTTPException)
        kind = NetworkError if passes else InputError
        raise kind(told_address(url), told, fix="Run again to go on") from None


def _transfer(url: str, part: Path, state_file: Path, progress: bool) -> None:
    """Brings `part` to the full length of the file at `url`."""
    start, headers = 0, {}
    if part.exists() and (validator := _validator(state_file)):
        start = part.stat().st_size
        headers = {"Range": f"bytes={start}-", "If-Range": validator}
    try:
        response = open_address(url, headers, _TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not headers:
            raise
        response = open_address(url, {}, _TIMEOUT_SECONDS)
    with response:
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        start = start if resumed else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if (length or "").isdecimal() else None
        validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
        _remember(state_file, validator)
        bar = tqdm(
            total=total, initial=start, unit="B", unit_scale=True, desc=part.name[1:-5],
            disable=None if progress else True,
        )  # fmt: skip
        with bar, open(part, "r+b" if resumed else "wb") as file:
            file.seek(start)
            while chunk := response.read(_CHUNK_BYTES):
                file.write(chunk)
                bar.update(len(chunk))
            end = file.tell()
    if total is not None and end != total:
        told = f"ended after {end} of {total} bytes"
        raise NetworkError(told_address(url), told, fix="Run again to go on")


def _validator(state_file: Path) -> str | None:
    """What vouches for the part; None where nothing does, or a kill left half of the file."""
    try:
        found = read_json(state_file)
    except InputError:
        return None
    validator = found.get("validator") if isinstance(found, dict) else None
    return validator if isinstance(validator, str) else None


def _remember(state_file: Path, validator: str | None) -> None:
    # A weak ETag vouches for no bytes, so such a file cannot go on from the middle.
    if validator is None or validator.startswith("W/"):
        state_file.unlink(missing_ok=True)
    else:
        write_json(state_file, {"validator": validator})
