"""The files of an evaluation: metrics, a table per class, and curves to plot."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from hoiclip.core import schema
from hoiclip.core.files import atomic_file
from hoiclip.evaluation.ap.average_precision import exact_needed
from hoiclip.evaluation.ap.protocols import PROTOCOLS
from hoiclip.evaluation.hico import SETTINGS, HicoResult

CURVE_STEPS = 100


def metrics(result: HicoResult) -> dict[str, Any]:
    """Mean average precision in percent, under keys that stay the same from run to run.

    Returns:
        `protocol` (name), `recall_steps` where they are not the protocol's own, `default` and
        `known_object` (each subset's mean AP: full, rare, non_rare, and unseen and seen where there
        are unseen classes; null for a subset without a class that counts), and `recall` (percent of
        the annotated pairs whose two boxes some prediction covers, whatever its class; null without
        annotations).
    """
    rules = result.protocol
    values: dict[str, Any] = {"protocol": rules.name}
    if rules.recall_steps != PROTOCOLS[rules.name].recall_steps:
        values["recall_steps"] = rules.recall_steps
    for setting in SETTINGS:
        average_precision = result.scores.average_precision[setting]
        values[setting] = {
            subset: _percent(average_precision[result.counted(setting, subset)])
            for subset in result.subsets()
        }
    values["recall"] = _percent(np.array([result.scores.pair_recall]))
    return values


def _percent(values: np.ndarray) -> float | None:
    mean = float(np.mean(values)) * 100 if len(values) else math.nan
    return None if math.isnan(mean) else mean


def per_class_table(result: HicoResult) -> pa.Table:
    """One row per HOI class, columns of `schema.PER_CLASS`; AP and recall in percent, or null."""
    scores = result.scores

    def percent(values: np.ndarray) -> pa.Array:
        return pa.array(values * 100, mask=np.isnan(values))

    columns = {
        "hoi": np.arange(len(result.names)),
        "name": list(result.names),
        "train_instances": result.train_instances,
        "rare": result.rare,
        "seen": result.seen,
        "test_instances": scores.ground_truths,
        "ap_default": percent(scores.average_precision["default"]),
        "ap_known_object": percent(scores.average_precision["known_object"]),
        "max_recall": percent(scores.max_recall),
    }
    return pa.table(columns).cast(schema.PER_CLASS)


def curves_table(result: HicoResult) -> pa.Table:
    """Mean interpolated precision (Default) at 101 recalls, columns of `schema.CURVES`.

    Recall and precision are in [0, 1]; a subset without a class that counts is null.
    """
    curves = result.scores.curves["default"]
    precision = curves.at_recall(exact_needed(curves.ground_truths, CURVE_STEPS))
    columns: dict[str, Any] = {"recall": np.arange(CURVE_STEPS + 1) / CURVE_STEPS}
    for subset in schema.CURVES.names[1:]:
        counted = result.counted("default", subset)
        empty = [None] * (CURVE_STEPS + 1)
        columns[subset] = precision[counted].mean(axis=0) if counted.any() else empty
    return pa.table(columns, schema=schema.CURVES)


def write_outputs(folder: str | Path, result: HicoResult, provenance: dict[str, Any]) -> None:
    """Writes `per_class.parquet`, `per_class.csv` and `pr_curves.csv` into `folder`."""
    folder = Path(folder)
    table = per_class_table(result)
    schema.write_table(folder / "per_class.parquet", table, schema.PER_CLASS, provenance)
    for name, rows in (("per_class.csv", table), ("pr_curves.csv", curves_table(result))):
        with atomic_file(folder / name) as aside:
            csv.write_csv(rows, aside)
