"""What V-COCO's evaluator compares with: people, their actions, and the objects of their roles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hoiclip.core import schema
from hoiclip.core.schema import fixed_lists_to_numpy
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.errors import InputError
from hoiclip.evaluation.ap.tables import ImageIndex, annotated_pairs

INCLUSIVE_OFFSET = (0, 0, -1, -1)
"""From the schema's continuous boxes to the last pixel inside."""

LEFT_OUT = "point_instr"
"""The role with too few positives, which published means leave out."""

_ROLE_SUFFIXES = ("_obj", "_instr")


@dataclass(frozen=True)
class Actions:
    """Actions and roles of V verbs.

    Attributes:
        names: (A) actions, in the order of their first verb.
        roles: (R) roles, in the order of the verbs.
        of_verb: (V,) action of each verb.
        role_of_verb: (V,) role of each verb, -1 for an action without roles.
        of_role: (R,) action of each role.
    """

    names: tuple[str, ...]
    roles: tuple[str, ...]
    of_verb: np.ndarray
    role_of_verb: np.ndarray
    of_role: np.ndarray

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> Actions:
        """Splits verbs named `<action>`, `<action>_obj` and `<action>_instr`.

        Raises:
            InputError: no verb has a role, or one without a role has an object.
        """
        fix = "Score it by the protocol hico, hoiclip or pocket"
        verbs = [verb.name for verb in vocabulary.verbs]
        is_role = np.array([verb.endswith(_ROLE_SUFFIXES) for verb in verbs], bool)
        if not is_role.any():
            problem = "no verb named <action>_obj or <action>_instr, as the protocol vcoco needs"
            raise InputError("vocabulary", problem, fix=fix)
        has_object = vocabulary.object_of_hoi != vocabulary.num_objects
        wrong = np.flatnonzero(has_object & ~is_role[vocabulary.verb_of_hoi])
        if len(wrong):
            name = vocabulary.hoi_name(int(wrong[0]))
            problem = f"{name!r} has an object, but its verb names no role (_obj or _instr)"
            raise InputError("vocabulary", problem, row=int(wrong[0]), key="hoi", fix=fix)
        stems = [v.rsplit("_", 1)[0] if r else v for v, r in zip(verbs, is_role, strict=True)]
        names = tuple(dict.fromkeys(stems))
        of_verb = np.array([names.index(stem) for stem in stems], np.int64)
        role_of_verb = np.where(is_role, np.cumsum(is_role) - 1, -1)
        roles = tuple(v for v, r in zip(verbs, is_role, strict=True) if r)
        return cls(names, roles, of_verb, role_of_verb, of_verb[is_role])

    @property
    def published(self) -> np.ndarray:
        """(R,) bool: the roles whose mean is published."""
        return np.array([role != LEFT_OUT for role in self.roles], bool)


@dataclass(frozen=True)
class Truth:
    """P people and the O objects of their roles, in inclusive pixels.

    The people of an image stand in the order of its instances. One person more, who does nothing,
    stands for 'nobody' and is the last.

    Attributes:
        image: (P,) position in the images table.
        boxes_xyxy: (P, 4).
        unlabelled: (P + 1,) bool, people whom V-COCO does not label.
        in_file_order: whether it is known where among the others they stand; if not, they are the
            first of their image.
        does: (P + 1, A) bool.
        object_key: (O,) person * R + role, rising; each role of each action done has at least one.
        object_boxes_xyxy: (O, 4); NaN where none is annotated.
        num_roles: R.
    """

    image: np.ndarray
    boxes_xyxy: np.ndarray
    unlabelled: np.ndarray
    in_file_order: bool
    does: np.ndarray
    object_key: np.ndarray
    object_boxes_xyxy: np.ndarray
    num_roles: int

    @property
    def object_person(self) -> np.ndarray:
        """(O,) person of each object."""
        return self.object_key // self.num_roles

    @property
    def object_role(self) -> np.ndarray:
        """(O,) role of each object."""
        return self.object_key % self.num_roles


def inclusive_truth_boxes(boxes_xyxy: np.ndarray, image_sizes: np.ndarray) -> np.ndarray:
    """The schema's continuous boxes as V-COCO's evaluator has them.

    A box of width w ends at x + max(w - 1, 0); then all corners are clipped to the pixels of the
    image, 0 to width - 1. Predicted boxes are not clipped.

    Args:
        boxes_xyxy: (N, 4) pixels, continuous; NaN stays NaN.
        image_sizes: (N, 2) width, height of each box's image.
    """
    first, last = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    corners = np.hstack([first, first + np.maximum(last - first - 1, 0)])
    return np.clip(corners, 0, np.tile(image_sizes - 1, 2))


def truth_of(annotations: Annotations, vocabulary: Vocabulary, actions: Actions) -> Truth:
    """Collects the people and roles of a partition; arguments as of `vcoco.evaluate_vcoco`.

    Raises:
        InputError: a row names what does not exist, or the human of an interaction is not a person.
    """
    images, instances = annotations.images, annotations.instances
    index = ImageIndex.of(images)
    sizes = np.stack([images["width"].to_numpy(), images["height"].to_numpy()], 1)
    rows, verb = _labels(annotations, vocabulary)
    pairs = annotated_pairs(instances, rows, verb, index, (0, 0, 0, 0))
    image, keys, boxes = _people(instances, index, vocabulary)
    others = annotations.unlabelled_people
    if others is None:
        others = schema.PLACED_UNLABELLED.empty_table()
    other = index(others["image_id"].to_numpy(), "unlabelled_people")
    in_file_order = "instances_ahead" in others.column_names
    ahead = others["instances_ahead"].to_numpy() if in_file_order else 0
    # Ahead of the instance of that number, which they may be themselves: a person who is an object
    # of somebody's role, too, is one that V-COCO does not label.
    places = np.concatenate([(other << 32) + ahead, keys])
    order = np.argsort(places, kind="stable")
    unlabelled = np.append(order < len(other), False)
    image = np.concatenate([other, image])[order]
    boxes = np.concatenate([fixed_lists_to_numpy(others["box_xyxy"]), boxes])[order]

    wanted = (pairs.image << 32) + rows["human"].to_numpy()
    place = np.searchsorted(keys, wanted)
    if (stranger := np.append(keys, -1)[place] != wanted).any():
        row = int(np.argmax(stranger))
        human = rows["human"][row].as_py()
        raise InputError("interactions", f"{human} is not a person", row=row, key="human")
    person = np.argsort(order)[len(other) + place]
    does = np.zeros((len(image) + 1, len(actions.names)), bool)
    does[person, actions.of_verb[verb]] = True

    role = actions.role_of_verb[verb]
    has_role = role >= 0
    listed = np.zeros((len(image) + 1, len(actions.roles)), bool)
    listed[person[has_role], role[has_role]] = True
    silent_person, silent_role = np.nonzero(does[:, actions.of_role] & ~listed)
    object_person = np.concatenate([person[has_role], silent_person])
    object_role = np.concatenate([role[has_role], silent_role])
    missing = np.full((len(silent_role), 4), np.nan)
    object_boxes = np.concatenate([pairs.object_boxes_xyxy[has_role], missing])
    object_key = object_person * len(actions.roles) + object_role
    order = np.argsort(object_key, kind="stable")
    return Truth(
        image,
        inclusive_truth_boxes(boxes, sizes[image]),
        unlabelled,
        in_file_order,
        does,
        object_key[order],
        inclusive_truth_boxes(object_boxes[order], sizes[image[object_person[order]]]),
        len(actions.roles),
    )


def _labels(annotations: Annotations, vocabulary: Vocabulary) -> tuple[pa.Table, np.ndarray]:
    """Rows of `schema.OUTSIDE_VOCABULARY` for all that is labelled, and their verbs (R,)."""
    rows = annotations.interactions.select(schema.OUTSIDE_VOCABULARY.names)
    outside = annotations.outside_vocabulary
    if outside is not None:
        rows = pa.concat_tables([rows, outside.cast(rows.schema)]).combine_chunks()
    verb = rows["verb"].to_numpy().astype(np.int64)
    wrong = (verb < 0) | (verb >= vocabulary.num_verbs)
    if wrong.any():
        row = int(np.argmax(wrong))
        problem = f"{verb[row]} is not among the {vocabulary.num_verbs} verbs"
        raise InputError("interactions", problem, row=row, key="verb")
    return rows, verb


def _people(
    instances: pa.Table, index: ImageIndex, vocabulary: Vocabulary
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, (image << 32) + instance in rising order, and box of each person."""
    image = index(instances["image_id"].to_numpy(), "instances")
    keys = (image << 32) + instances["instance"].to_numpy()
    rows = np.flatnonzero(instances["object"].to_numpy() == vocabulary.person)
    rows = rows[np.argsort(keys[rows], kind="stable")]
    return image[rows], keys[rows], fixed_lists_to_numpy(instances["box_xyxy"])[rows]
