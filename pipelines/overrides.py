"""Overrides of a run: what whoever starts one may change in params.yaml, and what not.

Where files come from is decided by who commits: a run's override changes neither the folders of raw
files nor addresses, and names no file outside those folders (docs/cluster.md).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.errors import PipelineError
from pipelines.methods import KEY, check_method
from pipelines.params import apply_changes, parse_overrides, read_overlay
from pipelines.told import without_secrets

# Names of keys, in any section.
_PLACES = ("raw", "url", "downloads")
_PLACE_ENDING = "_url"
_HASH_ENDING = "_sha256"
# Files and folders by the folder that they have to be in.
_INSIDE = {
    "dataset.own.vocabulary": "dataset",
    "dataset.own.train": "dataset",
    "dataset.own.test": "dataset",
    "dataset.own.images": "dataset",
    "splits.fraction_file": "dataset",
    "weights.clip": "weights",
    "weights.detector": "weights",
    "weights.verb_vectors": "weights",
}
# What the stages allow, too: a tracked file may be DVC's link to its content.
_DVC_CACHE_FILE = re.compile(r"/files/md5/[0-9a-f]{2}/[0-9a-f]{30}$")
# A name, for which its library would also take a folder or an address.
_NAMES = ("weights.clip_model",)


def apply_overrides(root: str | Path, overrides: Iterable[str]) -> list[str]:
    """Applies a run's overrides to `root/params.yaml`; all or none.

    Args:
        root: a workspace of the run's own.
        overrides: `key=value` each.

    Returns:
        One line `key: old -> new` per changed value.

    Raises:
        PipelineError: a key or value does not fit params.yaml, or says where files come from.
    """
    path = Path(root, "params.yaml")
    changes = parse_overrides(overrides)
    if changes:
        committed = read_overlay(path, path.name)
        for key, value in _values(changes):
            _check(Path(root), committed, key, value)
    return apply_changes(path, changes)


def _values(changes: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in changes.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from _values(value, f"{key}.")
        else:
            yield key, value


def _check(root: Path, committed: Mapping[str, Any], key: str, value: Any) -> None:
    told = without_secrets(f"override {key}={value!r}")
    if key == KEY and KEY in committed:
        check_method(root, value)
    if any(name in _PLACES or name.endswith(_PLACE_ENDING) for name in key.split(".")):
        reason = "where files come from changes by a commit or a committed profile, not by a run"
        raise PipelineError(f"{told}: {reason}")
    if key.endswith(_HASH_ENDING) and _has_address(committed, key.removesuffix(_HASH_ENDING)):
        reason = "the hash of what is fetched changes by a commit, not by a run"
        raise PipelineError(f"{told}: {reason}")
    if key in _NAMES and isinstance(value, str) and set(value) & set(":/\\"):
        raise PipelineError(f"{told}: a place, expected a name")
    section = committed.get(_INSIDE.get(key, ""))
    raw = section.get("raw") if isinstance(section, Mapping) else None
    if isinstance(raw, str) and isinstance(value, str) and not _is_inside(root / raw, value):
        raise PipelineError(f"{told}: not a path inside {raw}, relative to that")


def _has_address(committed: Mapping[str, Any], key: str) -> bool:
    section, _, name = key.rpartition(".")
    values = committed.get(section)
    return isinstance(values, Mapping) and values.get(f"{name}{_PLACE_ENDING}") is not None


def _is_inside(folder: Path, value: str) -> bool:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or set(value) & {"\0", "\\"}:
        return False
    inner = Path(os.path.realpath(folder / path))
    inside = inner.is_relative_to(os.path.realpath(folder))
    return inside or _DVC_CACHE_FILE.search(str(inner)) is not None
