"""Which experiments a sweep is to have, tried on params.yaml, with the keys of their results."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import PipelineError
from pipelines.graph import needed_for, stage_graph
from pipelines.keys import result_key
from pipelines.methods import chosen_method
from pipelines.plan import Experiment, Plan, only, read_plan
from pipelines.request import RUNS, Request, apply_request, own_plan
from pipelines.values import check_values


@dataclass(frozen=True)
class Wanted:
    """A plan under a profile and overrides.

    Attributes:
        plan: the part of it that is wanted.
        profile: applied to every experiment.
        overrides: likewise, under what the rows change.
    """

    plan: Plan
    profile: str | None = None
    overrides: tuple[str, ...] = ()

    def request(self, experiment: Experiment) -> Request:
        """What the run of an experiment is asked for."""
        if self.plan.name == RUNS:
            method = experiment.labels.get("method")
            return Request(self.profile, self.overrides, None, None, method, experiment.seed)
        row = experiment.row or None
        return Request(self.profile, self.overrides, self.plan.name, row, None, experiment.seed)


def wanted_plan(
    root: str | Path,
    name: str | None,
    methods: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    chosen: Sequence[str] = (),
) -> Plan:
    """The part of a plan that is asked for; without a name, methods by seeds.

    Raises:
        PipelineError: there is no such plan or label, or methods are asked for beside a plan.
    """
    if name is None:
        return only(own_plan(methods, seeds or ()), chosen)
    if methods:
        raise PipelineError(f"methods: plan {name} names its own; choose with only=AXIS=LABEL")
    return only(read_plan(root, name, seeds), chosen)


def check_experiments(root: str | Path, wanted: Wanted) -> dict[str, str]:
    """Tries every experiment, one after the other, on a workspace's params.yaml, and restores it.

    Returns:
        The key of each experiment's result, by its name.

    Raises:
        PipelineError: a value does not fit; the experiment is named.
    """
    path = Path(root, "params.yaml")
    before = path.with_name(".params.yaml.before.part")
    shutil.copyfile(path, before)
    keys: dict[str, str] = {}
    tried: dict[str, Path] = {}
    try:
        for experiment in wanted.plan.experiments:
            shutil.copyfile(before, path)
            try:
                apply_request(root, wanted.request(experiment))
                target = experiment.switches.target
                graph = needed_for(stage_graph(root), target, chosen_method(root))
                keys[experiment.name] = result_key(root, graph, experiment.switches)
                tried[experiment.name] = path.with_name(f".params.yaml.{len(tried)}.part")
                shutil.copyfile(path, tried[experiment.name])
            except PipelineError as error:
                raise PipelineError(f"{experiment.name}: {error}") from None
        check_values(root, tried)
    finally:
        before.replace(path)
        for file in tried.values():
            file.unlink(missing_ok=True)
    return keys
