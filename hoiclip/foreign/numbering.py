"""How "HOIA" predictions number their classes.

| name | `category_id` of a box | of a pair |
|---|---|---|
| `hoia` | COCO's id; position + 1 for objects other than COCO's | verb from 1; V-COCO: from 0 |
| `zero-based` | object class from 0 | verb from 0 |
| `hoi` | object class from 0, or none | HOI class from 0 |
| `hoi-category` | not read | not read; `hoi_category_id`, HOI class from 1, instead |

Where the vocabulary knows pairs without an object, the number after the last object class and -1
say that there is none, in any numbering.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from hoiclip.data.readers.rows import UNKNOWN
from hoiclip.data.readers.vocabularies import COCO_IDS, hico_det, vcoco
from hoiclip.errors import InputError
from hoiclip.foreign.rows import Places
from hoiclip.vocabulary import Vocabulary

NumberingName = Literal["hoia", "zero-based", "hoi", "hoi-category"]
NUMBERINGS: tuple[NumberingName, ...] = get_args(NumberingName)

ABSENT = -(2**61)
"""Stands for a class that the file does not give; no class in a file is that far out."""
NO_OBJECT = ABSENT - 1
"""Stands for the class of the object of a pair without one."""

_Check = tuple[np.ndarray, np.ndarray, str, str]
"""(N,) wrong, (N,) values, key, problem."""


@dataclass(frozen=True)
class RawClasses:
    """Class numbers of N pairs as a file has them, or `ABSENT`.

    Attributes:
        subject: (N,) `category_id` of the subject's box.
        object: (N,) `category_id` of the object's box; `NO_OBJECT` without an object.
        pair: (N,) `category_id` of the pair.
        hoi: (N,) `hoi_category_id` of the pair.
    """

    subject: np.ndarray
    object: np.ndarray
    pair: np.ndarray
    hoi: np.ndarray


@dataclass(frozen=True)
class ClassIds:
    """Classes of N pairs.

    Attributes:
        verb: (N,).
        hoi: (N,) -1 where verb and object class are no HOI class.
        without_object: (N,) whether the class of the object says that there is none.
        numbering: as it was given or found out.
    """

    verb: np.ndarray
    hoi: np.ndarray
    without_object: np.ndarray
    numbering: NumberingName


def class_ids(
    raw: RawClasses, vocabulary: Vocabulary, places: Places, numbering: NumberingName | None
) -> ClassIds:
    """Translates class numbers into classes.

    Args:
        raw: of N pairs.
        vocabulary: the classes.
        places: where the pairs stand, for messages.
        numbering: of the file; by default `hoi-category` where a pair has `hoi_category_id`, else
            the only one of the others that fits all pairs.

    Raises:
        InputError: a number that is none of a class; without `numbering`, several that fit.
    """
    if numbering is None:
        numbering = _found_out(raw, vocabulary, places)
    for wrong, values, key, problem in _checks(raw, vocabulary, numbering):
        places.refuse(wrong, values, key, problem)
    raw = _with_no_objects(raw, vocabulary, numbering)
    without = raw.object == NO_OBJECT
    if numbering in ("hoi", "hoi-category"):
        hoi = raw.pair if numbering == "hoi" else raw.hoi - 1
        return ClassIds(vocabulary.verb_of_hoi[hoi], hoi, without, numbering)
    verb = raw.pair - _first_verb(vocabulary, numbering)
    return ClassIds(verb, _hois(raw, verb, vocabulary, numbering), without, numbering)


def _found_out(raw: RawClasses, vocabulary: Vocabulary, places: Places) -> NumberingName:
    if (raw.hoi != ABSENT).any():
        return "hoi-category"
    others = [name for name in NUMBERINGS if name != "hoi-category"]
    fitting = [n for n in others if not any(c[0].any() for c in _checks(raw, vocabulary, n))]
    if len(fitting) > 1 and len(raw.pair):
        problem = f"its class numbers could be those of {' or '.join(fitting)}"
        raise InputError(places.path, problem, fix="Say which with --numbering")
    # Where none fits, the numbering of the files in use tells what is wrong; where there are no
    # pairs, any does.
    return fitting[0] if fitting else _likely(raw)


def _likely(raw: RawClasses) -> NumberingName:
    return "hoi" if (raw.subject == ABSENT).all() else "hoia"


def _checks(raw: RawClasses, vocabulary: Vocabulary, numbering: NumberingName) -> Iterator[_Check]:
    if numbering == "hoi-category":
        yield from _range_checks(raw.hoi, "hoi_category_id", 1, vocabulary.num_hois)
        return
    objects = _object_ids(vocabulary, numbering)
    person = objects[vocabulary.person]
    unsaid = raw.subject == ABSENT
    key = "category_id of the subject"
    if numbering != "hoi":
        yield unsaid, raw.subject, key, "(the box has none)"
    problem = f"is not a person, which is {person} with --numbering {numbering}"
    yield ~unsaid & (raw.subject != person), raw.subject, key, problem
    if numbering == "hoi":
        yield from _range_checks(raw.pair, "category_id", 0, vocabulary.num_hois)
        return
    object_ = _with_no_objects(raw, vocabulary, numbering).object
    known = (object_ == NO_OBJECT) | np.isin(object_, objects)
    problem = f"is no object class with --numbering {numbering}"
    yield ~known, raw.object, "category_id of the object", problem
    first = _first_verb(vocabulary, numbering)
    yield from _range_checks(raw.pair, "category_id", first, vocabulary.num_verbs)


def _range_checks(values: np.ndarray, key: str, first: int, count: int) -> Iterator[_Check]:
    yield values == ABSENT, values, key, "(the pair has none)"
    last = first + count - 1
    yield (values < first) | (values > last), values, key, f"is out of range {first}..{last}"


def _object_ids(vocabulary: Vocabulary, numbering: NumberingName) -> np.ndarray:
    """(num_objects,) number of each object class."""
    if numbering != "hoia":
        return np.arange(vocabulary.num_objects)
    if vocabulary.objects == hico_det().objects:
        return np.array(COCO_IDS)
    return np.arange(vocabulary.num_objects) + 1


def _with_no_objects(
    raw: RawClasses, vocabulary: Vocabulary, numbering: NumberingName
) -> RawClasses:
    """With `NO_OBJECT` for the object classes that say so."""
    if not vocabulary.has_missing_objects:
        return raw
    without = raw.object == -1
    # The numbering `hoi-category` leaves that of boxes open, which the number of a person tells.
    told = numbering == "hoi-category"
    for name in ("hoia", "zero-based") if told else (numbering,):
        ids = _object_ids(vocabulary, name)
        numbered = (raw.subject == ids[vocabulary.person]) | (not told)
        without |= numbered & (raw.object == ids.max() + 1)
    return replace(raw, object=np.where(without, NO_OBJECT, raw.object))


def _first_verb(vocabulary: Vocabulary, numbering: NumberingName) -> int:
    return 1 if numbering == "hoia" and vocabulary != vcoco() else 0


def _hois(
    raw: RawClasses, verb: np.ndarray, vocabulary: Vocabulary, numbering: NumberingName
) -> np.ndarray:
    """(N,) HOI class of verb and object; of a verb without objects, that of the verb alone."""
    hoi_of = np.full((vocabulary.num_verbs, vocabulary.num_objects + 1), UNKNOWN, np.int64)
    hoi_of[vocabulary.verb_of_hoi, vocabulary.object_of_hoi] = np.arange(vocabulary.num_hois)
    alone = (hoi_of[:, :-1] == UNKNOWN).all(axis=1)
    hoi_of[alone] = hoi_of[alone, -1:]
    ids = _object_ids(vocabulary, numbering)
    order = np.argsort(ids)
    place = np.searchsorted(ids[order], raw.object).clip(max=len(ids) - 1)
    return hoi_of[verb, np.where(raw.object == NO_OBJECT, vocabulary.num_objects, order[place])]
