"""The Prefect flow `reproduce`: the DAG of dvc.yaml, one task per stage.

`python -m pipelines.reproduce --override train.epochs=4` runs it in a fresh clone of this checkout.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import networkx as nx
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from pydantic import Field

from pipelines.errors import PipelineError, fail, whole_number
from pipelines.graph import needed_for, stage_graph
from pipelines.params import apply_changes, parse_overrides
from pipelines.processes import ProcessGroups
from pipelines.workspace import (
    cloned,
    dvc,
    ensure_identity,
    environment,
    has_uncommitted_changes,
    is_workspace,
)

MOST_RETRIES = 100
MOST_PARALLEL = 256


@flow(name="reproduce", persist_result=False)
def reproduce(
    overrides: list[str] | None = None,
    target: str | None = None,
    retries: Annotated[int, Field(ge=0, le=MOST_RETRIES)] = 1,
    parallel: Annotated[int, Field(ge=1, le=MOST_PARALLEL)] = 1,
    publish: bool = False,
) -> None:
    """Reproduces the project in the current folder.

    Args:
        overrides: changes to params.yaml, as `train.epochs=4`; only in a workspace of the run's
            own (`pipelines.workspace`), never in a checkout that someone works in.
        target: a stage; by default all of dvc.yaml.
        retries: how often a failed stage is tried again.
        parallel: how many stages may run at the same time.
        publish: save the outcome as the DVC experiment `run-<flow run>` and push its reference to
            `origin`, where `dvc exp show` lists it.

    Raises:
        PipelineError: an override, the target or the project is wrong, or a stage failed.
    """
    root = Path.cwd()
    graph = needed_for(stage_graph(root), target)
    if overrides or publish:
        if not is_workspace(root):
            raise PipelineError(
                f"{root} is not a workspace of the run's own, so it is not changed. "
                "Use `python -m pipelines.reproduce` or the deployment, which make one"
            )
        for line in apply_changes(root / "params.yaml", parse_overrides(overrides or [])):
            get_run_logger().info("params.yaml: %s", line)
    groups = ProcessGroups(parallel)
    try:
        _run_graph(groups, root, graph, retries)
        _describe(groups, root)
        if publish:
            _publish(groups, root)
    # A cancelled run ends by a signal, which Prefect raises here as a BaseException.
    except BaseException:
        groups.stop()
        raise


def _run_graph(groups: ProcessGroups, root: Path, graph: nx.DiGraph, retries: int) -> None:
    env = environment(root)

    # DVC caches results; Prefect's own cache would only hide that a stage is stale.
    @task(
        retries=retries,
        retry_condition_fn=lambda *_: not groups.stopped,
        cache_policy=NO_CACHE,
        persist_result=False,
        task_run_name="{stage}",
    )
    def run_stage(stage: str, tracked_file: bool) -> None:
        # A tracked file has no command: in a fresh clone it only has to come from the cache.
        command = (
            dvc("--wait-for-lock", "checkout", stage)
            if tracked_file
            else dvc("--wait-for-lock", "repro", "--single-item", stage)
        )
        groups.run(command, cwd=root, env=env, on_line=get_run_logger().info)

    futures: dict[str, PrefectFuture[None]] = {}
    for stage in nx.lexicographical_topological_sort(graph):
        futures[stage] = run_stage.with_options(name=stage).submit(
            stage,
            graph.nodes[stage]["tracked_file"],
            wait_for=[futures[upstream] for upstream in graph.predecessors(stage)],
        )
    for future in futures.values():
        future.wait()
    failed = {stage: future.state for stage, future in futures.items() if future.state.is_failed()}
    for stage, state in failed.items():
        raise PipelineError(f"stage '{stage}' failed: {state.message}")


def _read(groups: ProcessGroups, root: Path, command: Sequence[str]) -> str:
    lines: list[str] = []
    groups.run(command, cwd=root, env=environment(root), on_line=lines.append)
    return "\n".join(lines).strip()


def _describe(groups: ProcessGroups, root: Path) -> None:
    """Shows params and metrics beside those of the commit the run started from."""
    params = _read(groups, root, dvc("params", "diff", "--md", "HEAD"))
    metrics = _read(groups, root, dvc("metrics", "diff", "--all", "--md", "HEAD"))
    get_run_logger().info("Metrics:\n%s", metrics)
    create_markdown_artifact(
        key="metrics",
        markdown=f"# Metrics\n\n{metrics}\n\n# Changed parameters\n\n{params}\n",
        description="Metrics of the run; average precision in percent.",
    )


def _publish(groups: ProcessGroups, root: Path) -> None:
    name = f"run-{str(flow_run.id or uuid4())[:8]}"
    ensure_identity(root)
    log = get_run_logger().info
    for command in (
        # All that git does not ignore in this clone is of the run, files new to git included.
        ["git", "add", "--all"],
        dvc("exp", "save", "--name", name),
        dvc("exp", "push", "--no-cache", "origin", name),
    ):
        groups.run(command, cwd=root, env=environment(root), on_line=log)
    log("In the origin: dvc exp show; dvc exp apply %s", name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the flow in a clone of the current folder; returns the exit code, 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.reproduce", description=__doc__)
    parser.add_argument("target", nargs="?", help="a stage; by default all")
    parser.add_argument("--override", action="append", default=[], metavar="KEY=VALUE")
    retries, parallel = whole_number(0, MOST_RETRIES), whole_number(1, MOST_PARALLEL)
    parser.add_argument("--retries", type=retries, default=1, help="per stage (default 1)")
    parser.add_argument("--parallel", type=parallel, default=1, help="stages at a time (default 1)")
    parser.add_argument("--publish", action="store_true", help="save as a DVC experiment")
    parser.add_argument("--workspace", metavar="FOLDER", help="make the clone here and keep it")
    options = parser.parse_args(arguments)
    # The default action would end this process at once and leave the stages running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    source = Path.cwd()
    try:
        if has_uncommitted_changes(source):
            print("note: uncommitted changes are not part of the run", file=sys.stderr)
        with cloned(source, options.workspace) as workspace:
            # Before a Prefect server starts: a typing error ends here, in a second.
            needed_for(stage_graph(workspace), options.target)
            for line in apply_changes(workspace / "params.yaml", parse_overrides(options.override)):
                print(f"params.yaml: {line}")
            os.chdir(workspace)
            try:
                reproduce(
                    overrides=options.override,
                    target=options.target,
                    retries=options.retries,
                    parallel=options.parallel,
                    publish=options.publish,
                )
            finally:
                os.chdir(source)
    except (PipelineError, OSError) as error:
        return fail(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
