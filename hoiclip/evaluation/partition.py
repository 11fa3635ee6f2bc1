"""Everything that an evaluation says about predictions of one partition, by one protocol."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from hoiclip import schema
from hoiclip.data.annotations import Annotations
from hoiclip.evaluation.diagnosis import diagnose
from hoiclip.evaluation.hico import HicoResult, evaluate_hico
from hoiclip.evaluation.outputs import metrics, write_outputs
from hoiclip.evaluation.per_verb import per_verb_table
from hoiclip.evaluation.protocols import (
    HICO,
    V_COCO,
    ProtocolName,
    RecallSteps,
    protocol_named,
)
from hoiclip.evaluation.tables import BoxConvention
from hoiclip.evaluation.vcoco import VcocoResult, evaluate_vcoco
from hoiclip.evaluation.vcoco_diagnosis import diagnose_vcoco
from hoiclip.evaluation.vcoco_truth import INCLUSIVE_OFFSET
from hoiclip.files import atomic_file, write_json
from hoiclip.vocabulary import Vocabulary


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


@dataclass(frozen=True)
class Evaluation:
    """Scores and diagnosis by one protocol.

    Attributes:
        protocol: `hico`, `hoiclip`, `pocket` or `vcoco`.
        vocabulary: the classes.
        hico: scores of the HOI classes; by the rules of `hico` where the protocol is `vcoco`.
        diagnosis: see `oracle.Oracle.diagnosis`.
        vcoco: scores of the action-roles, where the protocol is `vcoco`, as for what follows.
        missing_roles: whether the annotations can say that a role's object is not visible.
        unlabelled_people: whether the people whom V-COCO does not label were known.
    """

    protocol: str
    vocabulary: Vocabulary
    hico: HicoResult
    diagnosis: dict[str, Any]
    vcoco: VcocoResult | None = None
    missing_roles: bool | None = None
    unlabelled_people: bool | None = None

    def metrics(self) -> dict[str, Any]:
        """Means in percent, as `metrics.json` has them; null where undefined.

        Returns:
            `protocol`; `default` and `known_object`, each with `full`, `rare`, `non_rare` and,
            where classes are unseen, `unseen` and `seen`; `recall` (see `outputs.metrics`). For
            `vcoco` also `vcoco`, with `ap_role_scenario_1`, `ap_role_scenario_2`,
            `ap_role_scenario_1_25`, `ap_role_scenario_2_25` and `ap_agent` (see
            `vcoco.VcocoResult.metrics`), `missing_roles` and `unlabelled_people`; its `default`,
            `known_object` and `recall` are by the rules of `hico`, which is no published measure of
            V-COCO.
        """
        values = metrics(self.hico) | {"protocol": self.protocol}
        if self.vcoco is None:
            return values
        return values | {
            **self.vcoco.metrics(),
            "missing_roles": self.missing_roles,
            "unlabelled_people": self.unlabelled_people,
        }

    def write(self, folder: str | Path) -> None:
        """Writes `per_class.*`, `pr_curves.csv`, `per_verb.csv` and `diagnosis.json`.

        The keys of `diagnosis.json` are `protocol`, `map`, `lost`, `delta_ap`, `share`, `count` and
        `pair_recall`; `delta_ap`, `share` and `count` have one key per kind of error.
        """
        folder = Path(folder)
        write_outputs(folder, self.hico, {"protocol": self.protocol})
        with atomic_file(folder / "per_verb.csv") as aside:
            csv.write_csv(per_verb_table(self.hico, self.vcoco, self.vocabulary), aside)
        write_json(folder / "diagnosis.json", self.diagnosis)


def evaluate_partition(
    predictions: pa.Table,
    folder: str | Path,
    vocabulary: Vocabulary,
    classes: pa.Table,
    config: EvaluateConfig,
    *,
    boxes: BoxConvention = "schema",
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
        ValueError: unknown protocol, box convention or recall steps.
    """
    folder = Path(folder)
    annotations = Annotations.read(folder)
    annotations.check(folder, vocabulary)
    if config.protocol != V_COCO:
        protocol = protocol_named(config.protocol, config.recall_steps)
        result = evaluate_hico(predictions, annotations, vocabulary, classes, protocol, boxes=boxes)
        diagnosis = diagnose(predictions, annotations, vocabulary, protocol, boxes=boxes)
        return Evaluation(config.protocol, vocabulary, result, diagnosis)
    roles = evaluate_vcoco(predictions, annotations, vocabulary, boxes=boxes)
    diagnosis = diagnose_vcoco(predictions, annotations, vocabulary, boxes=boxes)
    beside = predictions if boxes == "schema" else _in_schema(predictions)
    protocol = protocol_named(HICO.name, config.recall_steps)
    result = evaluate_hico(beside, annotations, vocabulary, classes, protocol)
    missing_roles = _has_missing_roles(folder, annotations.interactions)
    has_people = annotations.unlabelled_people is not None
    return Evaluation(V_COCO, vocabulary, result, diagnosis, roles, missing_roles, has_people)


def _has_missing_roles(folder: Path, interactions: pa.Table) -> bool:
    """What the annotations state or, where they state nothing, whether they hold such a row."""
    stated = schema.read_provenance(folder / "interactions.parquet").get("missing_roles")
    return bool(interactions["object_instance"].null_count) if stated is None else bool(stated)


def _in_schema(predictions: pa.Table) -> pa.Table:
    """Predictions in V-COCO's inclusive pixels with the schema's boxes, float64."""
    for key in ("human_box_xyxy", "object_box_xyxy"):
        missing = predictions[key].is_null().to_numpy()
        boxes = schema.fixed_lists_to_numpy(predictions[key]) - np.asarray(INCLUSIVE_OFFSET, float)
        column = schema.numpy_to_fixed_lists(boxes, missing)
        predictions = predictions.set_column(predictions.column_names.index(key), key, column)
    return predictions
