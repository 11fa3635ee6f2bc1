"""`python -m pipelines.profile NAME`: applies `params/NAME.yaml` to params.yaml.

A profile is an overlay: the nested keys in which it differs from the committed params.yaml. Applied
and committed, it is an ordinary commit, and `dvc params diff` says what it changed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.errors import PipelineError
from pipelines.params import apply_changes, parse_overrides, read_overlay


def profile_names(root: str | Path) -> list[str]:
    """Names of the profiles in `root/params/`, sorted."""
    return sorted(path.stem for path in Path(root, "params").glob("*.yaml"))


def apply_profile(root: str | Path, name: str | None, overrides: Sequence[str] = ()) -> list[str]:
    """Applies a profile, then single values, to `root/params.yaml`; all or nothing.

    Args:
        root: the project's folder.
        name: a profile, or None for the single values alone.
        overrides: `key=value` each.

    Returns:
        One line `key: old -> new` per changed value.

    Raises:
        PipelineError: there is no such profile, or a key or value does not fit params.yaml.
    """
    overlay = {}
    if name is not None:
        if name not in profile_names(root):
            listed = ", ".join(profile_names(root)) or "none"
            raise PipelineError(f"no profile '{name}'. Profiles in params/: {listed}")
        overlay = read_overlay(Path(root, "params", f"{name}.yaml"))
    return apply_changes(Path(root, "params.yaml"), overlay, parse_overrides(overrides))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command in the current folder; returns the exit code, 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.profile", description=__doc__)
    parser.add_argument("name", nargs="?", help="a profile; without it the profiles are listed")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set one more value"
    )
    options = parser.parse_args(arguments)
    if options.name is None and not options.set:
        print("Profiles in params/:", ", ".join(profile_names(".")) or "none")
        return 2
    try:
        changed = apply_profile(".", options.name, options.set)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(changed) or "params.yaml is already so.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
