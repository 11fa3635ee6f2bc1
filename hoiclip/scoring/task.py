"""Scores of checked predictions by one protocol."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa

from hoiclip.core.vocabulary import Hoi, Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.evaluation.ap.protocols import V_COCO
from hoiclip.evaluation.ap.tables import ImageIndex
from hoiclip.evaluation.evaluation import EvaluateConfig, Evaluation, evaluate_hois
from hoiclip.evaluation.vcoco import VcocoResult, evaluate_vcoco, score_detections
from hoiclip.evaluation.vcoco_diagnosis import diagnose_roles, diagnose_vcoco
from hoiclip.evaluation.vcoco_truth import Actions, truth_of
from hoiclip.formats.annotations.source import Source
from hoiclip.formats.predictions.people import PersonDetections
from hoiclip.formats.predictions.rows import UNKNOWN_HOI, Rows
from hoiclip.scoring.boxes import BoxConvention, protocol_offset


@dataclass(frozen=True, kw_only=True)
class Task:
    """What predictions are compared with, and how.

    Attributes:
        source: the annotations.
        classes: rows of `schema.CLASSES`.
        config: by which protocol.
        boxes: what the coordinates of the predictions are.
        diagnosis: whether to say where the average precision goes.
    """

    source: Source
    classes: pa.Table
    config: EvaluateConfig
    boxes: BoxConvention
    diagnosis: bool = False

    @cached_property
    def by_verb(self) -> tuple[Annotations, Vocabulary]:
        """What V-COCO's evaluation takes, which looks at verbs: each is its own class.

        So an object class that the vocabulary does not pair with the verb loses no detection.
        """
        vocabulary, annotations = self.source.vocabulary, self.source.annotations
        hois = tuple(Hoi(verb, None) for verb in range(vocabulary.num_verbs))
        interactions = annotations.interactions
        place = interactions.column_names.index("hoi")
        interactions = interactions.set_column(place, "hoi", interactions["verb"])
        return (
            replace(annotations, interactions=interactions),
            Vocabulary(vocabulary.objects, vocabulary.verbs, hois),
        )

    def score_rows(self, rows: Rows) -> Evaluation:
        """Scores predictions of HOI classes."""
        known = rows.hoi != UNKNOWN_HOI
        offset = protocol_offset(self.boxes, self.config.hoi_rules.name)
        hois = evaluate_hois(
            rows.table(rows.hoi, known, offset),
            self.source.annotations,
            self.source.vocabulary,
            self.classes,
            self.config,
            boxes="protocol",
            diagnosis=self.diagnosis,
        )
        if not self.config.is_vcoco:
            return hois
        everything = np.ones(len(rows), bool)
        table = rows.table(rows.verb, everything, protocol_offset(self.boxes, V_COCO))
        return replace(
            hois,
            vcoco=evaluate_vcoco(table, *self.by_verb, boxes="protocol"),
            missing_roles=self.source.missing_roles,
            unlabelled_people=self.source.annotations.unlabelled_people is not None,
            diagnosis=(
                diagnose_vcoco(table, *self.by_verb, boxes="protocol") if self.diagnosis else None
            ),
        )

    def score_people(self, people: PersonDetections, actions: Actions) -> Evaluation:
        """Scores V-COCO's own detections, of roles and of agents."""
        annotations, offset = self.source.annotations, protocol_offset(self.boxes, V_COCO)
        truth = truth_of(*self.by_verb, actions)
        image = ImageIndex.of(annotations.images)(people.image_id, "detections")
        results = []
        # One role and one action at a time, as each repeats the boxes of all people.
        for group in range(max(len(actions.roles), len(actions.names))):
            one = slice(group, group + 1)
            roles, agents = people.roles(image, offset, one), people.agents(image, offset, one)
            results.append(score_detections(roles, agents, truth, actions))
        diagnosis = None
        if self.diagnosis:
            every_role = people.roles(image, offset, slice(None))
            diagnosis = diagnose_roles(every_role, truth, actions)
        return Evaluation(
            protocol=self.config.protocol,
            vocabulary=self.source.vocabulary,
            hico=None,
            vcoco=_of_each_group(results),
            missing_roles=self.source.missing_roles,
            unlabelled_people=annotations.unlabelled_people is not None,
            diagnosis=diagnosis,
        )


def _of_each_group(results: list[VcocoResult]) -> VcocoResult:
    """From results of which number g knows role g and action g, that of all."""
    role_ap = {
        scenario: np.array([results[g].role_ap[scenario][g] for g in range(len(values))])
        for scenario, values in results[0].role_ap.items()
    }
    agent_ap = np.array([results[g].agent_ap[g] for g in range(len(results[0].agent_ap))])
    return replace(results[0], role_ap=role_ap, agent_ap=agent_ap)
