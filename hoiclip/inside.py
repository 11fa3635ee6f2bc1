"""Paths of params.yaml that have to stay inside a folder, as files do in `dataset.raw`."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

# A file that DVC tracks may be a link to its content in DVC's cache, whose name nobody chooses.
_DVC_CACHE_FILE = re.compile(r"/files/md5/[0-9a-f]{2}/[0-9a-f]{30}$")


def check_inside(key: str, value: str, folder: str | Path, *, folder_itself: bool = False) -> None:
    """Raises ValueError, which starts with `key`, unless `value` is a path inside `folder`.

    Links are followed: where one leads out of the folder, the path is not inside. The folder itself
    may be a link, and files may be DVC's links into its cache.

    Args:
        key: of the path, for the message.
        value: the path, relative to `folder`; it need not exist.
        folder: the folder.
        folder_itself: whether the folder is allowed, too, as `.`.
    """
    path = PurePosixPath(value)
    named = path.parts or (folder_itself and value)
    if not named or path.is_absolute() or ".." in path.parts or set(value) & {"\0", "\\"}:
        raise ValueError(f"{key}: {value!r} is not a path inside {folder}, relative to that")
    if "\0" in str(folder):
        raise ValueError(f"raw: {str(folder)!r} has a zero byte, which no folder's name has")
    # Not `Path.resolve`, which raises at a circle of links.
    target, inner = Path(os.path.realpath(folder)), Path(os.path.realpath(Path(folder, path)))
    if not inner.is_relative_to(target) and not _DVC_CACHE_FILE.search(str(inner)):
        problem = f"{value!r} leads out of {folder} by a link, to {inner}"
        raise ValueError(f"{key}: {problem}; let {folder} itself be the link")
