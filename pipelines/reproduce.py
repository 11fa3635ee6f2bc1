"""The Prefect flow `reproduce`: the DAG of the dvc.yaml files, one task per stage.

`python -m pipelines.reproduce --override train.epochs=4` runs it in a fresh clone of this checkout.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import networkx as nx
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.runtime import deployment, flow_run

from pipelines.errors import PipelineError, fail
from pipelines.graph import needed_for, stage_graph
from pipelines.methods import chosen_method
from pipelines.output import outlive_reader
from pipelines.overrides import apply_overrides
from pipelines.processes import ProcessGroups
from pipelines.workspace import (
    check_publishing,
    cloned,
    dvc,
    ensure_identity,
    environment,
    has_uncommitted_changes,
    is_workspace,
)

_MAX_RETRIES, _MAX_PARALLEL = 100, 256
# A year: what `threading.Timer` can wait for has an end, too.
_MAX_MINUTES = 366 * 24 * 60
# For what a run has to tell the server when its work is done.
_LAST_WORDS_SECONDS = 60


@flow(name="reproduce", persist_result=False)
def reproduce(
    overrides: list[str] | None = None,
    target: str | None = None,
    retries: int = 1,
    parallel: int = 1,
    publish: bool = False,
    stage_timeout_minutes: float | None = None,
) -> None:
    """Reproduces the project in the current folder.

    Args:
        overrides: changes to params.yaml, as `train.epochs=4`; only in a workspace of the run's
            own (`pipelines.workspace`), never in a checkout that someone works in. Where files
            come from (`dataset.raw`, `weights.raw`, addresses) is not theirs to change.
        target: a stage, of the chosen method if several have one of its name; by default all of the
            root's dvc.yaml and what they need, which is what `dvc repro` runs.
        retries: how often a failed stage is tried again.
        parallel: how many stages may run at the same time.
        publish: save the outcome as the DVC experiment `run-<flow run>` and push its reference to
            `origin`, where `dvc exp show` lists it. Of a target, what it ran is saved.
        stage_timeout_minutes: how long a try of a stage may take; then its processes are ended, and
            the try has failed. None: for ever.

    Raises:
        PipelineError: an override, the target or the project is wrong, or a stage failed.
    """
    # Then this process is this run's own, started by a worker.
    deployed = deployment.id is not None and flow_run.parent_flow_run_id is None
    if deployed:
        outlive_reader()
    _check_numbers(retries, parallel, stage_timeout_minutes)
    root = Path.cwd()
    if overrides or publish:
        if not is_workspace(root):
            raise PipelineError(
                f"{root} is not a workspace of the run's own, so it is not changed. "
                "Use `python -m pipelines.reproduce` or the deployment, which make one"
            )
        for line in apply_overrides(root, overrides or []):
            get_run_logger().info("params.yaml: %s", line)
    # After the overrides, by which another method may have been chosen.
    graph = needed_for(stage_graph(root), target, chosen_method(root))
    if publish:
        check_publishing(root)
    groups = ProcessGroups(parallel)
    try:
        _run_graph(groups, root, graph, retries, stage_timeout_minutes)
        # First, because it needs no server.
        if publish:
            _publish(groups, root, list(graph))
        _describe(groups, root)
    # A cancelled run ends by a signal, which Prefect raises here as a BaseException.
    except BaseException:
        groups.stop()
        raise
    finally:
        if deployed:
            _end_within(_LAST_WORDS_SECONDS)


def _end_within(seconds: float) -> None:
    """Ends this process by then: Prefect tries to reach a server that is gone for far longer."""
    timer = threading.Timer(seconds, os._exit, [1])
    timer.daemon = True
    timer.start()


def _check_numbers(retries: int, parallel: int, stage_timeout_minutes: float | None) -> None:
    minutes = stage_timeout_minutes
    for name, value, good, least in (
        ("retries", retries, 0 <= retries <= _MAX_RETRIES, f"0 or more, up to {_MAX_RETRIES}"),
        ("parallel", parallel, 1 <= parallel <= _MAX_PARALLEL, f"1 or more, up to {_MAX_PARALLEL}"),
        ("stage_timeout_minutes", minutes, minutes is None or 0 < minutes <= _MAX_MINUTES,
         f"above 0, up to {_MAX_MINUTES}"),
    ):  # fmt: skip
        if not good:
            raise PipelineError(f"{name}: {value}, expected {least}")


def _run_graph(
    groups: ProcessGroups,
    root: Path,
    graph: nx.DiGraph,
    retries: int,
    stage_timeout_minutes: float | None,
) -> None:
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
        groups.run(
            command,
            cwd=root,
            env=env,
            on_line=get_run_logger().info,
            limit_minutes=stage_timeout_minutes,
        )

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


def _publish(groups: ProcessGroups, root: Path, stages: Sequence[str]) -> None:
    """Saves and pushes an experiment of `stages`."""
    name = f"run-{str(flow_run.id or uuid4())[:8]}"
    ensure_identity(root)
    log = get_run_logger().info
    for command in (
        # All that git does not ignore in this clone is of the run, files new to git included.
        ["git", "add", "--all"],
        # Named, because without names DVC refuses where an output of any stage is absent.
        dvc("exp", "save", "--force", "--name", name, *stages),
        dvc("exp", "push", "--force", "--no-cache", "origin", name),
    ):
        groups.run(command, cwd=root, env=environment(root), on_line=log)
    log("In the origin: dvc exp show; dvc exp apply %s", name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the flow in a clone of the current folder; returns the exit code, 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.reproduce", description=__doc__)
    parser.add_argument("target", nargs="?", help="a stage; by default all")
    parser.add_argument("--override", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--retries", type=int, default=1, help="per stage (default 1)")
    parser.add_argument("--parallel", type=int, default=1, help="stages at a time (default 1)")
    parser.add_argument(
        "--stage-timeout-minutes", type=float, metavar="MINUTES",
        help="how long a try of a stage may take (default: for ever)",
    )  # fmt: skip
    parser.add_argument("--publish", action="store_true", help="save as a DVC experiment")
    parser.add_argument("--workspace", metavar="FOLDER", help="make the clone here and keep it")
    options = parser.parse_args(arguments)
    # The default action would end this process at once and leave the stages running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    source = Path.cwd()
    try:
        _check_numbers(options.retries, options.parallel, options.stage_timeout_minutes)
        if has_uncommitted_changes(source):
            print("note: uncommitted changes are not part of the run", file=sys.stderr)
        with cloned(source, options.workspace) as workspace:
            # Before a Prefect server starts: a typing error ends here, in a second.
            for line in apply_overrides(workspace, options.override):
                print(f"params.yaml: {line}")
            needed_for(stage_graph(workspace), options.target, chosen_method(workspace))
            if options.publish:
                check_publishing(workspace)
            os.chdir(workspace)
            try:
                reproduce(
                    overrides=options.override,
                    target=options.target,
                    retries=options.retries,
                    parallel=options.parallel,
                    publish=options.publish,
                    stage_timeout_minutes=options.stage_timeout_minutes,
                )
            finally:
                os.chdir(source)
    except (PipelineError, OSError) as error:
        return fail(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
