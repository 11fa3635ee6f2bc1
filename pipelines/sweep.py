"""The Prefect flow `sweep`: the experiments of a plan, each a run of the flow `reproduce`.

`python -m pipelines.run_sweep PLAN` runs one on this machine, with a server and workers of its own;
`prefect deployment run sweep/sweep` on a work pool (docs/cluster.md). A result whose key is known,
in `results/runs/` or as an experiment of the origin, is not computed again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from uuid import UUID, uuid4

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State, StateType
from prefect.deployments import run_deployment
from prefect.runtime import deployment
from pydantic import Field

from pipelines.alive import Watch, may_pass
from pipelines.comparison import write_comparison
from pipelines.errors import PipelineError
from pipelines.gather import gather
from pipelines.output import outlive_reader
from pipelines.plan import Experiment, Plan
from pipelines.request import Name, Overrides
from pipelines.results import keep_result, known_results, origin_results, read_result
from pipelines.wanted import Wanted, check_experiments, wanted_plan
from pipelines.workspace import check_publishing, is_workspace

_POLL_SECONDS = 2.0
# A run that crashed lost its machine or its process, not its way: what it had done is in the cache.
_MOST_STARTS = 2
MOST_AT_A_TIME = 256
SILENT_MINUTES, MOST_SILENT_MINUTES = 15.0, 7 * 24 * 60.0


@flow(name="sweep", persist_result=False)
def sweep(
    plan: Name | None = None,
    profile: Name | None = None,
    methods: list[Name] | None = None,
    overrides: Overrides | None = None,
    seeds: list[Annotated[int, Field(ge=0)]] | None = None,
    only: list[str] | None = None,
    at_most: Annotated[int, Field(ge=1, le=MOST_AT_A_TIME)] = 1,
    runs: str = "reproduce/reproduce",
    silent_minutes: Annotated[float, Field(ge=2, le=MOST_SILENT_MINUTES)] = SILENT_MINUTES,
) -> None:
    """Runs what a plan lacks, then compares.

    Args:
        plan: of `sweeps/`; without one, `methods` by `seeds`.
        profile: a committed profile, applied first; for plans whose rows name none.
        methods: without a plan, the methods to run; by default the chosen one.
        overrides: changes to params.yaml, under those of the rows.
        seeds: instead of the plan's.
        only: `AXIS=LABEL,LABEL`, the part of the plan to run.
        at_most: runs at a time, over all workers.
        runs: the deployment whose runs they are.
        silent_minutes: how long a run may give no sign of life until it counts as crashed.

    Raises:
        PipelineError: a plan, label or value is wrong, before anything is queued; or experiments
            have failed, after the others have run and been compared.
    """
    if deployment.id is not None:
        outlive_reader()
    root = Path.cwd()
    if not is_workspace(root):
        raise PipelineError(f"{root} is not a workspace of the sweep's own. Use the deployment, or "
                            "`python -m pipelines.run_sweep`, which make one")  # fmt: skip
    wanted = wanted_plan(root, plan, methods or (), seeds, only or ())
    asked = Wanted(wanted, profile, tuple(overrides or ()))
    keys = check_experiments(root, asked)
    missing = take_known(root, wanted, keys)
    log = get_run_logger().info
    log("%s: %d of %d experiments are to run", wanted.name, len(missing), len(keys))
    failed: dict[str, str] = {}
    if missing:
        check_publishing(root)
        lacking = {name: keys[name] for name in missing}
        failed = _run(asked, lacking, at_most, runs, silent_minutes)
        take_known(root, wanted, keys)
    create_markdown_artifact(
        key=f"sweep-{wanted.name.lower()}",
        markdown=finish(root, wanted, keys, failed),
        description=wanted.about or "Comparison",
    )
    if failed:
        told = "; ".join(f"{name}: {why.splitlines()[0]}" for name, why in failed.items())
        raise PipelineError(f"{len(failed)} of {len(keys)} experiments failed: {told}")


def take_known(root: Path, plan: Plan, keys: Mapping[str, str]) -> list[str]:
    """Writes each known result as its experiment's; returns the names of those that are unknown."""
    known = known_results(root)
    lacking = set(keys.values()) - set(known)
    if lacking:
        known |= origin_results(root, lacking)
    for experiment in plan.experiments:
        if (value := known.get(keys[experiment.name])) is not None:
            keep_result(root, experiment, value)
    return [name for name, key in keys.items() if key not in known]


def finish(
    root: Path, plan: Plan, keys: Mapping[str, str], failed: Mapping[str, str] | None = None
) -> str:
    """Gathers the results that there are and compares them; returns the report."""
    known = known_results(root)
    there = [each for each in plan.experiments if keys[each.name] in known]
    results = [{**read_result(root, each), "labels": each.labels} for each in there]
    if there:
        gather(root, plan, there)
    return write_comparison(root, plan, results, failed or {})


@dataclass(frozen=True)
class _Live:
    experiment: Experiment
    key: str


def _run(
    asked: Wanted, keys: Mapping[str, str], at_most: int, runs: str, silent_minutes: float
) -> dict[str, str]:
    """Runs experiments; returns why those failed that did."""
    by_name = {each.name: each for each in asked.plan.experiments}
    # The same key twice is one training: the second takes the first one's result.
    waiting = [_Live(by_name[name], key) for name, key in _once(keys).items()]
    live: dict[UUID, _Live] = {}
    starts: Counter[str] = Counter()
    failed: dict[str, str] = {}
    log = get_run_logger().info
    watch = Watch(silent_minutes * 60)
    with get_client(sync_client=True) as client:
        try:
            while waiting or live:
                while waiting and len(live) < at_most:
                    each = waiting.pop(0)
                    starts[each.key] += 1
                    live[_start(asked, each, runs)] = each
                    log("%s: queued", each.experiment.name)
                time.sleep(_POLL_SECONDS)
                for run, state in watch.ended(client, list(live)).items():
                    each = live.pop(run)
                    name = each.experiment.name
                    log("%s: %s %s", name, state.name, state.message or "")
                    if state.type == StateType.CRASHED and starts[each.key] < _MOST_STARTS:
                        waiting.append(each)
                    elif state.type != StateType.COMPLETED:
                        failed[name] = state.message or state.name or "it did not complete"
        # A cancelled sweep ends by a signal, which Prefect raises here as a BaseException.
        except BaseException:
            _cancel(client, live)
            raise
    return failed


def _once(keys: Mapping[str, str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for name, key in keys.items():
        names.setdefault(key, name)
    return {name: key for key, name in names.items()}


def _start(asked: Wanted, each: _Live, runs: str) -> UUID:
    # By it the server knows a request that came through although its answer did not.
    identity = f"sweep-{uuid4()}"
    while True:
        try:
            return _start_once(asked, each, runs, identity)
        except Exception as error:
            if not may_pass(error):
                raise
            get_run_logger().warning("%s is not queued yet: %s", each.experiment.name, error)
        time.sleep(_POLL_SECONDS)


def _start_once(asked: Wanted, each: _Live, runs: str, identity: str) -> UUID:
    request = asked.request(each.experiment)
    run = run_deployment(
        runs,
        parameters={
            **{name: value for name, value in vars(request).items() if value},
            "overrides": list(request.overrides),
            "seed": request.seed,
            "key": each.key,
            "publish": True,
        },
        flow_run_name=each.experiment.name,
        timeout=0,
        idempotency_key=identity,
        # Else it would be a part of this run, and not a deployment's run of its own.
        as_subflow=False,
    )
    assert not isinstance(run, Coroutine)  # that it gives in a running event loop alone
    return run.id


def _cancel(client: SyncPrefectClient, runs: Mapping[UUID, _Live]) -> None:
    for run in runs:
        try:
            client.set_flow_run_state(run, State(type=StateType.CANCELLING))
        except Exception as error:
            get_run_logger().warning("%s was not cancelled: %s", runs[run].experiment.name, error)
