"""Runs the stages of a graph as tasks of a Prefect flow."""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import networkx as nx
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from pipelines.errors import PipelineError, TransientError
from pipelines.failures import explain, is_at_work_elsewhere
from pipelines.methods import stage_file
from pipelines.processes import ProcessGroups
from pipelines.workspace import dvc, environment

_RUNS = re.compile(r"Running stage '")
# Between two looks whether another run has done the same work; then DVC's cache has it.
_BUSY_SECONDS = 20.0


class _ElsewhereError(Exception):
    """Another run is at the same work."""


@dataclass
class StageTimes:
    """What the stages of a run took.

    Attributes:
        exact: whether one stage ran at a time, so that CPU seconds are its own.
        seconds: by stage; only of those that ran, not of those that DVC's cache had.
        cpu_seconds: likewise, DVC's own included.
    """

    exact: bool
    seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)

    def of(self, stages: Collection[str]) -> Mapping[str, float | None]:
        """Their sums; None where one of the stages did not run or CPU seconds are not known."""
        ran = bool(stages) and set(stages) <= set(self.seconds)
        seconds = round(sum(self.seconds[stage] for stage in stages), 1) if ran else None
        cpu = sum(self.cpu_seconds[stage] for stage in stages) if ran and self.exact else None
        return {"seconds": seconds, "cpu_seconds": None if cpu is None else round(cpu, 1)}


def own_stages(graph: nx.DiGraph, method: str | None) -> list[str]:
    """The stages of a method in their order; of a project without methods, all."""
    files = nx.get_node_attributes(graph, "file")
    tracked = nx.get_node_attributes(graph, "tracked_file")
    own = stage_file(method) if method else None
    return [
        node
        for node in nx.lexicographical_topological_sort(graph)
        if (files[node] == own if own else not tracked[node])
    ]


def run_graph(
    groups: ProcessGroups,
    root: Path,
    graph: nx.DiGraph,
    times: StageTimes,
    retries: int,
    limit_minutes: float | None,
    fresh: Iterable[str] = (),
) -> None:
    """Runs each stage after those that it needs.

    Args:
        groups: which start the processes.
        root: the workspace.
        graph: the stages.
        times: takes what they took.
        retries: how often a stage is tried again that failed for a reason that may pass.
        limit_minutes: how long a try of a stage may take; None: for ever.
        fresh: stages that run whether up to date or not.

    Raises:
        PipelineError: a stage failed; all that did not need it have run.
    """
    env, forced = environment(root), set(fresh)
    may_pass: set[str] = set()

    # DVC caches results; Prefect's own cache would only hide that a stage is stale.
    @task(
        retries=retries,
        retry_condition_fn=lambda made, *_: made.name in may_pass and not groups.stopped,
        cache_policy=NO_CACHE,
        persist_result=False,
        task_run_name="{stage}",
    )
    def run_stage(stage: str, tracked_file: bool) -> None:
        while True:
            try:
                return run_once(stage, tracked_file)
            except _ElsewhereError:
                get_run_logger().info("%s: another run is at it; waiting for that", stage)
            until = time.monotonic() + _BUSY_SECONDS
            while time.monotonic() < until and not groups.stopped:
                time.sleep(0.2)

    def run_once(stage: str, tracked_file: bool) -> None:
        lines: list[str] = []
        log = get_run_logger().info

        def on_line(line: str) -> None:
            lines.append(line)
            log(line)

        started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        may_pass.discard(stage)
        try:
            groups.run(
                _command(stage, tracked_file, stage in forced),
                cwd=root,
                env=env,
                on_line=on_line,
                limit_minutes=limit_minutes,
            )
        except PipelineError as error:
            if is_at_work_elsewhere(lines) and not groups.stopped:
                raise _ElsewhereError from None
            told = explain(root, stage, lines, error)
            if isinstance(told, TransientError):
                may_pass.add(stage)
            raise told from None
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if any(map(_RUNS.match, lines)):
            spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            times.seconds[stage] = time.monotonic() - started
            times.cpu_seconds[stage] = spent

    futures: dict[str, PrefectFuture[None]] = {}
    for stage in nx.lexicographical_topological_sort(graph):
        futures[stage] = run_stage.with_options(name=stage).submit(
            stage,
            graph.nodes[stage]["tracked_file"],
            return_state=False,
            wait_for=[futures[upstream] for upstream in graph.predecessors(stage)],
        )
    for future in futures.values():
        future.wait()
    failed = {stage: future.state for stage, future in futures.items() if future.state.is_failed()}
    for stage, state in failed.items():
        raise PipelineError(f"stage '{stage}' failed: {state.message}")


def _command(stage: str, tracked_file: bool, forced: bool) -> Sequence[str]:
    # A tracked file has no command: in a fresh clone it only has to come from the cache.
    if tracked_file:
        return dvc("--wait-for-lock", "checkout", stage)
    options = ["--force", "--no-run-cache"] if forced else []
    return dvc("--wait-for-lock", "repro", "--single-item", *options, stage)
