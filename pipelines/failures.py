"""What a failed stage's output says: whether another try may help, and what to change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipelines.errors import PipelineError, TransientError
from pipelines.params import read_overlay

TRANSIENT_EXIT_CODE = 75
"""Of a stage whose failure may be gone at the next try: EX_TEMPFAIL of sysexits.h."""

# DVC's own exit code is the same for every failure; the stage's stands in the line that says so.
_ENDED = re.compile(r"ERROR: failed to reproduce .*, exited with (?P<code>-?\d+)")
_NO_MEMORY = re.compile(r"out of memory|OutOfMemoryError", re.IGNORECASE)
_BATCH = "batch_size"
_OF_TRAINING = "train.batch_size"
# Images that a process of a training takes through the network at once.
_AT_ONCE = "HOICLIP_IMAGES_AT_ONCE"
_BUSY = re.compile(r"^error: .*: another process is at the same work\b")


def is_at_work_elsewhere(lines: Iterable[str]) -> bool:
    """Whether a stage ended because another run, which shares the states, is at the same work."""
    return any(_BUSY.search(line) for line in lines)


def explain(
    root: str | Path, stage: str, lines: Sequence[str], error: PipelineError
) -> PipelineError:
    """The error of a failed stage with its kind; where memory ran out, with what to lower.

    Args:
        root: the project.
        stage: as `dvc repro` takes it.
        lines: its output.
        error: how the command ended.
    """
    codes = [match["code"] for line in lines if (match := _ENDED.search(line))]
    if any(_NO_MEMORY.search(line) for line in lines):
        return PipelineError(
            f"out of memory. {_less(dict(_batch_sizes(Path(root), stage)))}. {error}"
        )
    if codes == [str(TRANSIENT_EXIT_CODE)]:
        return TransientError(str(error))
    return error


def _less(sizes: Mapping[str, Any]) -> str:
    """What to change, given the batch sizes of a stage."""
    if not sizes:
        return "Give it less to hold at a time"
    params = ", ".join(f"{key} ({value})" for key, value in sizes.items())
    if _OF_TRAINING in sizes:
        return (
            f"Set {_AT_ONCE} in the environment to fewer images than a process has of a batch, "
            f"which is the same experiment; or lower {params}, which is another"
        )
    return f"Lower {params}"


def _batch_sizes(root: Path, stage: str) -> Iterator[tuple[str, Any]]:
    """The batch sizes among the params that a stage lists, with their values."""
    file, _, name = stage.rpartition(":")
    try:
        stages = yaml.safe_load((root / (file or "dvc.yaml")).read_text(encoding="utf-8"))["stages"]
        listed = stages[name.partition("@")[0]].get("params", [])
        params = read_overlay(root / "params.yaml")
    except (OSError, yaml.YAMLError, LookupError, TypeError, PipelineError):
        return
    for key in listed:
        if isinstance(key, str):
            yield from _found(params, key.split("."), key)


def _found(value: Any, names: Iterable[str], key: str) -> Iterator[tuple[str, Any]]:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    if key.rpartition(".")[2] == _BATCH:
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _found(inner, (), f"{key}.{name}")
