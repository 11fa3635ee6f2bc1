"""The comparative report of a sweep: means and spreads over seeds."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.plan import Plan

_PREFERRED = "default"


def spread(values: Sequence[float]) -> dict[str, float | int | None]:
    """`n`, mean, sample standard deviation (None of one value), lowest and highest; n >= 1."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {
        "n": len(values),
        "mean": statistics.fmean(values),
        "sd": deviation,
        "low": min(values),
        "high": max(values),
    }


def compare(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Groups results that differ in their seed alone.

    Args:
        results: of one plan, as `pipelines.results` writes them.

    Returns:
        For each group, in the order of its first result: `labels`, `title`, `seeds` and, by dotted
        name of a metric, its `spread` over the seeds that have it.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        groups.setdefault(json.dumps(result["labels"]), []).append(result)
    rows = []
    for members in groups.values():
        figures: dict[str, list[float]] = {}
        for member in members:
            for name, value in _shown(member.get("metrics")):
                figures.setdefault(name, []).append(value)
        rows.append(
            {
                "labels": dict(members[0]["labels"]),
                "title": members[0]["title"],
                "seeds": [member["seed"] for member in members],
                "metrics": {name: spread(values) for name, values in figures.items()},
            }
        )
    return rows


def _shown(metrics: Any) -> Iterator[tuple[str, float]]:
    """The figures of the default setting, where there is one; all others else."""
    if isinstance(metrics, Mapping) and isinstance(metrics.get(_PREFERRED), Mapping):
        metrics = {_PREFERRED: metrics[_PREFERRED]}
    yield from _leaves(metrics, "")


def _leaves(value: Any, name: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value


def table(plan: Plan, rows: Sequence[Mapping[str, Any]], failed: Mapping[str, str]) -> str:
    """The report in Markdown.

    Args:
        plan: what was compared.
        rows: as from `compare`.
        failed: experiments without a result, and why.
    """
    axes = list(dict.fromkeys(axis for row in rows for axis in row["labels"]))
    names = list(dict.fromkeys(name for row in rows for name in row["metrics"]))
    head = [*axes, "seeds", *names]
    lines = [f"# {plan.name}", "", *([plan.about, ""] if plan.about else [])]
    lines += ["Mean ± standard deviation over seeds (lowest to highest).", ""]
    lines += [_line(head), _line(["---"] * len(head))]
    for row in rows:
        seeds = ", ".join("-" if seed is None else str(seed) for seed in row["seeds"])
        figures = [_told(row["metrics"].get(name)) for name in names]
        lines.append(_line([*(row["labels"].get(axis, "") for axis in axes), seeds, *figures]))
    if failed:
        lines += ["", "Without a result:", ""]
        lines += [f"- {name}: {' '.join(why.split())}" for name, why in failed.items()]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _told(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "-"
    if figure["sd"] is None:
        return f"{figure['mean']:.2f}"
    ends = f"{figure['low']:.2f} to {figure['high']:.2f}"
    return f"{figure['mean']:.2f} ± {figure['sd']:.2f} ({ends})"


def write_comparison(
    root: str | Path,
    plan: Plan,
    results: Sequence[Mapping[str, Any]],
    failed: Mapping[str, str],
) -> str:
    """Writes `results/<plan>.md` and, for a plan that gathers nothing, `results/<plan>.json`.

    Returns:
        The report in Markdown.
    """
    rows = compare(results)
    text = table(plan, rows, failed)
    folder = Path(root, "results")
    folder.mkdir(exist_ok=True)
    (folder / f"{plan.name}.md").write_text(text, encoding="utf-8")
    if not plan.gather:
        content = json.dumps({"about": plan.about, "rows": rows}, indent=2)
        (folder / f"{plan.name}.json").write_text(content + "\n", encoding="utf-8")
    return text
