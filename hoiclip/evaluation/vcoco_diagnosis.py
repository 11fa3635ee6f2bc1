"""Where V-COCO's AP_role goes: scenario 1, without the role that published numbers leave out.

The kinds of errors are those of `vcoco_errors`; what fixing them does is said in `oracle`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa

from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.evaluation.ap.matching import Pairs, pair_recall
from hoiclip.evaluation.ap.protocols import V_COCO, OverlapRule
from hoiclip.evaluation.ap.tables import BoxFrame, ImageIndex, detections_of, offset_of
from hoiclip.evaluation.errors.oracle import Oracle
from hoiclip.evaluation.vcoco_errors import DETECTION_KINDS, find_errors
from hoiclip.evaluation.vcoco_matching import (
    LEAST_OVERLAP,
    VcocoDetections,
    best_of_each_person,
    match_people,
    role_and_agent_detections,
    role_overlaps,
)
from hoiclip.evaluation.vcoco_truth import INCLUSIVE_OFFSET, Actions, Truth, truth_of

KINDS = (*DETECTION_KINDS, "missed")


def diagnose_vcoco(
    predictions: pa.Table,
    annotations: Annotations,
    vocabulary: Vocabulary,
    *,
    boxes: BoxFrame = "schema",
) -> dict[str, Any]:
    """Explains the AP_role (scenario 1) of a predictions table; arguments as of `evaluate_vcoco`.

    Returns:
        See `oracle.Oracle.diagnosis`; the kinds are `KINDS`. An annotation is a role that a person
        plays; `map` is the mean over roles; `pair_recall` counts a person and one object of a role
        once, also where no object is visible, and asks for both boxes.

    Raises:
        InputError: see `vcoco.evaluate_vcoco`.
    """
    actions = Actions.of(vocabulary)
    truth = truth_of(annotations, vocabulary, actions)
    offset = offset_of(boxes, INCLUSIVE_OFFSET)
    index = ImageIndex.of(annotations.images)
    pairs, scores = detections_of(predictions, index, vocabulary, offset)
    detections, _ = role_and_agent_detections(pairs, scores, vocabulary, actions)
    return diagnose_roles(detections, truth, actions)


def diagnose_roles(detections: VcocoDetections, truth: Truth, actions: Actions) -> dict[str, Any]:
    """The core: detections as the official file format has them, so that it is scored as is.

    Args:
        detections: people in roles, by image.
        truth: the partition.
        actions: actions and roles.
    """
    detections, truth = _published(detections, truth, actions)
    num_roles = len(actions.roles)
    matches = match_people(detections, truth)
    overlap = role_overlaps(detections, matches, truth)[1]
    right = matches.near & (overlap >= LEAST_OVERLAP)
    correct, _ = best_of_each_person(detections, matches, right, num_roles)
    errors, role_of_annotation = find_errors(detections, matches, correct, truth)
    oracle = Oracle(
        classes=detections.group,
        scores=detections.scores,
        correct=correct,
        counted=matches.counted,
        truth_classes=role_of_annotation,
        num_classes=num_roles,
        errors=errors,
        average_precision=lambda curves: curves.area(),
    )
    rule = OverlapRule(inclusive=True, least_extent=0, strict=False)
    recall = pair_recall(_pairs(detections), _annotated_pairs(truth), rule)
    return oracle.diagnosis(V_COCO, recall)


def _published(
    detections: VcocoDetections, truth: Truth, actions: Actions
) -> tuple[VcocoDetections, Truth]:
    """Both without the roles that are left out."""
    played = actions.published[truth.object_role]
    truth = dataclasses.replace(
        truth,
        object_key=truth.object_key[played],
        object_boxes_xyxy=truth.object_boxes_xyxy[played],
    )
    return detections.take(np.flatnonzero(actions.published[detections.group])), truth


def _pairs(detections: VcocoDetections) -> Pairs:
    new = np.ones(len(detections), bool)
    boxes = np.hstack([detections.human_boxes_xyxy, detections.object_boxes_xyxy])
    same = (boxes[1:] == boxes[:-1]) | (np.isnan(boxes[1:]) & np.isnan(boxes[:-1]))
    new[1:] = ~same.all(axis=1) | (np.diff(detections.image) != 0)
    return Pairs(
        detections.image,
        detections.group,
        detections.human_boxes_xyxy,
        detections.object_boxes_xyxy,
        np.cumsum(new),
    )


def _annotated_pairs(truth: Truth) -> Pairs:
    person = truth.object_person
    # Annotated boxes are clipped, so that no coordinate is -1.
    places = np.column_stack([person, np.nan_to_num(truth.object_boxes_xyxy, nan=-1)])
    pair = np.unique(places, axis=0, return_inverse=True)[1].reshape(-1)
    return Pairs(
        truth.image[person],
        truth.object_role,
        truth.boxes_xyxy[person],
        truth.object_boxes_xyxy,
        pair,
    )
