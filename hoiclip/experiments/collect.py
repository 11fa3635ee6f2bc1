"""Gathers results of a plan's experiments, one JSON file each, into the file that the report reads.

An experiment's file holds `labels` (by axis of the plan), `seed`, `title`, `what`, `seconds`,
`cpu_seconds`, `machine` and what the plan keeps, as `metrics` and `steps`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hoiclip.ablation import ABLATION_ROWS
from hoiclip.core.files import read_json
from hoiclip.errors import InputError
from hoiclip.experiments.measure import check_equal

_TEACHER = "teacher"


def read_results(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The results, in the order of the files.

    Raises:
        InputError: a file is absent or no result of an experiment.
    """
    found = []
    for path in paths:
        if not path.exists():
            raise InputError(path, "missing", fix="Run the plan's sweep")
        value = read_json(path)
        if not isinstance(value, dict) or not isinstance(value.get("labels"), dict):
            raise InputError(path, "holds no result of an experiment", key="labels")
        found.append({**value, "path": path})
    return found


def gather_ablation(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The ablation's rows in the paper's order, by length, and their data set."""
    order, rows = list(ABLATION_ROWS), []
    for value in results:
        labels = value["labels"]
        if labels.get("row") not in order:
            problem = f"{labels.get('row')!r}, expected one of {', '.join(order)}"
            raise InputError(value["path"], problem, key="labels.row")
        common = {key: value.get(key) for key in ("seed", "steps", "seconds", "machine", "metrics")}
        rows.append({**common, "row": labels["row"], "length": labels.get("length", "full")})
    rows.sort(key=lambda row: (row["length"], order.index(row["row"]), row["seed"] or 0))
    sources = {value.get("dataset") for value in results}
    return {"dataset": sources.pop() if len(sources) == 1 else None, "rows": rows}


def gather_seeds(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The default's results by seed."""
    keys = ("seed", "steps", "seconds", "cpu_seconds", "k", "machine", "metrics")
    return {"runs": [{key: value.get(key) for key in keys} for value in results]}


def gather_named(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Rows by name, with the CPU seconds of what was trained or measured for them."""
    return {"machine": _machine(results), "rows": [_named(value) for value in results]}


def gather_distillation(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The teacher's rows, then the students, each held against the best row without one.

    Raises:
        InputError: the teacher's rows are not among the results.
        HoiclipError: the teacher alone is not CLIP on crops alone.
    """
    teachers = [value for value in results if value["labels"].get("row") == _TEACHER]
    if not teachers:
        problem = "no results of the row `teacher`, which students are held against"
        raise InputError(results[0]["path"].parent if results else Path("results"), problem)
    rows = [
        {**row, "seconds": row.get("cpu_seconds")}
        for row in teachers[0]["rows"]
    ]  # fmt: skip
    for row in rows:
        row.pop("cpu_seconds", None)
    check_equal(*(row["metrics"]["default"] for row in rows[:2]))
    best = max(_full(row) for row in rows)
    for value in results:
        if value not in teachers:
            extra = {key: value.get(key) for key in ("agreement", "steps")}
            rows.append({**_named(value), **extra, "beats_teacher": _full(value) > best})
    return {"machine": _machine(results), "rows": rows}


def _named(value: dict[str, Any]) -> dict[str, Any]:
    row = {"name": value.get("name") or value.get("title"), "metrics": value.get("metrics")}
    if value.get("what"):
        row["what"] = value["what"]
    return {**row, "seed": value.get("seed"), "seconds": value.get("cpu_seconds")}


def _full(row: dict[str, Any]) -> float:
    full: float = row["metrics"]["default"]["full"]
    return full


def _machine(results: Sequence[dict[str, Any]]) -> str | None:
    """Where all of the results were computed; None where they differ."""
    machines = {value.get("machine") for value in results}
    return machines.pop() if len(machines) == 1 else None


GATHERERS: dict[str, Callable[[Sequence[dict[str, Any]]], dict[str, Any]]] = {
    "ablation": gather_ablation,
    "seeds": gather_seeds,
    "honesty": gather_named,
    "methods": gather_named,
    "distillation": gather_distillation,
}
