"""What a run was asked for: a profile, a method, overrides, a seed, or a row of a plan."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from pydantic import Field

from pipelines.errors import PipelineError
from pipelines.methods import FOLDER as METHODS
from pipelines.methods import KEY as METHOD
from pipelines.methods import chosen_method
from pipelines.overrides import apply_overrides
from pipelines.params import apply_changes, read_overlay
from pipelines.plan import FOLDER as PLANS
from pipelines.plan import Experiment, Plan, Switches, changes_of, read_plan
from pipelines.profile import read_profile
from pipelines.values import check_values
from pipelines.workspace import git_output

RUNS = "runs"
"""The plan of runs that no file plans: a method each, once for each seed."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A profile, method, plan or row, as the server checks it before a run is queued."""
Overrides = list[Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*=")]]
_KEEP = {"metrics": "metrics.json"}


@dataclass(frozen=True)
class Request:
    """One run's wishes, in the order in which they are applied to params.yaml.

    Attributes:
        profile: a committed profile; that of the row, where it has one.
        overrides: `key=value` each.
        plan: a plan, of which `row` names the row.
        row: its labels, joined by `-`.
        method: the method.
        seed: of the training.
    """

    profile: str | None = None
    overrides: Sequence[str] = ()
    plan: str | None = None
    row: str | None = None
    method: str | None = None
    seed: int | None = None


def own_plan(methods: Sequence[str], seeds: Sequence[int | None]) -> Plan:
    """The plan `runs`: methods and seeds, of which either may be none."""
    listed: list[str | None] = [*methods] or [None]
    runs = tuple(_own(method, seed) for method in listed for seed in seeds or [None])
    return Plan(RUNS, "", runs)


def _own(method: str | None, seed: int | None) -> Experiment:
    labels = {METHOD: method} if method else {}
    return Experiment(RUNS, labels, seed, Switches(title=method or "", set=labels, keep=_KEEP))


def experiment_of(root: str | Path, request: Request) -> Experiment:
    """The experiment that a request names.

    Raises:
        PipelineError: the plan has no such row, or the row fixes what the request asks for, too.
    """
    if request.plan is None:
        if request.row is not None:
            raise PipelineError(f"row {request.row!r}: of which plan? Name it, too")
        return _own(request.method, request.seed)
    seeds = None if request.seed is None else [request.seed]
    plan = read_plan(root, request.plan, seeds)
    found = [each for each in plan.experiments if each.row == (request.row or "")]
    if request.seed is None:
        found = found[:1]
    if not found:
        rows = ", ".join(dict.fromkeys(each.row or "''" for each in plan.experiments))
        raise PipelineError(f"plan {plan.name} has no row {request.row!r}. Rows: {rows}")
    for name, value, fixed in (
        ("profile", request.profile, found[0].switches.profile),
        (METHOD, request.method, found[0].switches.set.get(METHOD)),
    ):
        if value is not None and fixed is not None:
            raise PipelineError(f"{name} {value!r}: row {found[0].row} has its own, {fixed}")
    return found[0]


def apply_request(root: str | Path, request: Request) -> tuple[Experiment, list[str]]:
    """Applies a request to `root/params.yaml`.

    Args:
        root: a workspace of the run's own, with the committed params.yaml.
        request: what was asked for.

    Returns:
        The experiment, and one line `key: old -> new` per changed value.

    Raises:
        PipelineError: there is no such profile, plan, row or method, or a value does not fit.
    """
    path = Path(root, "params.yaml")
    experiment = experiment_of(root, request)
    if experiment.seed is not None and experiment.seed < 0:
        raise PipelineError(f"seed: {experiment.seed}, expected 0 or more")
    lines: list[str] = []
    if profile := request.profile or experiment.switches.profile:
        lines += apply_changes(path, read_profile(root, profile))
    lines += apply_overrides(root, request.overrides)
    changed = changes_of(experiment.switches, read_overlay(path, path.name))
    if request.method is not None:
        changed[METHOD] = request.method
    # A plan is committed; its values are checked as a run's are, which costs nothing.
    lines += apply_overrides(root, [_override(key, value) for key, value in changed.items()])
    if experiment.seed is not None:
        key = seed_key(read_overlay(path, path.name), chosen_method(root))
        lines += apply_overrides(root, [_override(key, experiment.seed)])
    # Before DVC, which puts the method's name into paths, reads it.
    chosen_method(root)
    return experiment, lines


def seed_key(params: Mapping[str, Any], method: str | None) -> str:
    """The key of the training's seed: the method's own `train.seed` where it has one.

    Raises:
        PipelineError: there is none.
    """
    for place in (f"{method}.train", "train"):
        section: Any = params
        for name in place.split("."):
            section = section.get(name) if isinstance(section, Mapping) else None
        if isinstance(section, Mapping) and "seed" in section:
            return f"{place}.seed"
    raise PipelineError("seed: params.yaml has no train.seed, so nothing has a seed to set")


def check_request(source: str | Path, request: Request) -> list[str]:
    """Tries a request on what the last commit of a repository says, before anything is cloned.

    Returns:
        One line `key: old -> new` per changed value.

    Raises:
        PipelineError: as `apply_request`; or `source` has no commit.
    """
    with TemporaryDirectory(prefix="check-") as folder:
        listed = git_output(source, "ls-tree", "-r", "--name-only", "HEAD", "--",
                            "params.yaml", "params", PLANS, METHODS).splitlines()  # fmt: skip
        archive = Path(folder, "tree.tar")
        git_output(source, "archive", f"--output={archive}", "HEAD", "--", *listed)
        tree = Path(folder, "tree")
        tree.mkdir()
        shutil.unpack_archive(archive, tree, filter="data")
        changed = apply_request(tree, request)[1]
        check_values(source, {"the request": tree / "params.yaml"})
        return changed


def _override(key: str, value: Any) -> str:
    return f"{key}={json.dumps(value)}"
