"""Results of experiments: one JSON file each, in `results/runs/` and in the origin's experiments.

An experiment is published under the name `<result>-<first digits of its key>`, so that whoever
clones the origin sees, without a server, what is done.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipelines.errors import PipelineError
from pipelines.params import read_yaml
from pipelines.plan import Experiment
from pipelines.workspace import git_output

FOLDER = Path("results", "runs")
_DIGITS = 8
_REFERENCE = re.compile(r"^\S+\s+(?P<ref>refs/exps/\S+/(?P<name>\S+)-(?P<key>[0-9a-f]{8}))$")


def published_name(experiment: Experiment, key: str) -> str:
    """The name under which `dvc exp show` lists it."""
    return f"{experiment.name}-{key[:_DIGITS]}"


def result_file(experiment: Experiment) -> Path:
    """Its result, relative to the project."""
    return FOLDER / f"{experiment.name}.json"


def write_result(
    root: str | Path,
    experiment: Experiment,
    key: str,
    *,
    method: str | None,
    overrides: Sequence[str],
    times: Mapping[str, float | None],
) -> Path:
    """Writes the result of an experiment that has run in a workspace.

    Args:
        root: the workspace.
        experiment: what has run.
        key: as from `pipelines.keys.result_key`.
        method: the chosen one.
        overrides: what was asked for beside the row.
        times: `seconds` and `cpu_seconds`.

    Returns:
        The file.

    Raises:
        PipelineError: what is to be kept is no JSON, or lacks the key that is asked for.
    """
    switches = experiment.switches
    kept = {name: _kept(root, place, method) for name, place in switches.keep.items()}
    value = {
        "plan": experiment.plan,
        "labels": dict(experiment.labels),
        "seed": experiment.seed,
        "title": switches.title or experiment.row or experiment.name,
        "what": switches.what,
        "key": key,
        "commit": git_output(root, "rev-parse", "HEAD"),
        "overrides": [*overrides],
        "profile": switches.profile,
        "machine": _machine(),
        **times,
        **kept,
    }
    file = Path(root, result_file(experiment))
    _write(file, value)
    return file


def _kept(root: str | Path, place: str, method: str | None) -> Any:
    name, _, keys = place.replace("{method}", method or "").partition(":")
    path = Path(root, name)
    if not path.exists():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        value = read_yaml(text) if path.suffix == ".yaml" else json.loads(text)
        for key in filter(None, keys.split(".")):
            value = value[int(key)] if isinstance(value, list) else value[key]
    except (ValueError, LookupError, TypeError):
        raise PipelineError(f"{path}: no file with {keys or 'anything'}, as keep asks") from None
    return value


def known_results(root: str | Path) -> dict[str, dict[str, Any]]:
    """Results in `root/results/runs/` by key; files without one are older than keys and left."""
    found = {}
    for path in sorted(Path(root, FOLDER).glob("*.json")):
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise PipelineError(f"{path}: no JSON. Remove it, or: git checkout {path}") from None
        if isinstance(value, dict) and isinstance(value.get("key"), str):
            found[value["key"]] = value
    return found


def read_result(root: str | Path, experiment: Experiment) -> dict[str, Any]:
    """An experiment's result, which is there."""
    value: dict[str, Any] = json.loads(Path(root, result_file(experiment)).read_text("utf-8"))
    return value


def origin_results(root: str | Path, keys: Collection[str]) -> dict[str, dict[str, Any]]:
    """The results that experiments of the origin hold, of those keys, by key."""
    found: dict[str, dict[str, Any]] = {}
    wanted = {key[:_DIGITS] for key in keys}
    for line in git_output(root, "ls-remote", "origin", "refs/exps/*").splitlines():
        match = _REFERENCE.match(line)
        if match is None or match["key"] not in wanted:
            continue
        git_output(root, "fetch", "--quiet", "--depth=1", "origin", match["ref"])
        file = (FOLDER / f"{match['name']}.json").as_posix()
        try:
            value = json.loads(git_output(root, "show", f"FETCH_HEAD:{file}"))
        except (PipelineError, ValueError):
            continue  # another's experiment of such a name
        if isinstance(value, dict) and value.get("key") in keys:
            found[value["key"]] = value
    return found


def keep_result(root: str | Path, experiment: Experiment, value: Mapping[str, Any]) -> Path:
    """Writes a known result as this experiment's, whichever plan made it; returns the file."""
    switches = experiment.switches
    file = Path(root, result_file(experiment))
    _write(
        file,
        {
            **value,
            "plan": experiment.plan,
            "labels": dict(experiment.labels),
            "seed": experiment.seed,
            "title": switches.title or experiment.row or experiment.name,
            "what": switches.what,
        },
    )
    return file


def _write(file: Path, value: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.part")
    aside.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    aside.replace(file)


def _machine() -> str:
    try:
        library = f", torch {version('torch')}"
    except PackageNotFoundError:
        library = ""
    return f"{platform.machine()}, {platform.system()}{library}"
