"""Trains every method anew; gathers what each reaches and costs.

For a project whose shared stages are up to date. DVC writes each method's lock file on the way.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networkx as nx

from pipelines.errors import PipelineError, fail
from pipelines.graph import stage_graph
from pipelines.methods import method_names, stage_file

OUT = Path("results/methods.json")


def own_stages(root: Path, method: str) -> list[str]:
    """The stages of a method in their order, as `dvc repro` names them."""
    graph = stage_graph(root)
    files = nx.get_node_attributes(graph, "file")
    return [node for node in nx.topological_sort(graph) if files[node] == stage_file(method)]


def run_method(root: Path, method: str) -> dict[str, Any]:
    """Runs a method's stages, whether up to date or not, and scores its test predictions.

    Returns:
        `name`, `metrics` as `hoiclip evaluate` prints them, and `seconds`, the CPU time of its
        stages with DVC's own.

    Raises:
        PipelineError: a stage failed, or what it wrote cannot be scored.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for stage in own_stages(root, method):
        _run(root, "dvc", "repro", "--single-item", "--force", "--no-run-cache", stage)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    scored = _run(
        root, "hoiclip.cli", "evaluate", f"runs/{method}/predict/predictions.parquet",
        "data/annotations/test", "--classes", "data/splits/classes.parquet", kept=True,
    )  # fmt: skip
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    said = json.loads((root / f"runs/{method}/predict/method.json").read_text(encoding="utf-8"))
    return {
        "name": said["title"],
        "metrics": json.loads(scored),
        "seconds": round(seconds, 1),
    }


def _run(root: Path, module: str, *arguments: str, kept: bool = False) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root.resolve())},
        stdout=subprocess.PIPE if kept else None,
        text=True,
    )
    if done.returncode:
        raise PipelineError(f"`{module} {' '.join(arguments)}` ended with {done.returncode}")
    return done.stdout if kept else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command in the current folder; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.compare_methods", description=__doc__
    )
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="those to run; all")
    options = parser.parse_args(arguments)
    root, known = Path("."), method_names(".")
    try:
        if unknown := set(options.methods or ()) - set(known):
            raise PipelineError(
                f"no method {sorted(unknown)[0]!r}. Methods: {', '.join(known) or 'none'}"
            )
        rows = [run_method(root, method) for method in options.methods or known]
        machine = f"{platform.machine()}, {os.cpu_count()} processors"
        text = json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n"
        OUT.parent.mkdir(exist_ok=True)
        OUT.write_text(text, encoding="utf-8")
    except (PipelineError, OSError) as error:
        return fail(error)
    print(OUT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
