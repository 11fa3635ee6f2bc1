"""Detections as V-COCO's evaluator takes them, as JSON.

A list with one entry per detected person: `image_id` (or `file_name`); `person_box`: x1, y1, x2,
y2; for each action `{action}_agent`: a score; for each role `{action}_{role}`: x1, y1, x2, y2,
score. A key that is absent, null or an empty list, and a score that is null or NaN, say that there
is no such detection. A box of four zeros, nulls or NaNs says that the role has no object.
"""

from __future__ import annotations

import difflib
import reprlib
from array import array
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from hoiclip.errors import InputError
from hoiclip.evaluation.vcoco_truth import Actions
from hoiclip.formats.content import Content
from hoiclip.formats.predictions.image_names import ImageNames
from hoiclip.formats.predictions.options import PredictionOptions, Predictions
from hoiclip.formats.predictions.people import PersonDetections
from hoiclip.formats.predictions.rows import Places
from hoiclip.formats.predictions.wrappings import prediction_entries
from hoiclip.progress import track
from hoiclip.util import json_values

_BOX, _SCORED = 4, 5
_AGENT = "_agent"


def detect(content: Content) -> bool:
    """Whether it is a list of V-COCO's detections."""
    return "person_box" in (content.first_entry or ())


def load(path: Path, options: PredictionOptions) -> Predictions:
    """`read`, as every format is read.

    Raises:
        ValueError: the annotations have no actions and roles.
    """
    if options.actions is None:
        raise ValueError("V-COCO's list needs V-COCO's actions and roles")
    return Predictions(people=read(path, options.images, options.actions))


def read(path: str | Path, images: ImageNames, actions: Actions) -> PersonDetections:
    """Reads and checks a file; boxes are as the file has them.

    Args:
        path: the JSON file.
        images: the annotated images.
        actions: the actions and roles.

    Raises:
        InputError: malformed, an unknown image, no image or person, an action or role that the
            data set does not have, a box that is not one, or a score that is infinite.
    """
    path = Path(path)
    agents = [f"{action}{_AGENT}" for action in actions.names]
    image_ids, values = array("q"), array("d")
    for row, value in track(prediction_entries(path), "detections read"):
        entry = json_values.mapping(path, row, "entry", value)
        named = "image_id" not in entry
        image_ids.append(
            images.of_entry(path, row, entry)
            if named
            else images.of_id(path, row, entry["image_id"])
        )
        numbers = _plain(entry, agents, actions.roles)
        values.extend(numbers or _checked(path, row, entry, agents, actions.roles))
    width = _BOX + len(agents) + _SCORED * len(actions.roles)
    table = np.asarray(values, np.float64).reshape(-1, width)
    detections = _split(np.asarray(image_ids, np.int64), table, len(agents), len(actions.roles))
    _check(path, detections, agents, actions.roles)
    return detections


def _plain(
    entry: dict[str, Any], agents: Sequence[str], roles: Sequence[str]
) -> list[float] | None:
    """The entry's numbers if they are all floats, which nearly all are; else null."""
    try:
        scored = [entry[role] for role in roles]
        numbers = [*entry["person_box"], *(entry[agent] for agent in agents)]
    except (KeyError, TypeError):
        return None
    if set(map(type, scored)) != {list} or set(map(len, scored)) != {_SCORED}:
        return None
    numbers.extend(chain.from_iterable(scored))
    whole = len(numbers) == _BOX + len(agents) + _SCORED * len(roles)
    return numbers if whole and set(map(type, numbers)) == {float} else None


def _checked(
    path: Path, row: int, entry: dict[str, Any], agents: Sequence[str], roles: Sequence[str]
) -> list[float]:
    if "person_box" not in entry:
        raise InputError(path, "missing", row=row, key="person_box")
    _check_keys(path, row, entry, agents, roles)
    numbers: list[float] = []
    for keys, width in ((["person_box"], _BOX), (agents, 1), (roles, _SCORED)):
        for key in keys:
            value = entry.get(key)
            if value is None or value == []:
                value = [None] * width
            elif width == 1:
                value = [value]
            if type(value) is not list or len(value) != width:
                problem = f"{reprlib.repr(value)}, expected {width} numbers"
                raise InputError(path, problem, row=row, key=key)
            numbers += [
                np.nan if v is None else json_values.number(path, row, key, v) for v in value
            ]
    return numbers


def _check_keys(
    path: Path, row: int, entry: dict[str, Any], agents: Sequence[str], roles: Sequence[str]
) -> None:
    """Refuses what is meant as an action or role and is none: absent ones are not an error."""
    alone = {agent.removesuffix(_AGENT) for agent in agents}
    alone -= {role.rsplit("_", 1)[0] for role in roles}
    suffixes = (_AGENT, *{"_" + role.rsplit("_", 1)[1] for role in roles})
    known = {*agents, *roles}
    for key in entry:
        # V-COCO's evaluator passes over the objects of an action that has none.
        if key in known or not key.endswith(suffixes) or key.rsplit("_", 1)[0] in alone:
            continue
        if entry[key] not in (None, []):
            near = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.0)
            problem = "is no action or role of V-COCO"
            raise InputError(path, problem, row=row, key=key, fix=f"Is it {near[0]}?")


def _split(
    image_id: np.ndarray, table: np.ndarray, num_agents: int, num_roles: int
) -> PersonDetections:
    roles = table[:, _BOX + num_agents :].reshape(len(table), num_roles, _SCORED)
    objects = roles[..., :_BOX].copy()
    objects[(objects == 0).all(axis=-1)] = np.nan
    agents = table[:, _BOX : _BOX + num_agents]
    return PersonDetections(image_id, table[:, :_BOX], agents, roles[..., _BOX], objects)


def _check(
    path: Path, detections: PersonDetections, agents: Sequence[str], roles: Sequence[str]
) -> None:
    everybody = Places(path, np.arange(len(detections.image_id)))
    everybody.check_boxes(detections.human_boxes_xyxy, "person_box")
    for keys, scores in ((agents, detections.agent_scores), (roles, detections.role_scores)):
        for group, key in enumerate(keys):
            column = scores[:, group]
            everybody.refuse(np.isinf(column), column, key, "is infinite: fix or drop the row")
    for group, role in enumerate(roles):
        boxes = detections.object_boxes_xyxy[:, group]
        given = ~np.isnan(boxes).all(axis=1) & ~np.isnan(detections.role_scores[:, group])
        rows = np.flatnonzero(given)
        Places(path, rows).check_boxes(boxes[rows], role)
