"""What each kind of error costs, as `runs/evaluate/diagnosis.json` has it, in words."""

from __future__ import annotations

from dataclasses import dataclass

from hoiclip.evaluation.ap.protocols import V_COCO
from hoiclip.evaluation.errors.oracle import Errors
from hoiclip.report.inputs import Run

MEANINGS = {
    "duplicate": "a better scored prediction has found the pair already",
    "verb": "boxes and object are those of an annotated pair, the verb is not",
    "object": "boxes and verb are those of an annotated pair, the object is not",
    "human_box": "the class and the object's box are right, the human's box is only near",
    "object_box": "the class and the human's box are right, the object's box is only near",
    "verb_and_object": "the boxes are those of an annotated pair, verb and object are not",
    "both_boxes": "the class is right, both boxes are only near",
    "background": "nothing annotated is like it",
    "missed": "annotated, and no prediction comes near it",
}


VCOCO_MEANINGS = {
    **MEANINGS,
    "duplicate": "a better scored prediction has found this person in this role",
    "verb": "the human's box is right, the object is that of another role the person plays",
    "object": "the role is right; an object is given where none is visible, or the reverse",
    "human_box": "role and object are right, the human's box is only near",
    "object_box": "role and human's box are right, the object's box is only near",
    "both_boxes": "the role is right, both boxes are only near",
    "background": "no person near does anything like it",
    "missed": "a role that a person plays, and no prediction comes near it",
}


@dataclass(frozen=True)
class Kind:
    """One kind of error.

    Attributes:
        name: in words.
        gain: points of AP that fixing this kind alone would add; None where undefined.
        share: percent of the sum of all gains; None where undefined.
        count: predictions or, of what is missed, annotations.
        meaning: empty for a kind without one.
    """

    name: str
    gain: float | None
    share: float | None
    count: int
    meaning: str


def kinds(run: Run) -> list[Kind]:
    """The kinds of error, the costliest first."""
    found = run.diagnosis
    meanings = VCOCO_MEANINGS if found["protocol"] == V_COCO else MEANINGS
    listed = [
        Kind(
            kind_name(key),
            gain,
            found["share"][key],
            found["count"][key],
            meanings.get(key, ""),
        )
        for key, gain in found["delta_ap"].items()
    ]
    return sorted(listed, key=lambda kind: (kind.gain is None, -(kind.gain or 0.0)))


def kind_name(key: str) -> str:
    """A kind of error as it is printed."""
    return key.replace("_", " ")


def false_alarms(errors: Errors) -> list[tuple[str, str, int]]:
    """Name, meaning and number of the wrong detections of each kind."""
    counts = errors.counts()
    return [(kind_name(kind), MEANINGS[kind], counts[kind]) for kind in errors.kinds]


def measure(run: Run) -> str:
    """What the gains are points of."""
    if run.diagnosis["protocol"] == V_COCO:
        return "AP role, scenario 1, 24 roles"
    return "mAP, Default, Full"
