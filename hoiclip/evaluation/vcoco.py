"""Average precision as V-COCO counts it: of roles under its two scenarios, and of agents.

An action is what a person does (`hit`); a role is one kind of object that the action has
(`hit_obj`, `hit_instr`). The vocabulary's verbs are the roles, and the actions without one
(`stand`).

What is counted (Gupta and Malik, Visual Semantic Role Labeling, 2015, and its evaluator):

- A positive of an action is a person annotated with it, also where a role's object is not visible.
  Each of the action's roles has the same positives; every person-action is found once per role.
- A query gives each role one detection: its score is the largest fused score among the role's HOI
  classes, its object that of the same row. Likewise each action, with all roles, for the agent.
- A detection belongs to the person of the image whose box it overlaps most (of equal ones, the
  first in COCO's file), whatever that person does, and is right if that overlap and the role's are
  at least 0.5 and no better scored detection has found this person with this role. Extents are
  x2 - x1 + 1.
- The role's overlap is that of the object boxes. Where no object is annotated, scenario 1 asks for
  a detection without an object (a null box), scenario 2 takes any. An agent has no role to overlap.
- A detection that belongs to a person whom V-COCO does not label is not counted at all. One that
  overlaps nobody belongs to the first person of its image, as in the original, and so is wrong
  where that one is labelled and not counted where not. If the order of the people is not known
  (`schema.UNLABELLED`), it is wrong.
- Equal scores are taken in the order of the images table, then of the query.
- The AP is the area under the precision envelope. A mean leaves out what has no positives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.evaluation.ap.average_precision import precision_curves
from hoiclip.evaluation.ap.tables import BoxFrame, ImageIndex, detections_of, offset_of
from hoiclip.evaluation.vcoco_matching import (
    LEAST_OVERLAP,
    SCENARIOS,
    VcocoDetections,
    best_of_each_person,
    match_people,
    role_and_agent_detections,
    role_overlaps,
)
from hoiclip.evaluation.vcoco_truth import INCLUSIVE_OFFSET, Actions, Truth, truth_of


@dataclass(frozen=True)
class VcocoResult:
    """AP of R roles and A actions, in [0, 1]; NaN without positives.

    Attributes:
        actions: names of actions and roles.
        role_ap: scenario (1 or 2) → (R,).
        agent_ap: (A,).
        role_positives: (R,) people annotated with the role's action.
        agent_positives: (A,) people annotated with the action.
    """

    actions: Actions
    role_ap: dict[int, np.ndarray]
    agent_ap: np.ndarray
    role_positives: np.ndarray
    agent_positives: np.ndarray

    def metrics(self) -> dict[str, dict[str, float | None]]:
        """Means in percent under stable keys; null where nothing has positives.

        Returns:
            `vcoco`: `ap_role_scenario_1` and `ap_role_scenario_2` without `point_instr`, which has
            too few positives and which published numbers leave out; the same of all roles as
            `ap_role_scenario_1_25` and `ap_role_scenario_2_25`; `ap_agent`.
        """
        published = self.actions.published
        values = {f"ap_role_scenario_{s}": _percent(self.role_ap[s][published]) for s in SCENARIOS}
        values |= {f"ap_role_scenario_{s}_25": _percent(self.role_ap[s]) for s in SCENARIOS}
        return {"vcoco": values | {"ap_agent": _percent(self.agent_ap)}}

    def per_role(self) -> list[dict[str, Any]]:
        """One row per role: name, positives, AP in percent (or null) under both scenarios."""
        return [
            {
                "role": name,
                "positives": int(self.role_positives[row]),
                **{f"ap_scenario_{s}": _percent(self.role_ap[s][row : row + 1]) for s in SCENARIOS},
            }
            for row, name in enumerate(self.actions.roles)
        ]


def evaluate_vcoco(
    predictions: pa.Table,
    annotations: Annotations,
    vocabulary: Vocabulary,
    *,
    boxes: BoxFrame = "schema",
) -> VcocoResult:
    """Scores a predictions table against a V-COCO partition.

    A person of the partition counts as labelled, with or without an action. A person annotated with
    an action that has several objects of one role is found by any of them.

    Args:
        predictions: rows of `schema.PREDICTIONS`, in any order; the box of a null object is null.
            Boxes and scores may be of any floating type.
        annotations: the partition. Without its `unlabelled_people`, detections of such people count
            as wrong, and the AP is lower than the official one. People are labelled with the rows
            of its `outside_vocabulary`, too: no class predicts them as such, but their roles are to
            be found all the same.
        vocabulary: verbs named `<action>` or `<action>_obj` and `<action>_instr`.
        boxes: `schema` for predicted boxes as the schema has them, `protocol` for boxes that are
            0-based inclusive pixels already.

    Raises:
        InputError: a row names an image, instance or class that does not exist, a prediction is not
            finite, the human of an interaction is not a person, or the vocabulary is not V-COCO's.
    """
    actions = Actions.of(vocabulary)
    truth = truth_of(annotations, vocabulary, actions)
    offset = offset_of(boxes, INCLUSIVE_OFFSET)
    index = ImageIndex.of(annotations.images)
    pairs, scores = detections_of(predictions, index, vocabulary, offset)
    roles, agents = role_and_agent_detections(pairs, scores, vocabulary, actions)
    return score_detections(roles, agents, truth, actions)


def score_detections(
    roles: VcocoDetections, agents: VcocoDetections, truth: Truth, actions: Actions
) -> VcocoResult:
    """The core: detections as the official file format has them, so that it is scored as is.

    Args:
        roles: detections of people in roles, by image.
        agents: detections of people in actions, by image.
        truth: the partition.
        actions: actions and roles.
    """
    positives = truth.does.sum(axis=0)
    matches = match_people(agents, truth)
    right = matches.near & truth.does[matches.person, agents.group]
    found = best_of_each_person(agents, matches, right, len(positives))
    agent_ap = _areas(agents, *found, matches.counted, positives)
    role_positives = positives[actions.of_role]
    matches = match_people(roles, truth)
    role_ap = {}
    for scenario, overlap in role_overlaps(roles, matches, truth).items():
        right = matches.near & (overlap >= LEAST_OVERLAP)
        found = best_of_each_person(roles, matches, right, len(role_positives))
        role_ap[scenario] = _areas(roles, *found, matches.counted, role_positives)
    return VcocoResult(actions, role_ap, agent_ap, role_positives, positives)


def _areas(
    detections: VcocoDetections,
    correct: np.ndarray,
    order: np.ndarray,
    counted: np.ndarray,
    positives: np.ndarray,
) -> np.ndarray:
    """(G,) AP in [0, 1] of the groups, NaN without positives."""
    group = detections.group[order]
    return precision_curves(group, correct[order], counted[order], positives).area()


def _percent(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) * 100 if len(known) else None
