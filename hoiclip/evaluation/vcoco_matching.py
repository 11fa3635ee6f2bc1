"""V-COCO's detections of people in roles and actions, and which of them are right."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from hoiclip.core.vocabulary import Vocabulary
from hoiclip.evaluation.ap.matching import Pairs, candidates, order_by_class
from hoiclip.evaluation.vcoco_truth import Actions, Truth
from hoiclip.pairs.iou import row_iou

SCENARIOS = (1, 2)
LEAST_OVERLAP = 0.5


@dataclass(frozen=True)
class VcocoDetections:
    """N people detected in a role, or N in an action, by image; boxes in inclusive pixels.

    Attributes:
        image: (N,) position in the images table.
        group: (N,) role, or action.
        human_boxes_xyxy: (N, 4).
        object_boxes_xyxy: (N, 4); NaN where there is no object. An action's are not looked at.
        scores: (N,); of equal ones in a group, the earlier row comes first.
    """

    image: np.ndarray
    group: np.ndarray
    human_boxes_xyxy: np.ndarray
    object_boxes_xyxy: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.group)

    def take(self, rows: np.ndarray) -> VcocoDetections:
        """The detections at positions `rows`."""
        return VcocoDetections(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class Matches:
    """People that N detections belong to.

    Attributes:
        person: (N,) the person overlapped most, or 'nobody'.
        overlap: (N,) IoU with that person.
        counted: (N,) bool, whether the detection counts at all.
    """

    person: np.ndarray
    overlap: np.ndarray
    counted: np.ndarray

    @property
    def near(self) -> np.ndarray:
        """(N,) bool: the overlap is enough."""
        return self.overlap >= LEAST_OVERLAP


def role_and_agent_detections(
    pairs: Pairs, scores: np.ndarray, vocabulary: Vocabulary, actions: Actions
) -> tuple[VcocoDetections, VcocoDetections]:
    """One detection per query and role, and one per query and action, from N rows.

    Its score is the largest among the HOI classes of the role or action (of equal ones, the first
    class), its object that of the same row.

    Args:
        pairs: N rows by image and query.
        scores: (N,) fused scores.
        vocabulary: the classes.
        actions: its actions and roles.
    """
    new = np.ones(len(pairs), bool)
    new[1:] = (np.diff(pairs.image) != 0) | (np.diff(pairs.pair) != 0)
    query = np.cumsum(new) - 1
    verb = vocabulary.verb_of_hoi[pairs.hoi]

    def best(group: np.ndarray) -> VcocoDetections:
        order = np.lexsort((pairs.hoi, -scores, group, query))
        order = order[group[order] >= 0]
        first = np.ones(len(order), bool)
        first[1:] = (np.diff(query[order]) != 0) | (np.diff(group[order]) != 0)
        rows = order[first]
        return VcocoDetections(
            pairs.image[rows],
            group[rows],
            pairs.human_boxes_xyxy[rows],
            pairs.object_boxes_xyxy[rows],
            scores[rows],
        )

    return best(actions.role_of_verb[verb]), best(actions.of_verb[verb])


def match_people(detections: VcocoDetections, truth: Truth) -> Matches:
    """The person that each detection overlaps most; of equal ones, as of those that it does not
    overlap at all, the first.

    If the order of the people is not known, a detection that overlaps none belongs to 'nobody'.
    """
    image, boxes = detections.image, detections.human_boxes_xyxy
    new = np.ones(len(detections), bool)
    new[1:] = (np.diff(image) != 0) | (np.diff(boxes, axis=0) != 0).any(axis=1)
    # A query has several roles: its box is compared once.
    box, first = np.cumsum(new) - 1, np.flatnonzero(new)
    person = np.full(len(first), len(truth.image))
    overlap = np.zeros(len(first))
    for rows, people, starts in candidates(image[first], truth.image):
        iou = row_iou(boxes[first[rows]], truth.boxes_xyxy[people], inclusive=True)
        best = np.maximum.reduceat(iou, starts)
        level = np.flatnonzero(iou == np.repeat(best, np.diff(starts, append=len(rows))))
        person[rows[starts]] = people[level[np.searchsorted(level, starts)]]
        overlap[rows[starts]] = best
    if not truth.in_file_order:
        person[overlap == 0] = len(truth.image)
    person, overlap = person[box], overlap[box]
    return Matches(person, overlap, ~truth.unlabelled[person])


def role_overlaps(
    detections: VcocoDetections, matches: Matches, truth: Truth
) -> dict[int, np.ndarray]:
    """Scenario → (N,) overlap with the person's objects of the role; 0 for a role not played."""
    overlaps = {scenario: np.zeros(len(detections)) for scenario in SCENARIOS}
    keys = matches.person * truth.num_roles + detections.group
    for rows, objects, starts in candidates(keys, truth.object_key):
        boxes = truth.object_boxes_xyxy[objects]
        iou = row_iou(detections.object_boxes_xyxy[rows], boxes, inclusive=True)
        lenient = np.where(np.isnan(boxes[:, 0]), 1.0, iou)
        for scenario, values in zip(SCENARIOS, (iou, lenient), strict=True):
            overlaps[scenario][rows[starts]] = np.maximum.reduceat(values, starts)
    return overlaps


def best_of_each_person(
    detections: VcocoDetections, matches: Matches, right: np.ndarray, num_groups: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which detections find a person: of those that are right, the best of each person and group.

    Args:
        detections: N of them.
        matches: theirs.
        right: (N,) bool, whether it would find its person if it came first.
        num_groups: G, roles or actions.

    Returns:
        (N,) bool; (N,) positions by group and falling score.
    """
    order = order_by_class(detections.group, detections.scores)
    hits = order[(right & matches.counted)[order]]
    keys = matches.person[hits] * num_groups + detections.group[hits]
    correct = np.zeros(len(detections), bool)
    correct[hits[np.unique(keys, return_index=True)[1]]] = True
    return correct, order
