"""V-COCO from its original files: action labels per person, boxes from COCO's instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hoiclip.catalog.vocabularies import COCO_IDS, vcoco
from hoiclip.core import schema
from hoiclip.core.files import not_utf8, read_json
from hoiclip.core.schema import numpy_to_fixed_lists
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.errors import InputError
from hoiclip.formats.annotations.assemble import assemble
from hoiclip.formats.annotations.coco import CocoAnnotation, CocoInstances
from hoiclip.formats.annotations.filters import clip_to_image
from hoiclip.formats.annotations.findings import ReadReport
from hoiclip.formats.annotations.image_table import image_table
from hoiclip.formats.annotations.source import Source, SourceOptions
from hoiclip.formats.annotations.source_rows import (
    NO_OBJECT,
    UNKNOWN,
    SourceBoxes,
    SourceInteractions,
)
from hoiclip.formats.content import Content
from hoiclip.util import json_values

_NO_ANNOTATION = 0
_CLASSES = {coco_id: index for index, coco_id in enumerate(COCO_IDS)}


def detect(content: Content) -> bool:
    """Whether it is a JSON list of V-COCO's actions."""
    return content.sign == b"[" and "action_name" in (content.first_entry or ())


def load(path: Path, options: SourceOptions) -> Source:
    """`read`, as every format is read, with the people whom V-COCO does not label."""
    coco = CocoInstances(options.coco)
    annotations, vocabulary, report = read(
        path, coco, image_ids=options.image_ids, drop_unknown=options.drop_unknown
    )
    people = unlabelled_people(path, coco, annotations.images, annotations.instances)
    annotations = replace(annotations, unlabelled_people=people)
    read_ = annotations, vocabulary, report
    return Source.of(read_, says_missing_roles=True, expected=options)


def read(
    path: str | Path,
    coco_instances: CocoInstances | Sequence[str | Path],
    *,
    image_ids: str | Path | None = None,
    drop_unknown: bool = False,
) -> tuple[Annotations, Vocabulary, ReadReport]:
    """Reads a partition.

    Every person that V-COCO labels is an instance, with or without an action. A role whose object
    is not visible gives an interaction without object, and so does an action without roles. The
    instances of an image stand as in COCO's file, as V-COCO's evaluator lists people; interactions
    as in V-COCO's. Without `image_ids` the images stand by id, as in V-COCO's own lists.

    Args:
        path: `vcoco_{train,val,trainval,test}.json`.
        coco_instances: COCO's instances files that hold its images and annotations, or what was
            read from them.
        image_ids: `vcoco_*.ids`, one COCO image id per line: the images to take; by default those
            that have labels.
        drop_unknown: see `assemble`.

    Raises:
        InputError: malformed, an action that V-COCO does not have, or an image or annotation that
            is not in COCO's files.
    """
    path, vocabulary, report = Path(path), vcoco(), ReadReport(Path(path))
    actions, coco = _actions(path, vocabulary), _coco(coco_instances)
    if image_ids is None:
        labelled = {i for action in actions for i in action.image_ids.tolist()}
        ids, asking = np.array(sorted(labelled), np.int64), path
    else:
        ids, asking = _read_ids(Path(image_ids)), Path(image_ids)
    images = _images(asking, ids, coco)
    boxes = _Boxes(path, coco, images)
    columns: list[list[int]] = []
    for action in actions:
        taken = np.flatnonzero(np.isin(action.image_ids, ids)).tolist()
        for person in taken:
            human = boxes.position(person, action.people[person], action.image_ids[person])
            if action.label[person]:
                for verb, objects in action.roles:
                    object_ = NO_OBJECT
                    if objects[person] != _NO_ANNOTATION:
                        object_ = boxes.position(person, objects[person], action.image_ids[person])
                    columns.append([human, object_, verb, UNKNOWN, person])
    listed, position = boxes.arrays()
    of_human, of_object, *rest = np.array(columns, np.int64).reshape(-1, 5).T
    interactions = SourceInteractions(position[of_human], position[of_object], *rest)
    tables = assemble(images, listed, interactions, vocabulary, report, drop_unknown=drop_unknown)
    return tables, vocabulary, report


def unlabelled_people(
    path: str | Path,
    coco_instances: CocoInstances | Sequence[str | Path],
    images: pa.Table,
    instances: pa.Table | None = None,
) -> pa.Table:
    """COCO's people, crowds included, whom V-COCO does not label.

    V-COCO's evaluator ignores detections that fit one of them best. As there, people marked
    `ignore`, of area 0, or of at most one pixel in width or height inside the image are left out;
    boxes are cut to the image. Somebody may be among them and an instance of the partition too, as
    the object of a role.

    Args:
        path: V-COCO's file, as for `read`; whoever it lists, for any image, is labelled.
        coco_instances: as for `read`.
        images: rows of `schema.IMAGES`, the partition's; their ids are COCO's.
        instances: rows of `schema.INSTANCES`, the partition's, to know where the people stand.

    Returns:
        Rows of `schema.PLACED_UNLABELLED`, or of `schema.UNLABELLED` without `instances`; in the
        order of `images`, then of COCO's file.

    Raises:
        InputError: malformed.
    """
    path, coco = Path(path), _coco(coco_instances)
    actions = _actions(path, vcoco())
    labelled = {i for action in actions for i in action.people.tolist()}
    rows: list[int] = []
    listed: list[CocoAnnotation] = []
    for row, image_id in enumerate(images["image_id"].to_pylist()):
        of_image = coco.annotations(image_id)
        rows += [row] * len(of_image)
        listed += of_image
    sizes = np.stack([images["width"].to_numpy(), images["height"].to_numpy()], 1)[rows]
    boxes_xyxy, usable, _ = clip_to_image(np.reshape([a.box_xyxy for a in listed], (-1, 4)), sizes)
    wanted = np.array([a.is_scored_person and a.id not in labelled for a in listed], bool)
    wanted &= usable & (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2] > 1).all(1)
    image_ids = np.array([a.image_id for a in listed], np.int64)[wanted]
    columns = [pa.array(image_ids), numpy_to_fixed_lists(boxes_xyxy[wanted])]
    if instances is None:
        return pa.Table.from_arrays(columns, schema=schema.UNLABELLED)
    played = {i for a in actions for _, of in a.roles for i in of[a.label == 1].tolist()}
    is_instance = [a.id in labelled or a.id in played for a in listed]
    ahead = _instances_ahead(instances, listed, boxes_xyxy, is_instance)[wanted]
    return pa.Table.from_arrays([*columns, pa.array(ahead)], schema=schema.PLACED_UNLABELLED)


def _instances_ahead(
    instances: pa.Table,
    listed: Sequence[CocoAnnotation],
    boxes_xyxy: np.ndarray,
    is_instance: Sequence[bool],
) -> np.ndarray:
    """(N,) int32: instances of its image that stand ahead of each annotation, in COCO's order."""
    columns = (instances[key].to_pylist() for key in instances.column_names)
    number = {(i, object_, *box): n for i, n, object_, box in zip(*columns, strict=True)}
    reached: dict[int, int] = {}
    ahead = []
    for annotation, box, is_one in zip(listed, boxes_xyxy.tolist(), is_instance, strict=True):
        image_id = annotation.image_id
        ahead.append(reached.get(image_id, 0))
        if is_one:
            own = number.get((image_id, _class_of(annotation), *box), -1)
            reached[image_id] = max(ahead[-1], own + 1)
    return np.array(ahead, np.int32)


def _coco(coco_instances: CocoInstances | Sequence[str | Path]) -> CocoInstances:
    if isinstance(coco_instances, CocoInstances):
        return coco_instances
    return CocoInstances(coco_instances)


def _actions(path: Path, vocabulary: Vocabulary) -> list[_Action]:
    listed = json_values.items(path, None, "document", read_json(path))
    return [_action(path, row, value, vocabulary) for row, value in enumerate(listed)]


@dataclass(frozen=True)
class _Action:
    """Labels of one action: N people, in any order.

    Attributes:
        people: (N,) COCO annotation of each.
        image_ids: (N,).
        label: (N,) 0/1.
        roles: verb of each role but the agent, with (N,) COCO annotations, 0 for no object; an
            action of the agent alone is one role without objects.
    """

    people: np.ndarray
    image_ids: np.ndarray
    label: np.ndarray
    roles: list[tuple[int, np.ndarray]]


def _action(path: Path, row: int, value: Any, vocabulary: Vocabulary) -> _Action:
    value = json_values.mapping(path, row, "action", value)
    name = json_values.text(path, row, "action_name", value.get("action_name"))
    listed = json_values.items(path, row, "role_name", value.get("role_name"))
    roles = [json_values.text(path, row, "role_name", role) for role in listed]
    if roles[:1] != ["agent"]:
        raise InputError(path, f"{roles}, expected agent first", row=row, key="role_name")
    verb_ids = {verb.name: index for index, verb in enumerate(vocabulary.verbs)}
    verbs = [f"{name}_{role}" for role in roles[1:]] or [name]
    for verb in verbs:
        if verb not in verb_ids:
            problem = f"{verb!r} is not an action-role of V-COCO{json_values.like(verb, verb_ids)}"
            raise InputError(path, problem, row=row, key="action_name")

    def numbers(key: str) -> np.ndarray:
        values = json_values.items(path, row, key, value.get(key))
        return np.array([json_values.integer(path, row, key, v) for v in values], np.int64)

    people, image_ids, label = (numbers(key) for key in ("ann_id", "image_id", "label"))
    objects = numbers("role_object_id")
    if not len(people) == len(image_ids) == len(label) == len(objects) / len(roles):
        lengths = f"{len(people)}, {len(image_ids)}, {len(label)}, {len(objects)}"
        problem = f"ann_id, image_id, label and role_object_id differ in length: {lengths}"
        raise InputError(path, problem, row=row, key=name)
    if not np.isin(label, (0, 1)).all():
        raise InputError(path, "a label other than 0 and 1", row=row, key=f"{name}.label")
    by_role = objects.reshape(len(roles), len(people))
    if len(roles) == 1:
        return _Action(people, image_ids, label, [(verb_ids[name], np.zeros_like(people))])
    ids = [verb_ids[verb] for verb in verbs]
    return _Action(people, image_ids, label, list(zip(ids, by_role[1:], strict=True)))


def _read_ids(path: Path) -> np.ndarray:
    try:
        lines = path.read_text(encoding="utf-8").split()
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise not_utf8(path) from None
    return np.array(
        [json_values.integer(path, i, "image_id", v) for i, v in enumerate(lines)], np.int64
    )


def _images(path: Path, ids: np.ndarray, coco: CocoInstances) -> pa.Table:
    entries = [coco.image(path, row, image_id) for row, image_id in enumerate(ids.tolist())]
    sizes = np.array([entry[1:] for entry in entries], np.float64).reshape(-1, 2)
    return image_table(path, [entry[0] for entry in entries], sizes, ids)


def _class_of(annotation: CocoAnnotation) -> int:
    """Object class of COCO's category; `UNKNOWN` for one that it does not have."""
    return _CLASSES.get(annotation.category_id, UNKNOWN)


@dataclass
class _Boxes:
    """COCO annotations that were asked for, each once."""

    path: Path
    coco: CocoInstances
    images: pa.Table
    _positions: dict[int, int] = field(default_factory=dict)
    _rows: list[tuple[int, int, int, int]] = field(default_factory=list)
    _values: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        ids = self.images["image_id"].to_pylist()
        self._image_positions = {image_id: index for index, image_id in enumerate(ids)}

    def position(self, row: int, annotation_id: int, image_id: int) -> int:
        """Position of a COCO annotation among the boxes; adds it when it is new."""
        annotation_id, image_id = int(annotation_id), int(image_id)
        if annotation_id not in self._positions:
            found = self.coco.annotation(self.path, row, annotation_id)
            self._positions[annotation_id] = len(self._rows)
            self._rows.append((found.image_id, _class_of(found), row, found.place))
            self._values.append(found.box_xyxy)
        position = self._positions[annotation_id]
        if self._rows[position][0] != image_id:
            problem = f"annotation {annotation_id} is of image {self._rows[position][0]}"
            raise InputError(self.path, f"{problem}, not {image_id}", row=row, key="image_id")
        return position

    def arrays(self) -> tuple[SourceBoxes, np.ndarray]:
        """All boxes so far, by image and as in COCO's file; there, the place of each `position`.

        The last of the places, of `NO_OBJECT`, is that again.
        """
        image_ids, object_, row, place = np.array(self._rows, np.int64).reshape(-1, 4).T
        image = np.array([self._image_positions[i] for i in image_ids.tolist()], np.int64)
        values = np.array(self._values, np.float64).reshape(-1, 4)
        order = np.lexsort((place, image))
        boxes = SourceBoxes(image[order], object_[order], values[order], row[order])
        return boxes, np.append(np.argsort(order), NO_OBJECT)
