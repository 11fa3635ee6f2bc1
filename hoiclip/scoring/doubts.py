"""What makes a score doubtful: boxes in another frame, class numbers that mean other classes."""

from __future__ import annotations

from typing import Literal

import numpy as np

from hoiclip.data.annotations import Annotations
from hoiclip.evaluation.ap.tables import ImageIndex
from hoiclip.formats.annotations.frame import frame_notes
from hoiclip.formats.predictions.people import PersonDetections
from hoiclip.formats.predictions.rows import UNKNOWN_HOI, Rows
from hoiclip.pairs.iou import row_iou

_LEAST_IOU = 0.5
_IMAGES = 50
"""So many images are looked at to tell how the boxes are meant."""
_PER_IMAGE = 100
_NOTHING = "the predictions hold no pair, so that nothing can be right"
_SHORTER, _LONGER = 800, 1333
"""Pixels, to which DETR and its heirs resize images."""


def box_doubts(
    annotations: Annotations, image_id: np.ndarray, *boxes_xyxy: np.ndarray
) -> list[str]:
    """Notes about predicted boxes that are not in the pixels of their images.

    Args:
        annotations: what they are compared with.
        image_id: (N,).
        boxes_xyxy: (N, 4) each, as the file has them, those of people first; NaN where there is
            none.
    """
    sizes = _sizes(annotations)[_positions(image_id, annotations)]
    boxes = np.concatenate(boxes_xyxy)
    notes = frame_notes("predictions", boxes, np.tile(sizes, (len(boxes_xyxy), 1)))
    if notes and (meant := _meant(annotations, image_id, boxes_xyxy[0])):
        notes[0] += f"; read as {meant}"
    return notes


def zero_doubts(
    annotations: Annotations,
    rows: Rows,
    key: Literal["verb", "hoi"],
    numbering: str | None,
    annotation_numbering: str | None,
) -> list[str]:
    """What may be the matter where nothing of the predictions is right.

    Args:
        annotations: what they are compared with.
        rows: the predictions.
        key: the classes that are scored.
        numbering: of the predictions' classes; None where they have none of their own.
        annotation_numbering: of the annotations' classes; likewise.
    """
    interactions = annotations.interactions
    if not len(rows):
        return [_NOTHING]
    group = rows.verb if key == "verb" else rows.hoi
    chosen = group != UNKNOWN_HOI
    annotated = set(
        zip(interactions["image_id"].to_pylist(), interactions[key].to_pylist(), strict=True)
    )
    named = zip(rows.image_id[chosen].tolist(), group[chosen].tolist(), strict=True)
    if not annotated & set(named):
        what = "a verb" if key == "verb" else "an HOI class"
        ask = "are the classes those of the annotations, in the same order?"
        if numbering is not None:
            ask = f"are they numbered as --numbering {numbering}"
            ask += (
                f" and --annotation-numbering {annotation_numbering} say?"
                if annotation_numbering
                else " says?"
            )
        nothing = f"nothing can match: no prediction names {what} that its image is annotated with"
        return [f"{nothing}; {ask}"]
    return _apart_doubts(annotations, rows.image_id, rows.human_boxes_xyxy)


def people_doubts(annotations: Annotations, people: PersonDetections) -> list[str]:
    """What may be the matter where no role of V-COCO's detections is right."""
    if not len(people.image_id):
        return [_NOTHING]
    if np.isnan(people.role_scores).all():
        return ["the detections name no role (hold_obj, ...), only agents: those of roles are 0"]
    return _apart_doubts(annotations, people.image_id, people.human_boxes_xyxy)


def _apart_doubts(
    annotations: Annotations, image_id: np.ndarray, human_boxes_xyxy: np.ndarray
) -> list[str]:
    meant = _meant(annotations, image_id, human_boxes_xyxy)
    told = "no prediction lies on an annotated pair of its class: are the boxes x1, y1, x2, y2 in"
    return [f"{told} pixels of these images?" + (f" Read as {meant}" if meant else "")]


def _meant(
    annotations: Annotations, image_id: np.ndarray, human_boxes_xyxy: np.ndarray
) -> str | None:
    """The reading of the boxes by which they cover annotated people, if as they are they do not."""
    pairs = annotations.pairs()
    images = np.intersect1d(image_id, pairs.image_ids)[:_IMAGES]
    true, found = [], []
    for image in images.tolist():
        people = np.flatnonzero(pairs.image_ids == image)
        predicted = np.flatnonzero(image_id == image)[:_PER_IMAGE]
        true.append(np.repeat(people, len(predicted)))
        found.append(np.tile(predicted, len(people)))
    if not true:
        return None
    person, prediction = np.concatenate(true), np.concatenate(found)
    boxes = human_boxes_xyxy[prediction]
    sizes = _sizes(annotations)[_positions(image_id[prediction], annotations)]
    count = len(np.unique(person))

    def covered(boxes_xyxy: np.ndarray) -> int:
        with np.errstate(invalid="ignore", over="ignore"):
            iou = row_iou(boxes_xyxy, pairs.human_boxes_xyxy[person], inclusive=False)
        return len(np.unique(person[iou >= _LEAST_IOU]))

    readings = _readings(boxes, sizes)
    counts = {name: covered(boxes_xyxy) for name, boxes_xyxy in readings.items()}
    best = max(counts, key=counts.__getitem__)
    if 2 * counts[best] <= count or counts[best] <= 2 * covered(boxes):
        return None
    return f"{best}, they cover {counts[best]} of {count} annotated people looked at"


def _readings(boxes: np.ndarray, sizes: np.ndarray) -> dict[str, np.ndarray]:
    """What is meant → (N, 4) boxes in pixels, if the numbers mean that."""
    whole = np.tile(sizes, 2)
    centred = np.hstack([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2])
    cornered = np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
    shorter, longer = sizes.min(axis=1), sizes.max(axis=1)
    scale = np.minimum(_SHORTER / shorter, _LONGER / longer)[:, None]
    return {
        "x, y, width, height": cornered,
        "centre x, centre y, width, height": centred,
        "y1, x1, y2, x2": boxes[:, [1, 0, 3, 2]],
        "fractions of width and height": boxes * whole,
        "fractions (centre x, centre y, width, height)": centred * whole,
        "fractions (x, y, width, height)": cornered * whole,
        f"boxes of images resized to {_SHORTER} pixels (at most {_LONGER})": boxes / scale,
    }


def _sizes(annotations: Annotations) -> np.ndarray:
    """(I, 2) width and height of the images."""
    images = annotations.images
    return np.stack([images[key].to_numpy() for key in ("width", "height")], 1).astype(np.float64)


def _positions(image_id: np.ndarray, annotations: Annotations) -> np.ndarray:
    return ImageIndex.of(annotations.images)(image_id, "predictions")
