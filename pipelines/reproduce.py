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
from typing import Annotated
from uuid import uuid4

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import deployment, flow_run
from pydantic import Field

from pipelines.alive import tell_alive
from pipelines.errors import PipelineError, fail
from pipelines.graph import needed_for, stage_graph
from pipelines.keys import result_key
from pipelines.methods import chosen_method
from pipelines.output import outlive_reader
from pipelines.processes import ProcessGroups
from pipelines.request import Name, Overrides, Request, apply_request, check_request
from pipelines.results import published_name, write_result
from pipelines.stages import StageTimes, own_stages, run_graph
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
    overrides: Overrides | None = None,
    profile: Name | None = None,
    method: Name | None = None,
    seed: Annotated[int, Field(ge=0)] | None = None,
    target: str | list[str] | None = None,
    plan: Name | None = None,
    row: Name | None = None,
    key: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None,
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
        profile: a committed profile, applied before the overrides.
        method: the method whose stages run.
        seed: of the training.
        target: one or several stages, of the chosen method if several have one of its name; by
            default all of the root's dvc.yaml and what they need, which is what `dvc repro` runs.
        plan: a plan of `sweeps/`, whose row is to run.
        row: its labels, joined by `-`.
        key: what the result is to be known by; set by the flow `sweep`. The run ends at once where
            this commit would give another result.
        retries: how often a stage is tried again that failed for a reason that may pass.
        parallel: how many stages may run at the same time.
        publish: save the outcome as the DVC experiment `run-<flow run>`, or the name of the result
            with its key, and push its reference to `origin`, where `dvc exp show` lists it. Of a
            target, what it ran is saved.
        stage_timeout_minutes: how long a try of a stage may take; then its processes are ended, and
            the stage has failed. None: for ever.

    Raises:
        PipelineError: an override, the target or the project is wrong, or a stage failed.
    """
    # Then this process is this run's own, started by a worker.
    deployed = deployment.id is not None and flow_run.parent_flow_run_id is None
    if deployed:
        outlive_reader()
        tell_alive(str(flow_run.id))
    _check_numbers(retries, parallel, stage_timeout_minutes)
    root = Path.cwd()
    request = Request(profile, tuple(overrides or ()), plan, row, method, seed)
    if (request != Request() or publish) and not is_workspace(root):
        raise PipelineError(
            f"{root} is not a workspace of the run's own, so it is not changed. "
            "Use `python -m pipelines.reproduce` or the deployment, which make one"
        )
    experiment, lines = apply_request(root, request)
    for line in lines:
        get_run_logger().info("params.yaml: %s", line)
    # After the request, by which another method may have been chosen.
    chosen = chosen_method(root)
    graph = needed_for(stage_graph(root), target or experiment.switches.target, chosen)
    if key is not None and key != result_key(root, graph, experiment.switches):
        raise PipelineError(
            f"{experiment.name}: the origin has moved on since this was planned, so that its key "
            "is another. Start the sweep again"
        )
    if publish:
        check_publishing(root)
    groups = ProcessGroups(parallel)
    name = f"run-{str(flow_run.id or uuid4())[:8]}"
    try:
        fresh = own_stages(graph, chosen) if experiment.switches.fresh else ()
        times = StageTimes(exact=parallel == 1)
        run_graph(groups, root, graph, times, retries, stage_timeout_minutes, fresh)
        if experiment.switches.then:
            groups.run(
                experiment.switches.then,
                cwd=root,
                env=environment(root),
                on_line=get_run_logger().info,
                limit_minutes=stage_timeout_minutes,
            )
        if key is not None:
            write_result(
                root, experiment, key, method=chosen, overrides=request.overrides,
                times=times.of(own_stages(graph, chosen)),
            )  # fmt: skip
            name = published_name(experiment, key)
        # First, because it needs no server.
        if publish:
            _publish(groups, root, list(graph), name)
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


def _publish(groups: ProcessGroups, root: Path, stages: Sequence[str], name: str) -> None:
    """Saves and pushes an experiment of `stages`."""
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
    parser.add_argument("--profile", metavar="NAME", help="of params/, applied first")
    parser.add_argument("--method", metavar="NAME", help="whose stages run")
    parser.add_argument("--seed", type=int, help="of the training")
    parser.add_argument("--override", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument(
        "--retries", type=int, default=1, help="per stage, of failures that may pass (default 1)"
    )
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
        request = Request(options.profile, options.override, None, None, options.method,
                          options.seed)  # fmt: skip
        # Before anything is cloned or a server starts: a typing error ends here, in a second.
        for line in check_request(source, request):
            print(f"params.yaml: {line}")
        with cloned(source, options.workspace) as workspace:
            needed_for(stage_graph(workspace), options.target, chosen_method(workspace))
            if options.publish:
                check_publishing(workspace)
            os.chdir(workspace)
            try:
                reproduce(
                    overrides=options.override,
                    profile=options.profile,
                    method=options.method,
                    seed=options.seed,
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
