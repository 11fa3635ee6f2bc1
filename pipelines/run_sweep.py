"""`python -m pipelines.run_sweep PLAN`: a sweep on this machine, by one command.

The experiments run in clones of the last commit, by workers of a Prefect server that lives as long
as the command. Results that are in `results/runs/` or among this repository's experiments are not
computed again; of a sweep that ran elsewhere against this repository, they are gathered.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, temporary_settings

from pipelines.errors import PipelineError, fail
from pipelines.local_pool import local_pool
from pipelines.plan import Plan, plan_names
from pipelines.results import FOLDER, result_file
from pipelines.sweep import MOST_AT_A_TIME, finish, sweep, take_known
from pipelines.wanted import Wanted, check_experiments, wanted_plan
from pipelines.workspace import cache_folder, cloned, has_uncommitted_changes

_LOG = Path(".dvc", "tmp", "sweep.log")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command in the current folder; returns the exit code, 2 for bad input."""
    options = _parser().parse_args(arguments)
    # The default action would end this process at once and leave server and workers to their leash.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    source = Path.cwd()
    try:
        if options.plan is None and not (options.methods or options.seeds):
            names = ", ".join(plan_names(source)) or "none"
            raise PipelineError(f"name a plan, or --methods or --seeds. Plans in sweeps/: {names}")
        if not 1 <= options.jobs <= MOST_AT_A_TIME:
            raise PipelineError(f"jobs: {options.jobs}, expected 1 to {MOST_AT_A_TIME}")
        plan = wanted_plan(source, options.plan, options.methods, options.seeds, options.only)
        if has_uncommitted_changes(source):
            print("note: uncommitted changes are not part of the sweep", file=sys.stderr)
        with cloned(source) as workspace:
            _sweep(source, workspace, plan, options)
    except (PipelineError, OSError) as error:
        return fail(error)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.run_sweep", description=__doc__)
    parser.add_argument("plan", nargs="?", help="of sweeps/; without one, --methods by --seeds")
    parser.add_argument("--profile", metavar="NAME", help="of params/, applied first")
    parser.add_argument("--methods", nargs="+", default=[], metavar="METHOD")
    parser.add_argument("--override", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="SEED", help="not the plan's")
    parser.add_argument(
        "--only", action="append", default=[], metavar="AXIS=LABEL,...", help="part of the plan"
    )
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (default 2)")
    parser.add_argument("--dry", action="store_true", help="say what is known and what is to run")
    return parser


def _sweep(source: Path, workspace: Path, plan: Plan, options: argparse.Namespace) -> None:
    # Results that are not committed yet count, too.
    for file in (source / FOLDER).glob("*.json"):
        (workspace / FOLDER).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, workspace / FOLDER / file.name)
    keys = check_experiments(workspace, Wanted(plan, options.profile, tuple(options.override)))
    missing = take_known(workspace, plan, keys)
    for name in keys:
        print(f"{name}: {'to run' if name in missing else 'known'}")
    if options.dry:
        return
    try:
        if missing:
            _run(source, workspace, options)
        else:
            print(finish(workspace, plan, keys))
    finally:
        _bring_back(source, workspace, plan)


def _run(source: Path, workspace: Path, options: argparse.Namespace) -> None:
    log = source / _LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    print(f"Server, workers and stages write to {log}")
    with (
        log.open("w", encoding="utf-8") as out,
        local_pool(
            workspace, source, cache_folder(source), options.jobs,
            lambda line: print(line, file=out, flush=True),
        ) as address,
        temporary_settings({PREFECT_API_URL: address}),
    ):  # fmt: skip
        os.chdir(workspace)
        try:
            sweep(
                plan=options.plan,
                profile=options.profile,
                methods=options.methods,
                overrides=options.override,
                seeds=options.seeds,
                only=options.only,
                at_most=options.jobs,
            )
        finally:
            os.chdir(source)
            APILogHandler().flush()  # while there is a server that takes it


def _bring_back(source: Path, workspace: Path, plan: Plan) -> None:
    """Copies results and report into the checkout."""
    files = [result_file(each) for each in plan.experiments]
    files += [Path("results", f"{plan.name}{suffix}") for suffix in (".json", ".md")]
    for file in files:
        if (workspace / file).exists():
            (source / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(workspace / file, source / file)
            if file.suffix == ".md":
                print((source / file).read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
