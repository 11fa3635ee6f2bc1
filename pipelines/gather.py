"""Calls a plan's own command with the results of its experiments."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.errors import PipelineError
from pipelines.plan import Experiment, Plan
from pipelines.results import result_file
from pipelines.told import error_line, without_secrets
from pipelines.workspace import environment


def gather(root: str | Path, plan: Plan, experiments: Sequence[Experiment]) -> None:
    """Runs the plan's command, if it has one, with the result files as further words.

    Raises:
        PipelineError: it fails.
    """
    if not plan.gather:
        return
    files = [str(result_file(experiment)) for experiment in experiments]
    program = [sys.executable, *plan.gather[1:]] if plan.gather[0] == "python" else plan.gather
    done = subprocess.run(
        [*program, *files], cwd=root, env=environment(root), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        cause = error_line((done.stderr or done.stdout).splitlines())
        raise PipelineError(without_secrets(f"`{' '.join(plan.gather)}`: {cause}"))
