"""Scores of checked predictions, with what `hoiclip evaluate` prints and writes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from hoiclip.evaluation.diagnosis import diagnose
from hoiclip.evaluation.hico import HicoResult, evaluate_hico
from hoiclip.evaluation.outputs import metrics, write_outputs
from hoiclip.evaluation.per_verb import per_verb_table
from hoiclip.evaluation.protocols import HICO, V_COCO, RecallSteps, protocol_named
from hoiclip.evaluation.tables import ImageIndex
from hoiclip.evaluation.vcoco import VcocoResult, evaluate_vcoco, score_detections
from hoiclip.evaluation.vcoco_diagnosis import diagnose_roles, diagnose_vcoco
from hoiclip.evaluation.vcoco_truth import truth_of
from hoiclip.files import atomic_file, write_json
from hoiclip.foreign.boxes import BoxConvention, protocol_offset
from hoiclip.foreign.truths import Truths
from hoiclip.formats.predictions.rows import UNKNOWN_HOI, Rows
from hoiclip.formats.predictions.vcoco_list import PersonDetections


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Scores by one protocol.

    Attributes:
        truths: what the predictions were compared with.
        hico: scores of HOI classes, by the rules of `hico` where the protocol is `vcoco`; null for
            predictions without HOI classes.
        vcoco: scores of action-roles, where the protocol is `vcoco`.
        diagnosis: see `oracle.Oracle.diagnosis`; null where it was not asked for.
        told: how the predictions were read.
        notes: what a person should know, one line each.
    """

    truths: Truths
    hico: HicoResult | None
    vcoco: VcocoResult | None
    diagnosis: dict[str, Any] | None
    told: dict[str, Any]
    notes: tuple[str, ...]

    @property
    def is_zero(self) -> bool:
        """Whether no class or role that is annotated has any average precision."""
        if self.vcoco is not None:
            values = np.concatenate(list(self.vcoco.role_ap.values()))
            return not np.isnan(values).all() and np.nansum(values) == 0
        return self.hico is not None and metrics(self.hico)["default"]["full"] == 0

    def metrics(self) -> dict[str, Any]:
        """Means in percent, null where undefined.

        Returns:
            As `partition.Evaluation.metrics`; for detections without HOI classes `default`,
            `known_object` and `recall` are null. `input` tells `format`, `boxes`, `rows`,
            `images`, `images_without_predictions` and, of HOIA, `numbering`. `diagnosis` where it
            was asked for.
        """
        values = {"default": None, "known_object": None, "recall": None}
        if self.hico is not None:
            values = metrics(self.hico)
        values = values | {"protocol": self.truths.protocol, "input": self.told}
        if self.vcoco is not None:
            values |= self.vcoco.metrics() | {
                "missing_roles": self.truths.source.missing_roles,
                "unlabelled_people": self.truths.source.annotations.unlabelled_people is not None,
            }
        if self.diagnosis is not None:
            values["diagnosis"] = self.diagnosis
        return values

    def write(self, folder: Path) -> None:
        """Writes `metrics.json` and, of HOI classes, `per_class.*`, `pr_curves.csv` and
        `per_verb.csv`; of V-COCO's roles `per_role.csv`; `diagnosis.json` where there is one.
        """
        found = self.metrics()
        if self.hico is not None:
            write_outputs(folder, self.hico, {"protocol": self.truths.protocol})
            table = per_verb_table(self.hico, self.vcoco, self.truths.source.vocabulary)
            _write_csv(folder / "per_verb.csv", table)
        if self.vcoco is not None:
            _write_csv(folder / "per_role.csv", pa.Table.from_pylist(self.vcoco.per_role()))
        # Of an earlier run into the same folder, it would stand beside other numbers.
        (folder / "diagnosis.json").unlink(missing_ok=True)
        if self.diagnosis is not None:
            write_json(folder / "diagnosis.json", found.pop("diagnosis"))
        write_json(folder / "metrics.json", found)


def score_rows(
    rows: Rows,
    boxes: BoxConvention,
    truths: Truths,
    told: dict[str, Any],
    notes: list[str],
    *,
    diagnosis: bool,
    recall_steps: RecallSteps | None = None,
) -> Scored:
    """Scores predictions of HOI classes.

    Args:
        rows: the predictions.
        boxes: what their coordinates are.
        truths: what they are compared with.
        told: how they were read.
        notes: about the annotations.
        diagnosis: whether to say where the average precision goes.
        recall_steps: of the AP of HOI classes; by default the protocol's own.
    """
    known = rows.hoi != UNKNOWN_HOI
    everything = np.ones(len(rows), bool)
    told = told | _counts(rows.image_id, truths)
    notes = [*notes, *_notes(rows, known, truths)]
    by_hoi = truths.source.annotations, truths.source.vocabulary
    is_vcoco = truths.protocol == V_COCO
    protocol = protocol_named(HICO.name if is_vcoco else truths.protocol, recall_steps)
    table = rows.table(rows.hoi, known, protocol_offset(boxes, protocol.name))
    result = evaluate_hico(table, *by_hoi, truths.classes, protocol, boxes="protocol")
    if not is_vcoco:
        found = diagnose(table, *by_hoi, protocol, boxes="protocol") if diagnosis else None
        return Scored(
            truths=truths, hico=result, vcoco=None, diagnosis=found, told=told, notes=tuple(notes)
        )
    table = rows.table(rows.verb, everything, protocol_offset(boxes, V_COCO))
    return Scored(
        truths=truths,
        hico=result,
        vcoco=evaluate_vcoco(table, *truths.by_verb, boxes="protocol"),
        diagnosis=diagnose_vcoco(table, *truths.by_verb, boxes="protocol") if diagnosis else None,
        told=told,
        notes=tuple(notes),
    )


def score_people(
    people: PersonDetections,
    boxes: BoxConvention,
    truths: Truths,
    told: dict[str, Any],
    notes: list[str],
    *,
    diagnosis: bool,
) -> Scored:
    """Scores V-COCO's own detections, of roles and of agents; arguments as of `score_rows`."""
    offset = protocol_offset(boxes, V_COCO)
    truth = truth_of(*truths.by_verb, truths.actions)
    image = ImageIndex.of(truths.source.annotations.images)(people.image_id, "detections")
    results = []
    # One role and one action at a time, as each repeats the boxes of all people.
    for group in range(max(len(truths.actions.roles), len(truths.actions.names))):
        one = slice(group, group + 1)
        roles, agents = people.roles(image, offset, one), people.agents(image, offset, one)
        results.append(score_detections(roles, agents, truth, truths.actions))
    every_role = people.roles(image, offset, slice(None)) if diagnosis else None
    return Scored(
        truths=truths,
        hico=None,
        vcoco=_of_each_group(results),
        diagnosis=diagnose_roles(every_role, truth, truths.actions) if diagnosis else None,
        told=told | _counts(people.image_id, truths),
        notes=tuple(notes),
    )


def _of_each_group(results: list[VcocoResult]) -> VcocoResult:
    """From results of which number g knows role g and action g, that of all."""
    role_ap = {
        scenario: np.array([results[g].role_ap[scenario][g] for g in range(len(values))])
        for scenario, values in results[0].role_ap.items()
    }
    agent_ap = np.array([results[g].agent_ap[g] for g in range(len(results[0].agent_ap))])
    return replace(results[0], role_ap=role_ap, agent_ap=agent_ap)


def _counts(image_ids: np.ndarray, truths: Truths) -> dict[str, int]:
    images = len(truths.source.annotations.images)
    without = images - len(np.unique(image_ids))
    return {"rows": len(image_ids), "images": images, "images_without_predictions": without}


def _notes(rows: Rows, known: np.ndarray, truths: Truths) -> list[str]:
    notes = []
    if count := rows.repeated:
        notes.append(f"{count} rows repeat a pair and class of their image: false alarms")
    if count := int((~known).sum()):
        left = "left out" if truths.protocol != V_COCO else "left out of default and known_object"
        pairs = "a verb and object that are no HOI class together"
        notes.append(f"{count} rows name {pairs}: {left}, as no class counts them")
    return notes


def _write_csv(path: Path, table: pa.Table) -> None:
    with atomic_file(path) as aside:
        csv.write_csv(table, aside)
