"""Committed results of longer commands, as rows to print."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hoiclip.ablation import ABLATION_ROWS
from hoiclip.errors import InputError
from hoiclip.report.published import HOICLIP, ROWS

SUBSETS = {"full": "Full", "rare": "Rare", "non_rare": "Non-rare"}


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Mean, lowest and highest; None of nothing."""
    if not values:
        return None
    return {"mean": sum(values) / len(values), "low": min(values), "high": max(values)}


def ablation_groups(ablation: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """Rows of the ablation over their seeds, by length, then in the paper's order.

    Args:
        ablation: content of `ablation.json`; its `dataset` is for the page to read.
        path: where it was read, for messages.

    Returns:
        For each (row, length): `label`, `what`, `length`, `seeds`, `values` (subset → list),
        `spread` (subset → `spread`), `beats` (whether its lowest seed is above the highest of the
        row before at that length; None where one of the two has fewer than two seeds), `steps`,
        `seconds` (sum) and `published` (three numbers).

    Raises:
        InputError: a key is missing or a row has an unknown name.
    """
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for index, row in enumerate(_rows(ablation, "rows", path)):
        if row.get("row") not in ABLATION_ROWS:
            known = ", ".join(ABLATION_ROWS)
            problem = f"{row.get('row')!r}, expected one of {known}"
            raise InputError(path, problem, row=index, key="row")
        row = {**row, "values": _subsets(row, path, index)}
        grouped.setdefault((str(row.get("length", "full")), row["row"]), []).append(row)
    groups, before = [], None
    for length in sorted({length for length, _ in grouped}):
        before = None
        for name, listed in ABLATION_ROWS.items():
            if (length, name) not in grouped:
                before = None
                continue
            group = _group(grouped[length, name])
            default = ROWS[listed.published].figures[HOICLIP]["default"]
            group |= {"label": listed.label, "what": listed.what, "length": length}
            group["published"] = [default[subset] for subset in SUBSETS]
            group["beats"] = _beats(group["values"]["full"], before)
            before = group["values"]["full"]
            groups.append(group)
    return groups


def seeds_group(seeds: dict[str, Any], path: Path) -> dict[str, Any]:
    """The runs of `seeds.json` as one group, and each as a row under `runs`.

    Raises:
        InputError: a key is missing.
    """
    runs = [
        {**run, "values": _subsets(run, path, index)}
        for index, run in enumerate(_rows(seeds, "runs", path))
    ]
    return {**_group(runs), "runs": sorted(runs, key=lambda run: str(run.get("seed")))}


def named_rows(content: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """The rows of `methods.json`, `honesty.json` or `distillation.json`, each with `values`.

    Raises:
        InputError: a key is missing.
    """
    rows = _rows(content, "rows", path)
    for index, row in enumerate(rows):
        if not isinstance(row.get("name"), str):
            raise InputError(path, f"{row.get('name')!r}, expected a text", row=index, key="name")
    return [{**row, "values": _subsets(row, path, index)} for index, row in enumerate(rows)]


def _group(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    values = {
        subset: [row["values"][subset] for row in rows if row["values"][subset] is not None]
        for subset in SUBSETS
    }
    seconds = [row["seconds"] for row in rows if row.get("seconds") is not None]
    return {
        "seeds": sorted({row["seed"] for row in rows if row.get("seed") is not None}),
        "values": values,
        "spread": {subset: spread(numbers) for subset, numbers in values.items()},
        "steps": next((row["steps"] for row in rows if row.get("steps") is not None), None),
        "seconds": sum(seconds) if seconds else None,
    }


def _beats(values: Sequence[float], before: Sequence[float] | None) -> bool | None:
    if before is None or len(values) < 2 or len(before) < 2:
        return None
    return min(values) > max(before)


def _rows(value: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    rows = value.get(key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(path, "missing, or not a list of objects", key=key)
    return rows


def _subsets(row: dict[str, Any], path: Path, index: int) -> dict[str, float | None]:
    """Full, rare and non-rare of a row's metrics: as in metrics.json, or its `default` part."""
    metrics = row.get("metrics")
    if isinstance(metrics, dict):
        metrics = metrics.get("default", metrics)
    if not isinstance(metrics, dict) or "full" not in metrics:
        raise InputError(path, "holds no mAP", row=index, key="metrics")
    return {subset: metrics.get(subset) for subset in SUBSETS}


READERS: dict[str, Callable[[dict[str, Any], Path], Any]] = {
    "ablation": ablation_groups,
    "seeds": seeds_group,
    "methods": named_rows,
    "honesty": named_rows,
    "distillation": named_rows,
}
