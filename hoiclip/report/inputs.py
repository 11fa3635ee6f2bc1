"""The files that a report is made of, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hoiclip.core import schema
from hoiclip.core.files import sha256_file
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.errors import InputError
from hoiclip.evaluation.ap.protocols import V_COCO
from hoiclip.images.store import ImageStore
from hoiclip.methods.summary import MethodSummary, method_file
from hoiclip.report.reading import (
    holds,
    read_csv,
    read_hois,
    read_object,
    read_optional,
    read_summaries,
    read_text,
)

METRICS = ("protocol", "default.full", "default.rare", "default.non_rare", "known_object.full")
VCOCO_METRICS = (
    "vcoco.ap_role_scenario_1",
    "vcoco.ap_role_scenario_2",
    "vcoco.ap_role_scenario_1_25",
    "vcoco.ap_role_scenario_2_25",
    "vcoco.ap_agent",
    "missing_roles",
    "unlabelled_people",
)
DIAGNOSIS = ("protocol", "map", "lost", "delta_ap", "share", "count", "pair_recall")
# Shared stages around those of the method.
BEFORE = ("dataset", "splits", "weights", "text_embeddings")
AFTER = ("evaluate",)
RESULTS = ("ablation", "seeds", "methods", "honesty", "distillation")


@dataclass(frozen=True)
class ReportInputs:
    """Where the files of a run are.

    Attributes:
        metrics: `metrics.json`.
        per_class: one row per HOI class, columns of `schema.PER_CLASS`, AP and recall in percent.
        per_verb: CSV, columns of `schema.PER_VERB`, AP in percent.
        curves: CSV, columns of `schema.CURVES`, in [0, 1].
        diagnosis: `diagnosis.json`, what each kind of error costs.
        predictions: rows of `schema.PREDICTIONS`.
        annotations: folder of the test partition.
        images: folder of the test images.
        vocabulary: rows of `schema.VOCABULARY`.
        params: `params.yaml` as run.
        findings: rows of `schema.FINDINGS`, what is odd about the data; may be absent.
        train_pairs: rows of `schema.INTERACTIONS` trained on; may be absent.
        history: training history, columns of `schema.HISTORY`; may be absent.
        method: name of the method that was run.
        runs: folder with `<stage>/summary.json` of the shared stages, any of which may be absent,
            and the method's `MethodSummary`.
        results: folder with `ablation.json`, `seeds.json`, `methods.json`, `honesty.json`,
            `distillation.json`; any may be absent.
    """

    metrics: Path
    per_class: Path
    per_verb: Path
    curves: Path
    diagnosis: Path
    predictions: Path
    annotations: Path
    images: Path
    vocabulary: Path
    params: Path
    findings: Path
    train_pairs: Path
    history: Path
    method: str
    runs: Path
    results: Path

    @classmethod
    def of_project(cls, root: str | Path, method: str) -> ReportInputs:
        """The layout that the pipeline writes under `root` (docs/architecture.md)."""
        root = Path(root)
        of_method = root / "runs" / method
        return cls(
            metrics=root / "metrics.json",
            per_class=root / "runs/evaluate/per_class.parquet",
            per_verb=root / "runs/evaluate/per_verb.csv",
            curves=root / "runs/evaluate/pr_curves.csv",
            diagnosis=root / "runs/evaluate/diagnosis.json",
            predictions=of_method / "predict/predictions.parquet",
            annotations=root / "data/annotations/test",
            images=root / "data/images/test",
            vocabulary=root / "data/vocabulary.parquet",
            params=root / "params.yaml",
            findings=root / "data/findings.parquet",
            train_pairs=root / "data/splits/train/interactions.parquet",
            history=of_method / "train/history.parquet",
            method=method,
            runs=root / "runs",
            results=root / "results",
        )

    def files(self) -> list[Path]:
        """The files, other than images, that the report reads, where they exist."""
        tables = [
            self.annotations / f"{n}.parquet" for n in ("images", "instances", "interactions")
        ]
        listed = [self.params, self.vocabulary, *tables, self.predictions, self.metrics]
        listed += [self.per_class, self.per_verb, self.curves, self.diagnosis]
        listed += [self.findings, self.train_pairs, self.history]
        listed += [self.runs / stage / "summary.json" for stage in (*BEFORE, *AFTER)]
        listed += [method_file(self.runs, self.method)]
        listed += [self.results / f"{name}.json" for name in RESULTS]
        return [path for path in listed if path.is_file()]


@dataclass(frozen=True)
class Run:
    """A run's files in memory; None or an absent key stands for a file that does not exist."""

    inputs: ReportInputs
    metrics: dict[str, Any]
    per_class: pa.Table
    per_verb: pa.Table
    curves: pa.Table
    diagnosis: dict[str, Any]
    predictions: pa.Table
    annotations: Annotations
    images: ImageStore
    vocabulary: Vocabulary
    params: str
    findings: pa.Table | None
    train_hois: np.ndarray | None
    history: pa.Table | None
    summaries: dict[str, dict[str, Any]]
    method: MethodSummary
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
            read_object(inputs.metrics),
            schema.read_table(inputs.per_class, schema.PER_CLASS),
            read_csv(inputs.per_verb, schema.PER_VERB),
            read_csv(inputs.curves, schema.CURVES),
            read_object(inputs.diagnosis),
            schema.read_table(inputs.predictions, schema.PREDICTIONS),
            annotations,
            ImageStore(inputs.images),
            vocabulary,
            read_text(inputs.params),
            read_optional(inputs.findings, schema.FINDINGS),
            read_hois(inputs.train_pairs),
            read_optional(inputs.history, schema.HISTORY),
            read_summaries(inputs.runs, (*BEFORE, *AFTER)),
            MethodSummary.read(inputs.runs, inputs.method),
            {
                name: read_object(path)
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
        is_vcoco = self.metrics.get("protocol") == V_COCO
        keys = METRICS + (VCOCO_METRICS if is_vcoco else ())
        for path, value, needed in (
            (self.inputs.metrics, self.metrics, keys),
            (self.inputs.diagnosis, self.diagnosis, DIAGNOSIS),
        ):
            missing = next((key for key in needed if not holds(value, key)), None)
            if missing is not None:
                raise InputError(path, "missing", key=missing, fix="Run evaluate again")
        if self.diagnosis["protocol"] != self.metrics["protocol"]:
            problem = f"{self.diagnosis['protocol']!r}, but {self.inputs.metrics} says "
            problem += repr(self.metrics["protocol"])
            raise InputError(
                self.inputs.diagnosis, problem, key="protocol", fix="Run evaluate again"
            )
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
