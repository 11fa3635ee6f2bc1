"""`python -m pipelines.adopt EXPERIMENT`: makes a run's experiment a commit of this checkout.

The experiment is fetched from the origin, its params, locks, metrics and results are committed on
top of the last commit, and its outputs are taken from the DVC cache where that has them. Then
`dvc params diff HEAD~1` and `dvc metrics diff HEAD~1` compare it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.errors import PipelineError, fail
from pipelines.workspace import dvc, git_output, has_uncommitted_changes


def adopt(root: str | Path, name: str, message: str | None = None, remote: str = "origin") -> str:
    """Commits an experiment; all or nothing.

    Args:
        root: a checkout without changes.
        name: as `dvc exp show` lists it.
        message: of the commit; by default it names the experiment.
        remote: where it is fetched from; a local experiment of the name is taken, too.

    Returns:
        The commit.

    Raises:
        PipelineError: the checkout has changes, there is no such experiment, or the last commit
            and the experiment change the same lines.
    """
    if has_uncommitted_changes(root):
        raise PipelineError(f"{root} has uncommitted changes. Commit or stash them first")
    revision = _fetched(root, name, remote)
    try:
        git_output(root, "cherry-pick", "--no-commit", revision)
    except PipelineError:
        git_output(root, "reset", "--quiet", "--hard", "HEAD")
        start = git_output(root, "rev-parse", f"{revision}^")
        raise PipelineError(
            f"{name} changes what was changed here since {start[:10]}, from which it started. "
            f"Run: git switch --create {name} {start[:10]}, then this command again"
        ) from None
    if not git_output(root, "status", "--porcelain", "--untracked-files=no"):
        raise PipelineError(f"{name}: everything that it changes is already committed here")
    git_output(root, "commit", "--quiet", "--message", message or f"Take over experiment {name}")
    return git_output(root, "rev-parse", "HEAD")


def _fetched(root: str | Path, name: str, remote: str) -> str:
    """The commit of an experiment."""
    where = root if not git_output(root, "remote") else remote
    listed = git_output(root, "ls-remote", str(where), f"refs/exps/*/{name}").splitlines()
    if not listed:
        raise PipelineError(f"no experiment {name!r} at {where}. Run: dvc exp list --all {where}")
    if len(listed) > 1:
        raise PipelineError(f"{name!r}: {len(listed)} experiments of that name, of several commits")
    revision, reference = listed[0].split()
    git_output(root, "fetch", "--quiet", str(where), reference)
    return revision


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command in the current folder; returns the exit code, 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.adopt", description=__doc__)
    parser.add_argument("experiment", help="as dvc exp show, or the run's log, names it")
    parser.add_argument("--message", help="of the commit")
    parser.add_argument("--remote", default="origin", help="where it is fetched from")
    options = parser.parse_args(arguments)
    try:
        commit = adopt(".", options.experiment, options.message, options.remote)
    except (PipelineError, OSError) as error:
        return fail(error)
    # Outputs of methods that were not run are in no cache; the commit does not need them.
    subprocess.run(dvc("checkout", "--quiet", "--allow-missing"), check=False)
    print(f"{commit[:10]}: compare by dvc params diff HEAD~1, dvc metrics diff HEAD~1")
    return 0


if __name__ == "__main__":
    sys.exit(main())
