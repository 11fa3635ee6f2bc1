"""`python -m pipelines.submit`: checks what a run is asked for, then queues it.

What `prefect deployment run` takes unchecked but for its form - whether a profile, method or key
of params.yaml exists, whether a value fits - is tried here on the last commit, before anything is
queued or cloned.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound, PrefectException

from pipelines.errors import PipelineError, fail
from pipelines.request import Request, check_request
from pipelines.told import without_secrets


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command in the current folder; returns the exit code, 2 for bad input."""
    options = _parser().parse_args(arguments)
    try:
        for seed in options.seeds or [None]:
            request = Request(
                options.profile, options.override, None, None, options.method, seed
            )  # fmt: skip
            lines = check_request(Path.cwd(), request)
        for line in lines:
            print(f"params.yaml: {line}")
        for seed in options.seeds or [None]:
            print(_queue(options, seed))
    except (PipelineError, OSError) as error:
        return fail(error)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.submit", description=__doc__)
    parser.add_argument("--profile", metavar="NAME", help="of params/, applied first")
    parser.add_argument("--method", metavar="NAME", help="whose stages run")
    parser.add_argument("--override", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--seeds", nargs="+", type=int, default=[], metavar="SEED",
                        help="a run for each")  # fmt: skip
    parser.add_argument("--target", help="a stage; by default all")
    parser.add_argument("--deployment", default="reproduce/reproduce", metavar="FLOW/NAME")
    parser.add_argument(
        "--no-publish", action="store_true", help="keep the outcome in the DVC cache alone"
    )
    return parser


def _queue(options: argparse.Namespace, seed: int | None) -> str:
    """Queues a run; returns what a person is told of it."""
    parameters = {
        "profile": options.profile,
        "method": options.method,
        "overrides": options.override,
        "seed": seed,
        "target": options.target,
        "publish": not options.no_publish,
    }
    try:
        with get_client(sync_client=True) as client:
            found = client.read_deployment_by_name(options.deployment)
            run = client.create_flow_run_from_deployment(found.id, parameters=parameters)
    except ObjectNotFound:
        raise PipelineError(
            f"no deployment {options.deployment!r} at the server. Run: prefect deploy --all"
        ) from None
    except (PrefectException, httpx.HTTPError) as error:
        cause = " ".join(str(error).split())[:300]
        raise PipelineError(without_secrets(f"Prefect's server: {cause}")) from None
    return f"{run.name}: {run.id}; as an experiment: run-{str(run.id)[:8]}"


if __name__ == "__main__":
    sys.exit(main())
