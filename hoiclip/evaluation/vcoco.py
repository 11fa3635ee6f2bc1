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
  first instance), whatever that person does, and is right if that overlap and the role's are at
  least 0.5 and no better scored detection has found this person with this role. Extents are
  x2 - x1 + 1.
- The role's overlap is that of the object boxes. Where no object is annotated, scenario 1 asks for
  a detection without an object (a null box), scenario 2 takes any. An agent has no role to overlap.
- A detection that belongs to a person whom V-COCO does not label is not counted at all. Where
  detections overlap nobody, they are wrong.
- Equal scores are taken in the order of the images table, then of the query.
- The AP is the area under the precision envelope. A mean leaves out what has no positives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from hoiclip.evaluation.average_precision import precision_curves
from hoiclip.evaluation.matching import candidates, order_by_class
from hoiclip.evaluation.tables import ImageIndex, detections_of
from hoiclip.evaluation.vcoco_truth import INCLUSIVE_OFFSET, Actions, Truth, truth_of
from hoiclip.overlap import row_iou
from hoiclip.vocabulary import Vocabulary

SCENARIOS = (1, 2)
LEFT_OUT = "point_instr"
LEAST_OVERLAP = 0.5


@dataclass(frozen=True)
class VcocoResult:
    """AP of R roles and A actions, in [0, 1]; NaN without positives.

    Attributes:
        roles: (R) names, e.g. `hit_obj`.
        actions: (A) names, e.g. `hit`.
        role_ap: scenario (1 or 2) → (R,).
        agent_ap: (A,).
        role_positives: (R,) people annotated with the role's action.
        agent_positives: (A,) people annotated with the action.
    """

    roles: tuple[str, ...]
    actions: tuple[str, ...]
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
        published = np.array([role != LEFT_OUT for role in self.roles], bool)
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
            for row, name in enumerate(self.roles)
        ]


def evaluate_vcoco(
    predictions: pa.Table,
    images: pa.Table,
    instances: pa.Table,
    interactions: pa.Table,
    vocabulary: Vocabulary,
    unannotated: pa.Table | None = None,
) -> VcocoResult:
    """Scores a predictions table against a V-COCO partition.

    A person of the partition counts as labelled, with or without an action. A person annotated with
    an action that has several objects of one role is found by any of them.

    Args:
        predictions: rows of `schema.PREDICTIONS`, in any order; the box of a null object is null.
        images: the partition's `schema.IMAGES`.
        instances: the partition's `schema.INSTANCES`.
        interactions: the partition's `schema.INTERACTIONS`.
        vocabulary: verbs named `<action>` or `<action>_obj` and `<action>_instr`.
        unannotated: the people of COCO, crowds included, whom V-COCO does not label: columns
            `image_id` and `box_xyxy` as in `schema.INSTANCES`. Without them, detections of such
            people count as wrong, and the AP is lower than the official one.

    Raises:
        InputError: a row names an image, instance or class that does not exist, a prediction is not
            finite, or the human of an interaction is not a person.
    """
    index = ImageIndex.of(images)
    actions = Actions.of(vocabulary)
    truth = truth_of(images, instances, interactions, vocabulary, actions, unannotated)
    pairs, scores = detections_of(predictions, index, vocabulary, INCLUSIVE_OFFSET)
    first_of_query = np.ones(len(pairs), bool)
    first_of_query[1:] = (np.diff(pairs.image) != 0) | (np.diff(pairs.pair) != 0)
    query, first = np.cumsum(first_of_query) - 1, np.flatnonzero(first_of_query)
    person, overlap = _best_person(pairs.image[first], pairs.human_boxes_xyxy[first], truth)
    person, overlap = person[query], overlap[query]
    counted = ~(truth.unannotated[person] & (overlap > 0))
    near = overlap >= LEAST_OVERLAP
    verb = vocabulary.verb_of_hoi[pairs.hoi]

    rows = _best_rows(query, actions.of_verb[verb], scores, pairs.hoi)
    action = actions.of_verb[verb[rows]]
    right = near[rows] & truth.does[person[rows], action]
    positives = truth.does.sum(axis=0)
    agent_ap = _areas(action, person[rows], scores[rows], right, counted[rows], positives)

    has_role = np.flatnonzero(actions.role_of_verb[verb] >= 0)
    role = actions.role_of_verb[verb[has_role]]
    rows = has_role[_best_rows(query[has_role], role, scores[has_role], pairs.hoi[has_role])]
    role = actions.role_of_verb[verb[rows]]
    role_positives = positives[actions.of_role]
    role_ap = {}
    overlaps = _role_overlaps(person[rows], role, pairs.object_boxes_xyxy[rows], truth)
    for scenario, role_overlap in overlaps.items():
        right = near[rows] & (role_overlap >= LEAST_OVERLAP)
        role_ap[scenario] = _areas(
            role, person[rows], scores[rows], right, counted[rows], role_positives
        )
    return VcocoResult(actions.roles, actions.names, role_ap, agent_ap, role_positives, positives)


def _best_person(
    image: np.ndarray, human_boxes_xyxy: np.ndarray, truth: Truth
) -> tuple[np.ndarray, np.ndarray]:
    """Person that each of Q boxes overlaps most, and that IoU; 'nobody' and 0 without people."""
    person = np.full(len(image), len(truth.image))
    overlap = np.zeros(len(image))
    for rows, people, starts in candidates(image, truth.image):
        iou = row_iou(human_boxes_xyxy[rows], truth.boxes_xyxy[people], inclusive=True)
        best = np.maximum.reduceat(iou, starts)
        level = np.flatnonzero(iou == np.repeat(best, np.diff(starts, append=len(rows))))
        first = level[np.searchsorted(level, starts)]
        person[rows[starts]], overlap[rows[starts]] = people[first], best
    return person, overlap


def _best_rows(
    query: np.ndarray, group: np.ndarray, scores: np.ndarray, hoi: np.ndarray
) -> np.ndarray:
    """Best scored row of each (query, group), by query; of equal ones the first HOI class."""
    order = np.lexsort((hoi, -scores, group, query))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(query[order]) != 0) | (np.diff(group[order]) != 0)
    return order[new]


def _role_overlaps(
    person: np.ndarray, role: np.ndarray, object_boxes_xyxy: np.ndarray, truth: Truth
) -> dict[int, np.ndarray]:
    """Scenario → (N,) overlap with the person's objects of the role; 0 for a role not played."""
    overlaps = {scenario: np.zeros(len(person)) for scenario in SCENARIOS}
    for rows, objects, starts in candidates(person * truth.num_roles + role, truth.object_key):
        boxes = truth.object_boxes_xyxy[objects]
        iou = row_iou(object_boxes_xyxy[rows], boxes, inclusive=True)
        lenient = np.where(np.isnan(boxes[:, 0]), 1.0, iou)
        for scenario, values in zip(SCENARIOS, (iou, lenient), strict=True):
            overlaps[scenario][rows[starts]] = np.maximum.reduceat(values, starts)
    return overlaps


def _areas(
    group: np.ndarray,
    person: np.ndarray,
    scores: np.ndarray,
    right: np.ndarray,
    counted: np.ndarray,
    positives: np.ndarray,
) -> np.ndarray:
    """AP of G groups from N detections.

    Args:
        group: (N,) role or action.
        person: (N,) person the detection belongs to.
        scores: (N,).
        right: (N,) bool, whether it would find this person if it came first.
        counted: (N,) bool.
        positives: (G,).

    Returns:
        (G,) in [0, 1], NaN without positives.
    """
    order = order_by_class(group, scores)
    correct = np.zeros(len(order), bool)
    hits = np.flatnonzero((right & counted)[order])
    keys = (person * len(positives) + group)[order[hits]]
    correct[hits[np.unique(keys, return_index=True)[1]]] = True
    curves = precision_curves(group[order], correct, counted[order], positives)
    of_envelope = np.repeat(np.arange(len(positives)), curves.found)
    area = np.bincount(of_envelope, curves.envelope, minlength=len(positives))
    empty = np.full(len(positives), np.nan)
    return np.divide(area, positives, out=empty, where=positives > 0)


def _percent(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) * 100 if len(known) else None
