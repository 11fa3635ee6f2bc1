"""What an evaluation says about predictions, by one protocol: its metrics and its files."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from hoiclip.core import schema
from hoiclip.core.files import atomic_file, write_json
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.evaluation.ap.protocols import (
    HICO,
    V_COCO,
    Protocol,
    ProtocolName,
    RecallSteps,
    protocol_named,
)
from hoiclip.evaluation.ap.tables import BoxFrame
from hoiclip.evaluation.diagnosis import diagnose
from hoiclip.evaluation.hico import HicoResult, evaluate_hico
from hoiclip.evaluation.outputs import metrics, write_outputs
from hoiclip.evaluation.per_verb import per_verb_table
from hoiclip.evaluation.vcoco import VcocoResult, evaluate_vcoco
from hoiclip.evaluation.vcoco_diagnosis import diagnose_vcoco
from hoiclip.evaluation.vcoco_truth import INCLUSIVE_OFFSET


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Evaluation (`evaluate` in params.yaml).

    Attributes:
        protocol: `hico` (the original), `hoiclip` (the released port), `pocket` (the library behind
            UPT and PViC), or `vcoco` (of V-COCO alone).
        recall_steps: at which precision is taken for the AP of an HOI class; null for the
            protocol's own.
    """

    protocol: ProtocolName
    recall_steps: RecallSteps | None = None

    @property
    def is_vcoco(self) -> bool:
        """Whether roles are scored."""
        return self.protocol == V_COCO

    @property
    def hoi_rules(self) -> Protocol:
        """By which HOI classes are scored; beside roles it is the original's.

        Raises:
            ValueError: unknown protocol or recall steps.
        """
        name = HICO.name if self.is_vcoco else self.protocol
        return protocol_named(name, self.recall_steps)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores by one protocol, and where the rest of the AP goes.

    Attributes:
        protocol: `hico`, `hoiclip`, `pocket` or `vcoco`.
        vocabulary: the classes.
        hico: scores of the HOI classes, by the rules of `hico` where the protocol is `vcoco`; None
            for predictions without HOI classes.
        vcoco: scores of the action-roles, where the protocol is `vcoco`, as for what follows.
        missing_roles: whether the annotations can say that a role's object is not visible; None
            where the question does not arise.
        unlabelled_people: whether the people whom V-COCO does not label were known.
        diagnosis: see `oracle.Oracle.diagnosis`; None where it was not asked for.
        input_info: how the predictions were read from a file; empty for a table.
        notes: what a person should know, one line each.
    """

    protocol: str
    vocabulary: Vocabulary
    hico: HicoResult | None
    vcoco: VcocoResult | None = None
    missing_roles: bool | None = None
    unlabelled_people: bool = False
    diagnosis: dict[str, Any] | None = None
    input_info: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def is_zero(self) -> bool:
        """Whether no class or role that is annotated has any average precision."""
        if self.vcoco is not None:
            values = np.concatenate(list(self.vcoco.role_ap.values()))
            return not np.isnan(values).all() and np.nansum(values) == 0
        return self.hico is not None and metrics(self.hico)["default"]["full"] == 0

    def metrics(self) -> dict[str, Any]:
        """Means in percent, as `metrics.json` has them; null where undefined.

        Returns:
            `protocol`; `default` and `known_object`, each with `full`, `rare`, `non_rare` and,
            where classes are unseen, `unseen` and `seen`; `recall` (see `outputs.metrics`); all
            three null without HOI classes. For `vcoco` also `vcoco`, with `ap_role_scenario_1`,
            `ap_role_scenario_2`, `ap_role_scenario_1_25`, `ap_role_scenario_2_25` and `ap_agent`
            (see `vcoco.VcocoResult.metrics`), `missing_roles` and `unlabelled_people`; its
            `default`, `known_object` and `recall` are by the rules of `hico`, which is no published
            measure of V-COCO. `input` where predictions were read from a file: `format`, `boxes`,
            `rows`, `images`, `images_without_predictions` and, of HOIA, `numbering`.
        """
        values: dict[str, Any] = {"default": None, "known_object": None, "recall": None}
        if self.hico is not None:
            values = metrics(self.hico)
        values["protocol"] = self.protocol
        if self.input_info:
            values["input"] = self.input_info
        if self.vcoco is None:
            return values
        return values | {
            **self.vcoco.metrics(),
            "missing_roles": self.missing_roles,
            "unlabelled_people": self.unlabelled_people,
        }

    def write(self, folder: str | Path) -> None:
        """Writes `metrics.json`, what `write_tables` does and, of V-COCO, `per_role.csv`."""
        folder = Path(folder)
        self.write_tables(folder)
        if self.vcoco is not None:
            _write_csv(folder / "per_role.csv", pa.Table.from_pylist(self.vcoco.per_role()))
        write_json(folder / "metrics.json", self.metrics())

    def write_tables(self, folder: str | Path) -> None:
        """Writes, of HOI classes, `per_class.*`, `pr_curves.csv` and `per_verb.csv`, and
        `diagnosis.json` where there is one.

        The keys of `diagnosis.json` are `protocol`, `map`, `lost`, `delta_ap`, `share`, `count` and
        `pair_recall`; `delta_ap`, `share` and `count` have one key per kind of error.
        """
        folder = Path(folder)
        if self.hico is not None:
            write_outputs(folder, self.hico, {"protocol": self.protocol})
            table = per_verb_table(self.hico, self.vcoco, self.vocabulary)
            _write_csv(folder / "per_verb.csv", table)
        if self.diagnosis is not None:
            write_json(folder / "diagnosis.json", self.diagnosis)
        else:
            # Of an earlier evaluation into the same folder, it would stand beside other numbers.
            (folder / "diagnosis.json").unlink(missing_ok=True)


def evaluate_partition(
    predictions: pa.Table,
    folder: str | Path,
    vocabulary: Vocabulary,
    classes: pa.Table,
    config: EvaluateConfig,
    *,
    boxes: BoxFrame = "schema",
) -> Evaluation:
    """Scores and diagnoses predictions against a partition's folder.

    Args:
        predictions: rows of `schema.PREDICTIONS`; boxes and scores may be of any floating type.
        folder: see `Annotations.read`; `unlabelled_people` and `outside_vocabulary` are of use to
            `vcoco` alone.
        vocabulary: the classes.
        classes: rows of `schema.CLASSES`.
        config: by which protocol.
        boxes: `schema` for predicted boxes as the schema has them, `protocol` for boxes in the
            protocol's own convention.

    Raises:
        InputError: a table is absent or malformed, one contradicts another, or the protocol does
            not fit the vocabulary.
        ValueError: unknown protocol, box frame or recall steps.
    """
    folder = Path(folder)
    annotations = Annotations.read(folder)
    annotations.check(folder, vocabulary)
    if not config.is_vcoco:
        return evaluate_hois(predictions, annotations, vocabulary, classes, config, boxes=boxes)
    roles = evaluate_vcoco(predictions, annotations, vocabulary, boxes=boxes)
    diagnosis = diagnose_vcoco(predictions, annotations, vocabulary, boxes=boxes)
    beside = predictions if boxes == "schema" else _in_schema(predictions)
    return replace(
        evaluate_hois(beside, annotations, vocabulary, classes, config),
        vcoco=roles,
        missing_roles=annotations.has_missing_roles,
        unlabelled_people=annotations.unlabelled_people is not None,
        diagnosis=diagnosis,
    )


def evaluate_hois(
    predictions: pa.Table,
    annotations: Annotations,
    vocabulary: Vocabulary,
    classes: pa.Table,
    config: EvaluateConfig,
    *,
    boxes: BoxFrame = "schema",
    diagnosis: bool = True,
) -> Evaluation:
    """Scores HOI classes by `config.hoi_rules`, and diagnoses them unless roles are scored too.

    Args:
        predictions: as for `evaluate_partition`.
        annotations: checked against the vocabulary.
        vocabulary: the classes.
        classes: rows of `schema.CLASSES`.
        config: by which protocol.
        boxes: as for `evaluate_partition`; `protocol` is that of `config.hoi_rules`.
        diagnosis: whether to say where the average precision goes.

    Raises:
        InputError: one table contradicts another.
        ValueError: unknown protocol, box frame or recall steps.
    """
    rules, labels = config.hoi_rules, (annotations, vocabulary)
    return Evaluation(
        protocol=config.protocol,
        vocabulary=vocabulary,
        hico=evaluate_hico(predictions, *labels, classes, rules, boxes=boxes),
        diagnosis=(
            diagnose(predictions, *labels, rules, boxes=boxes)
            if diagnosis and not config.is_vcoco
            else None
        ),
    )


def _in_schema(predictions: pa.Table) -> pa.Table:
    """Predictions in V-COCO's inclusive pixels with the schema's boxes, float64."""
    for key in ("human_box_xyxy", "object_box_xyxy"):
        missing = predictions[key].is_null().to_numpy()
        boxes = schema.fixed_lists_to_numpy(predictions[key]) - np.asarray(INCLUSIVE_OFFSET, float)
        column = schema.numpy_to_fixed_lists(boxes, missing)
        predictions = predictions.set_column(predictions.column_names.index(key), key, column)
    return predictions


def _write_csv(path: Path, table: pa.Table) -> None:
    with atomic_file(path) as aside:
        csv.write_csv(table, aside)
