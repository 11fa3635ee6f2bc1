"""`python -m pipelines.profile NAME`: applies `params/NAME.yaml` to params.yaml.

A profile is an overlay: the nested keys that it sets, and, under the top-level key `extends`, the
name of a profile that is applied before it. Applied and committed, it is an ordinary commit, and
`dvc params diff` says what it changed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.errors import PipelineError, fail
from pipelines.methods import KEY, check_method, method_names
from pipelines.params import apply_changes, parse_overrides, read_overlay

EXTENDS = "extends"


def profile_names(root: str | Path) -> list[str]:
    """Names of the profiles in `root/params/`, sorted."""
    return sorted(path.stem for path in Path(root, "params").glob("*.yaml"))


def read_profile(root: str | Path, name: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """The nested keys that a profile sets, those of the profile that it extends included.

    Args:
        root: the project's folder.
        name: the profile.
        above: profiles that led here, each of which extends the next.

    Raises:
        PipelineError: there is no such profile, a file is not an overlay, or a profile extends
            itself by way of others.
    """
    asks = f"params/{above[-1]}.yaml: {EXTENDS}: " if above else ""
    if name not in profile_names(root):
        listed = ", ".join(profile_names(root)) or "none"
        raise PipelineError(f"{asks}no profile {name!r}. Profiles in params/: {listed}")
    if name in above:
        circle = " -> ".join([*above[above.index(name) :], name])
        raise PipelineError(f"{asks}a circle, {circle}. Leave one of them out")
    file = f"params/{name}.yaml"
    overlay = read_overlay(Path(root, file), file)
    base = overlay.pop(EXTENDS, None)
    return overlay if base is None else _over(read_profile(root, base, (*above, name)), overlay)


def _over(base: Any, overlay: Any) -> Any:
    """`overlay` over `base`: sections are joined, anything else is replaced."""
    if not isinstance(base, dict) or not isinstance(overlay, dict):
        return overlay
    return {**base, **{key: _over(base.get(key), value) for key, value in overlay.items()}}


def apply_profile(root: str | Path, name: str | None, overrides: Sequence[str] = ()) -> list[str]:
    """Applies a profile, then single values, to `root/params.yaml`; all or nothing.

    Args:
        root: the project's folder.
        name: a profile, or None for the single values alone.
        overrides: `key=value` each.

    Returns:
        One line `key: old -> new` per changed value.

    Raises:
        PipelineError: there is no such profile or method, or a key or value does not fit
            params.yaml.
    """
    overlay = {} if name is None else read_profile(root, name)
    changes = parse_overrides(overrides)
    for change in (overlay, changes):
        if KEY in change and method_names(root):
            check_method(root, change[KEY])
    return apply_changes(Path(root, "params.yaml"), overlay, changes)


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
    except (PipelineError, OSError) as error:
        return fail(error)
    print("\n".join(changed) or "params.yaml is already so.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
