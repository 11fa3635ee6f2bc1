"""What decides a result: parameters, data and code of the stages that make it, as one hash."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import networkx as nx
from dvc.dependency.param import ParamsDependency
from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.repo import Repo
from dvc.stage import PipelineStage, Stage

from pipelines.errors import PipelineError
from pipelines.graph import stage_name
from pipelines.plan import Switches
from pipelines.workspace import environment

_SKIPPED = {"__pycache__"}


def result_key(root: str | Path, graph: nx.DiGraph, switches: Switches) -> str:
    """SHA-256, in hex, of what decides a result in a project whose params.yaml is as it is to be.

    Of each stage: its command, the values of the params it lists, its data and the syntax trees of
    its code, so that an edited comment keeps results. What another stage makes is left out: that
    stage is in the key.

    Args:
        root: the project.
        graph: the stages that the result comes from, as `pipelines.graph.needed_for` cuts them.
        switches: of the experiment; its command and that command's code are in the key, too.

    Raises:
        PipelineError: a dependency is absent or cannot be read.
    """
    root = Path(root)
    try:
        with Repo(str(root)) as repo:
            stages = {stage_name(stage, repo.root_dir): stage for stage in repo.index.stages}
            made = {out.fs_path for stage in stages.values() for out in stage.outs}
            told = {name: _stage(root, stages[name], made) for name in sorted(graph)}
    except (DvcException, OSError) as error:
        raise PipelineError(f"{root}: no key of its results: {error}") from error
    then = [list(switches.then), _code(root, switches.code), switches.fresh]
    content = json.dumps([told, then, dict(switches.keep)], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def _stage(root: Path, stage: Stage, made: set[str]) -> dict[str, Any]:
    if not isinstance(stage, PipelineStage):
        # A tracked file, whose hash stands in its .dvc file.
        return {out.def_path: str(out.hash_info) for out in stage.outs}
    params: dict[str, Any] = {}
    deps: dict[str, Any] = {}
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            params[dep.def_path] = dep.read_params()
        elif not any(_holds(path, dep.fs_path) for path in made):
            deps[dep.def_path] = _content(root, dep)
    return {"cmd": stage.cmd, "params": params, "deps": deps}


def _holds(output: str, path: str) -> bool:
    """Whether an output is, or is above or below, a path."""
    return path == output or path.startswith(output + os.sep) or output.startswith(path + os.sep)


def _content(root: Path, dep: Output) -> Any:
    path = Path(root, dep.def_path)
    if not path.exists():
        raise PipelineError(f"{path}: absent, and stages depend on it")
    if path.suffix == ".py" or (path.is_dir() and any(path.rglob("*.py"))):
        return _code(root, [dep.def_path])
    # DVC remembers the hashes of files that have not changed.
    return str(dep.get_hash())


def _code(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """Hash of each file: of a module its syntax tree's, of any other its content's."""
    files = sorted(
        found
        for path in (Path(root, each) for each in paths)
        for found in (path.rglob("*") if path.is_dir() else [path])
        if found.is_file() and not _SKIPPED & set(found.parts)
    )
    found = {}
    for file in files:
        stamp = (str(file), file.stat().st_mtime_ns, file.stat().st_size)
        if stamp not in _KNOWN:
            _KNOWN[stamp] = hashlib.sha256(file.read_bytes()).hexdigest()
        found[str(file.relative_to(root))] = _KNOWN[stamp]
    missing = [name for name in found if name.endswith(".py") and found[name] not in _TREES]
    if missing:
        hashes = _syntax_trees(root, missing)
        _TREES.update({found[name]: hashes[name] for name in missing})
    return {name: _TREES.get(content, content) for name, content in found.items()}


# Contents of files by path, time and size; syntax trees by content. Experiments of a sweep share
# nearly all of their code.
_KNOWN: dict[tuple[str, int, int], str] = {}
_TREES: dict[str, str] = {}


def _syntax_trees(root: Path, files: list[str]) -> Mapping[str, str]:
    """Asks the package, which tells interrupted trainings apart by the same hashes."""
    done = subprocess.run(
        [sys.executable, "-m", "hoiclip.experiments.code"],
        cwd=root, env=environment(root), input=json.dumps(files), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        said = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise PipelineError(f"{root}: no syntax trees of its code: {said}")
    found: dict[str, str] = json.loads(done.stdout)
    return found
