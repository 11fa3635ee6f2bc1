"""How "HOIA" predictions number their classes.

| name | `category_id` of a box | of a pair |
|---|---|---|
| `hoia` | as in HOIA annotations, if these are; else COCO's id, or position + 1 for objects other \
than COCO's | likewise; else verb from 1, V-COCO: from 0 |
| `zero-based` | object class from 0 | verb from 0 |
| `hoi` | object class from 0, or none | HOI class from 0 |
| `hoi-category` | not read | not read; `hoi_category_id`, HOI class from 1, instead |

and those of `data.readers.hoia_numbering`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from hoiclip.data.readers.hoia_numbering import Numbering, numbering_of, usual
from hoiclip.data.readers.rows import UNKNOWN
from hoiclip.errors import InputError
from hoiclip.foreign.rows import Places
from hoiclip.vocabulary import Vocabulary

NumberingName = Literal[
    "hoia",
    "zero-based",
    "hoi",
    "hoi-category",
    "coco",
    "one-based",
    "coco-verbs-from-0",
    "one-based-verbs-from-0",
    "zero-based-verbs-from-1",
]
NUMBERINGS: tuple[NumberingName, ...] = get_args(NumberingName)

ABSENT = -(2**61)
"""Stands for a class that the file does not give; no class in a file is that far out."""
_USUAL: tuple[NumberingName, ...] = ("hoia", "zero-based", "hoi")
"""Tried first, as predictions are numbered so by the projects in use."""
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
        numbering: as it was given or found out.
    """

    verb: np.ndarray
    hoi: np.ndarray
    numbering: NumberingName


def class_ids(
    raw: RawClasses,
    vocabulary: Vocabulary,
    places: Places,
    numbering: NumberingName | None,
    annotated: Numbering | None = None,
) -> ClassIds:
    """Translates class numbers into classes.

    Args:
        raw: of N pairs.
        vocabulary: the classes.
        places: where the pairs stand, for messages.
        numbering: of the file; by default `hoi-category` where a pair has `hoi_category_id`, else
            the only one of the others that fits all pairs.
        annotated: numbering of the annotations, which `hoia` then means.

    Raises:
        InputError: a number that is none of a class; without `numbering`, several that fit.
    """
    if numbering is None:
        numbering = _found_out(raw, vocabulary, places, annotated)
    stated = _stated(places.path, vocabulary, numbering, annotated)
    for wrong, values, key, problem in _checks(raw, vocabulary, numbering, stated):
        places.refuse(wrong, values, key, problem)
    if numbering in ("hoi", "hoi-category"):
        hoi = raw.pair if numbering == "hoi" else raw.hoi - 1
        return ClassIds(vocabulary.verb_of_hoi[hoi], hoi, numbering)
    verb = raw.pair - stated.first_verb
    return ClassIds(verb, _hois(raw, verb, vocabulary, stated), numbering)


def _found_out(
    raw: RawClasses, vocabulary: Vocabulary, places: Places, annotated: Numbering | None
) -> NumberingName:
    if (raw.hoi != ABSENT).any():
        return "hoi-category"
    others = [n for n in NUMBERINGS if n not in (*_USUAL, "hoi-category")]
    for names in (_USUAL, others):
        fitting = _fitting(raw, vocabulary, places, names, annotated)
        if len(fitting) > 1 and len(raw.pair):
            problem = f"its class numbers could be those of {' or '.join(fitting)}"
            raise InputError(places.path, problem, fix="Say which with --numbering")
        if fitting:
            return fitting[0]
    # Where none fits, the numbering of the files in use tells what is wrong; where there are no
    # pairs, any does.
    return _likely(raw)


def _fitting(
    raw: RawClasses,
    vocabulary: Vocabulary,
    places: Places,
    names: Sequence[NumberingName],
    annotated: Numbering | None,
) -> list[NumberingName]:
    """Those of the numberings that fit all pairs; of equal ones the first."""
    fitting: dict[tuple, NumberingName] = {}
    for name in names:
        try:
            stated = _stated(places.path, vocabulary, name, annotated)
        except InputError:
            continue
        if not any(check[0].any() for check in _checks(raw, vocabulary, name, stated)):
            fitting.setdefault((name == "hoi", *stated.objects, stated.first_verb), name)
    return list(fitting.values())


def _stated(
    path: Path, vocabulary: Vocabulary, name: NumberingName, annotated: Numbering | None
) -> Numbering:
    """What the name says of boxes and verbs."""
    if name == "hoia":
        return annotated or usual(vocabulary)
    if name in ("hoi", "hoi-category"):
        name = "zero-based"
    try:
        return numbering_of(name, vocabulary)
    except ValueError as error:
        raise InputError(path, f"not numbered as {name}: {error}") from None


def _likely(raw: RawClasses) -> NumberingName:
    return "hoi" if (raw.subject == ABSENT).all() else "hoia"


def _checks(
    raw: RawClasses, vocabulary: Vocabulary, numbering: NumberingName, stated: Numbering
) -> Iterator[_Check]:
    if numbering == "hoi-category":
        yield from _range_checks(raw.hoi, "hoi_category_id", 1, vocabulary.num_hois)
        return
    objects = np.array(stated.objects)
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
    known = (raw.object == NO_OBJECT) | np.isin(raw.object, objects)
    problem = f"is no object class with --numbering {numbering}"
    yield ~known, raw.object, "category_id of the object", problem
    count = vocabulary.num_verbs
    yield from _range_checks(raw.pair, "category_id", stated.first_verb, count)


def _range_checks(values: np.ndarray, key: str, first: int, count: int) -> Iterator[_Check]:
    yield values == ABSENT, values, key, "(the pair has none)"
    last = first + count - 1
    yield (values < first) | (values > last), values, key, f"is out of range {first}..{last}"


def _hois(
    raw: RawClasses, verb: np.ndarray, vocabulary: Vocabulary, stated: Numbering
) -> np.ndarray:
    """(N,) HOI class of verb and object; of a verb without objects, that of the verb alone."""
    hoi_of = np.full((vocabulary.num_verbs, vocabulary.num_objects + 1), UNKNOWN, np.int64)
    hoi_of[vocabulary.verb_of_hoi, vocabulary.object_of_hoi] = np.arange(vocabulary.num_hois)
    alone = (hoi_of[:, :-1] == UNKNOWN).all(axis=1)
    hoi_of[alone] = hoi_of[alone, -1:]
    object_ = stated.object_classes(raw.object)
    return hoi_of[verb, np.where(raw.object == NO_OBJECT, vocabulary.num_objects, object_)]
