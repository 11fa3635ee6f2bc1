"""Wrong detections of V-COCO's roles by kind, under scenario 1.

A detection belongs to one person (see `vcoco`), and every wrong one has one kind, the first in this
list that this person gives it. A box is right if its IoU is at least 0.5, and near if it is not,
but at least 0.1; a missing object is right where none is annotated.

| kind | the person |
|---|---|
| `duplicate` | plays the role, both boxes right: a better scored detection has found it |
| `object` | plays it, human box right, an object given where none is annotated, or the reverse |
| `verb` | human box right, the object that of another role it plays |
| `human_box` | plays it, the object right, the human box near |
| `object_box` | plays it, the human box right, the object's near |
| `both_boxes` | plays it, both boxes near |
| `background` | none of these, or nobody |

`verb` takes, of several roles, one that no detection finds, then the one whose object overlaps
most, then the first. `missed` are the roles played that no detection finds and no wrong detection
belongs to.
"""

from __future__ import annotations

import numpy as np

from hoiclip.evaluation.ap.matching import candidates
from hoiclip.evaluation.errors.oracle import RIGHT, Errors, best_of, unfound
from hoiclip.evaluation.errors.pair_errors import NEAR
from hoiclip.evaluation.vcoco_matching import LEAST_OVERLAP, Matches, VcocoDetections
from hoiclip.evaluation.vcoco_truth import Truth
from hoiclip.pairs.iou import row_iou

DETECTION_KINDS = (
    "duplicate",
    "object",
    "verb",
    "human_box",
    "object_box",
    "both_boxes",
    "background",
)

_DUPLICATE, _OBJECT, _VERB, _HUMAN_BOX, _OBJECT_BOX, _BOTH_BOXES, _BACKGROUND = range(
    len(DETECTION_KINDS)
)


def find_errors(
    detections: VcocoDetections, matches: Matches, correct: np.ndarray, truth: Truth
) -> tuple[Errors, np.ndarray]:
    """Gives each detection that counts and is not `correct` (N,) its kind (see the module).

    Args:
        detections: N people detected in roles.
        matches: the people they belong to.
        correct: (N,) bool, those that find a person under scenario 1.
        truth: the partition.

    Returns:
        The errors; (M,) role of each annotation, which is a role that a person plays.
    """
    played, annotation_of_object = np.unique(truth.object_key, return_inverse=True)
    wrong = matches.counted & ~correct
    kind = np.where(wrong, _BACKGROUND, RIGHT)
    target = np.full(len(detections), -1)
    if len(played):
        keys = matches.person * truth.num_roles + detections.group
        own = np.minimum(np.searchsorted(played, keys), len(played) - 1)
        target[correct] = own[correct]
    found = np.zeros(len(played), bool)
    found[target[correct]] = True
    rows_of_wrong = np.flatnonzero(wrong)
    for rows, objects, _ in candidates(matches.person[rows_of_wrong], truth.object_person):
        rows = rows_of_wrong[rows]
        annotation = annotation_of_object[objects]
        iou = row_iou(
            detections.object_boxes_xyxy[rows], truth.object_boxes_xyxy[objects], inclusive=True
        )
        # The objects of one role stand together: the best of them is the role's.
        starts, best = best_of(rows * len(played) + annotation, -iou)
        rows, annotation, objects, iou = rows[starts], annotation[starts], objects[best], iou[best]
        relation = _relation(detections, matches, truth, rows, objects, iou)
        # First the kind counts, then whether the annotation is found, then the overlap, at most 1.
        taken = (relation == _VERB) & found[annotation]
        starts, best = best_of(rows, (2.0 * relation + taken) * 2 - iou)
        useful = relation[best] != _BACKGROUND
        rows, best = rows[starts][useful], best[useful]
        kind[rows], target[rows] = relation[best], annotation[best]
    missed = unfound(target, correct, wrong, len(played))
    errors = Errors(DETECTION_KINDS, ("verb",), kind, target, missed)
    return errors, played % truth.num_roles


def _relation(
    detections: VcocoDetections,
    matches: Matches,
    truth: Truth,
    rows: np.ndarray,
    objects: np.ndarray,
    iou: np.ndarray,
) -> np.ndarray:
    """(P,) kind that one role of its person gives each of the detections `rows`."""
    given = ~np.isnan(detections.object_boxes_xyxy[rows, 0])
    annotated = ~np.isnan(truth.object_boxes_xyxy[objects, 0])
    own = detections.group[rows] == truth.object_role[objects]
    human, human_near = matches.near[rows], matches.overlap[rows] >= NEAR
    object_, object_near = iou >= LEAST_OVERLAP, iou >= NEAR
    return np.select(
        [
            own & human & object_,
            own & human & (given != annotated),
            ~own & human & object_,
            own & human_near & object_,
            own & human & object_near,
            own & human_near & object_near,
        ],
        [_DUPLICATE, _OBJECT, _VERB, _HUMAN_BOX, _OBJECT_BOX, _BOTH_BOXES],
        _BACKGROUND,
    )
