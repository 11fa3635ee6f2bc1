"""The files that a report is made of, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from hoiclip import schema
from hoiclip.data.annotations import Annotations
from hoiclip.data.images import ImageStore
from hoiclip.errors import InputError
from hoiclip.files import read_json, sha256_file
from hoiclip.vocabulary import Vocabulary

METRICS = ("protocol", "default.full", "default.rare", "default.non_rare", "known_object.full")
RESULTS = ("ablation", "seeds", "honesty")


@dataclass(frozen=True)
class ReportInputs:
    """Where the files of a run are.

    Attributes:
        metrics: `metrics.json`.
        per_class: one row per HOI class, columns of `schema.PER_CLASS`, AP and recall in percent.
        curves: CSV, columns of `schema.CURVES`, in [0, 1].
        predictions: rows of `schema.PREDICTIONS`.
        annotations: folder of the test partition.
        images: folder of the test images.
        vocabulary: rows of `schema.VOCABULARY`.
        params: `params.yaml` as run.
        history: training history, columns of `schema.HISTORY`; may be absent.
        runs: folder with `<stage>/summary.json`; any may be absent.
        results: folder with `ablation.json`, `seeds.json`, `honesty.json`; any may be absent.
    """

    metrics: Path
    per_class: Path
    curves: Path
    predictions: Path
    annotations: Path
    images: Path
    vocabulary: Path
    params: Path
    history: Path
    runs: Path
    results: Path

    @classmethod
    def of_project(cls, root: str | Path) -> ReportInputs:
        """The layout that the pipeline writes under `root` (docs/architecture.md)."""
        root = Path(root)
        return cls(
            metrics=root / "metrics.json",
            per_class=root / "runs/evaluate/per_class.parquet",
            curves=root / "runs/evaluate/pr_curves.csv",
            predictions=root / "runs/predict/predictions.parquet",
            annotations=root / "data/annotations/test",
            images=root / "data/images/test",
            vocabulary=root / "data/vocabulary.parquet",
            params=root / "params.yaml",
            history=root / "runs/train/history.parquet",
            runs=root / "runs",
            results=root / "results",
        )

    def files(self) -> list[Path]:
        """The files, other than images, that the report reads, where they exist."""
        tables = [
            self.annotations / f"{n}.parquet" for n in ("images", "instances", "interactions")
        ]
        listed = [self.params, self.vocabulary, *tables, self.predictions, self.metrics]
        listed += [self.per_class, self.curves, self.history]
        listed += [self.results / f"{name}.json" for name in RESULTS]
        return [path for path in listed if path.is_file()]


@dataclass(frozen=True)
class Run:
    """A run's files in memory; None or an absent key stands for a file that does not exist."""

    inputs: ReportInputs
    metrics: dict[str, Any]
    per_class: pa.Table
    curves: pa.Table
    predictions: pa.Table
    annotations: Annotations
    images: ImageStore
    vocabulary: Vocabulary
    params: str
    history: pa.Table | None
    summaries: dict[str, dict[str, Any]]
    results: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, inputs: ReportInputs) -> Run:
        """Reads every file.

        Raises:
            InputError: a required file is absent, or any file is malformed or contradicts another.
        """
        vocabulary = Vocabulary.read(inputs.vocabulary)
        annotations = Annotations.read(inputs.annotations)
        annotations.check(inputs.annotations, vocabulary)
        run = cls(
            inputs,
            _read_object(inputs.metrics),
            schema.read_table(inputs.per_class, schema.PER_CLASS),
            _read_curves(inputs.curves),
            schema.read_table(inputs.predictions, schema.PREDICTIONS),
            annotations,
            ImageStore(inputs.images),
            vocabulary,
            _read_text(inputs.params),
            schema.read_table(inputs.history, schema.HISTORY) if inputs.history.exists() else None,
            _read_summaries(inputs.runs),
            {
                name: _read_object(path)
                for name in RESULTS
                if (path := inputs.results / f"{name}.json").exists()
            },
        )
        run._check()
        return run

    @cached_property
    def hashes(self) -> list[tuple[str, str]]:
        """Path below the project and SHA-256 of each of `ReportInputs.files`."""
        root = self.inputs.params.parent
        return [
            (str(path.relative_to(root) if path.is_relative_to(root) else path), sha256_file(path))
            for path in self.inputs.files()
        ]

    def _check(self) -> None:
        for key in METRICS:
            found = self.metrics.get(key.partition(".")[0])
            for part in key.split(".")[1:]:
                found = isinstance(found, dict) and part in found
            if not found:
                raise InputError(self.inputs.metrics, "missing", key=key, fix="Run evaluate again")
        subsets = [set(self.metrics[setting]) for setting in ("default", "known_object")]
        if subsets[0] != subsets[1]:
            problem = f"other subsets than default: {', '.join(sorted(subsets[0] ^ subsets[1]))}"
            raise InputError(self.inputs.metrics, problem, key="known_object")
        for key, known in (
            ("image_id", self.annotations.images["image_id"].to_numpy()),
            ("hoi", np.arange(self.vocabulary.num_hois)),
        ):
            values = self.predictions[key].to_numpy()
            unknown = np.flatnonzero(~np.isin(values, known))
            if unknown.size:
                problem = f"{values[unknown[0]]} is not in the test partition or vocabulary"
                raise InputError(
                    self.inputs.predictions,
                    problem,
                    row=int(unknown[0]),
                    key=key,
                    fix="Run predict again",
                )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(path, "no such file") from None
    except UnicodeDecodeError as error:
        raise InputError(path, f"not UTF-8 ({error})") from None


def _read_object(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(path, f"a JSON {type(value).__name__}, expected an object")
    return value


def _read_curves(path: Path) -> pa.Table:
    if not path.is_file():
        raise InputError(path, "no such file", fix="Run evaluate")
    try:
        return csv.read_csv(path).select(schema.CURVES.names).cast(schema.CURVES)
    except (pa.ArrowInvalid, KeyError) as error:
        names = ", ".join(schema.CURVES.names)
        raise InputError(path, f"not a table of {names} ({error})") from None


def _read_summaries(runs: Path) -> dict[str, dict[str, Any]]:
    return {path.parent.name: _read_object(path) for path in sorted(runs.glob("*/summary.json"))}
