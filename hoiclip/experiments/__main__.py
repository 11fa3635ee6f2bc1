"""Runs one experiment by its name, in a process of its own; `hoiclip ablation` starts these."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hoiclip.errors import HoiclipError
from hoiclip.experiments.collect import PLANS, plan_of
from hoiclip.experiments.run import run_experiment
from hoiclip.util.stage_main import guarded


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--runs", type=Path, default=Path("results/runs"))
    arguments = parser.parse_args()
    return guarded(lambda: _run(arguments.name, arguments.params, arguments.runs))


def _run(name: str, params: Path, runs: Path) -> None:
    plans = [e for plan in PLANS for e in plan_of(plan, params)]
    found = next((e for e in plans if e.name == name), None)
    if found is None:
        known = ", ".join(sorted({e.name for e in plans}))
        raise HoiclipError(f"no experiment {name!r}; there are {known}")
    run_experiment(found, params, runs / f"{found.name}.json")


if __name__ == "__main__":
    sys.exit(main())
