"""How "HOIA" predictions number their classes.

| name | `category_id` of a box | of a pair |
|---|---|---|
| `hoia` | as in the annotations, where these are HOIA; else COCO's id, or position + 1 for other \
objects than COCO's | likewise; else verb from 1, V-COCO: from 0 |
| `zero-based` | object class from 0 | verb from 0 |
| `hoi` | object class from 0, or none | HOI class from 0 |
| `hoi-category` | not read | not read; `hoi_category_id`, HOI class from 1, instead |

The other names are those of `annotations.hoia_numbering`.

Where the vocabulary knows pairs without an object, the number after the last object class and -1
say that there is none, in any numbering.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from hoiclip.catalog.vocabularies import COCO_IDS
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.errors import InputError
from hoiclip.formats.annotations.hoia_numbering import Numbering, numbering_of, usual
from hoiclip.formats.annotations.source_rows import UNKNOWN
from hoiclip.formats.predictions.rows import Places

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
_USUAL: tuple[NumberingName, ...] = ("hoia", "zero-based", "hoi")
"""Those of the projects in use, which are tried first."""

_MOST = 0.5
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
            the only one of the others that fits all pairs, or the annotations' one where the
            others make HOI classes of few.
        annotated: numbering of the annotations, which `hoia` then means.

    Raises:
        InputError: a number that is none of a class; without `numbering`, several that fit.
    """
    if numbering is None:
        numbering = _found_out(raw, vocabulary, places, annotated)
    if numbering.startswith("coco") and vocabulary.num_objects > len(COCO_IDS):
        problem = f"{vocabulary.num_objects} object classes are more than COCO has ids for"
        raise InputError(places.path, problem, fix="Give another --numbering")
    for wrong, values, key, problem in _checks(raw, vocabulary, numbering, annotated):
        places.refuse(wrong, values, key, problem)
    return _translated(raw, vocabulary, numbering, annotated)


def _translated(
    raw: RawClasses,
    vocabulary: Vocabulary,
    numbering: NumberingName,
    annotated: Numbering | None,
) -> ClassIds:
    raw = _with_no_objects(raw, vocabulary, numbering, annotated)
    without = raw.object == NO_OBJECT
    if numbering in ("hoi", "hoi-category"):
        hoi = raw.pair if numbering == "hoi" else raw.hoi - _first_hoi(annotated)
        return ClassIds(vocabulary.verb_of_hoi[hoi], hoi, without, numbering)
    verb = raw.pair - _first_verb(vocabulary, numbering, annotated)
    return ClassIds(verb, _hois(raw, verb, vocabulary, numbering, annotated), without, numbering)


def _found_out(
    raw: RawClasses, vocabulary: Vocabulary, places: Places, annotated: Numbering | None
) -> NumberingName:
    if (raw.hoi != ABSENT).any():
        return "hoi-category"
    found = _fitting(raw, vocabulary, _USUAL, annotated)
    if not found or min(found.values()) > _MOST:
        # What a network says need not be a class; where all is one in other numbers, those are it.
        others = [name for name in NUMBERINGS if name not in (*_USUAL, "hoi-category")]
        other = _fitting(raw, vocabulary, others, annotated)
        found = {n: share for n, share in other.items() if share == 0} or found or other
    shares = [share for name, share in found.items() if name != "hoia"]
    if annotated is not None and found.get("hoia") == 0 and min(shares, default=1) > _MOST:
        return "hoia"
    readings = (_translated(raw, vocabulary, name, annotated) for name in found)
    if len({(r.verb.tobytes(), r.hoi.tobytes(), r.without_object.tobytes()) for r in readings}) > 1:
        problem = f"its class numbers could be those of {' or '.join(found)}"
        raise InputError(places.path, problem, fix="Say which with --numbering")
    # Where none fits, the numbering of the files in use tells what is wrong.
    return next(iter(found), None) or _likely(raw)


def _fitting(
    raw: RawClasses,
    vocabulary: Vocabulary,
    names: Sequence[NumberingName],
    annotated: Numbering | None,
) -> dict[NumberingName, float]:
    """The numberings that all numbers fit, with the share of pairs that are no HOI class then.

    Of numberings that say the same, the first stands for all.
    """
    fitting: dict[tuple, NumberingName] = {}
    for name in names:
        if name.startswith("coco") and vocabulary.num_objects > len(COCO_IDS):
            continue
        if not any(check[0].any() for check in _checks(raw, vocabulary, name, annotated)):
            ids = _object_ids(vocabulary, name, annotated).tolist()
            says = (name == "hoi", *ids, _first_verb(vocabulary, name, annotated))
            fitting.setdefault(says, name)
    return {name: _odd_share(raw, vocabulary, name, annotated) for name in fitting.values()}


def _odd_share(
    raw: RawClasses, vocabulary: Vocabulary, name: NumberingName, annotated: Numbering | None
) -> float:
    if not len(raw.pair):
        return 0.0
    raw = _with_no_objects(raw, vocabulary, name, annotated)
    if name != "hoi":
        verb = raw.pair - _first_verb(vocabulary, name, annotated)
        return float((_hois(raw, verb, vocabulary, name, annotated) == UNKNOWN).mean())
    object_ = _numbering(vocabulary, name, annotated).object_classes(raw.object)
    given = (raw.object != ABSENT) & (raw.object != NO_OBJECT)
    return float((given & (vocabulary.object_of_hoi[raw.pair] != object_)).mean())


def _likely(raw: RawClasses) -> NumberingName:
    return "hoi" if (raw.subject == ABSENT).all() else "hoia"


def _checks(
    raw: RawClasses,
    vocabulary: Vocabulary,
    numbering: NumberingName,
    annotated: Numbering | None = None,
) -> Iterator[_Check]:
    if numbering == "hoi-category":
        first = _first_hoi(annotated)
        yield from _range_checks(raw.hoi, "hoi_category_id", first, vocabulary.num_hois)
        return
    objects = _object_ids(vocabulary, numbering, annotated)
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
    object_ = _with_no_objects(raw, vocabulary, numbering, annotated).object
    known = (object_ == NO_OBJECT) | np.isin(object_, objects)
    problem = f"is no object class with --numbering {numbering}"
    yield ~known, raw.object, "category_id of the object", problem
    first = _first_verb(vocabulary, numbering, annotated)
    yield from _range_checks(raw.pair, "category_id", first, vocabulary.num_verbs)


def _range_checks(values: np.ndarray, key: str, first: int, count: int) -> Iterator[_Check]:
    yield values == ABSENT, values, key, "(the pair has none)"
    last = first + count - 1
    yield (values < first) | (values > last), values, key, f"is out of range {first}..{last}"


def _object_ids(
    vocabulary: Vocabulary, numbering: NumberingName, annotated: Numbering | None = None
) -> np.ndarray:
    """(num_objects,) number of each object class."""
    return np.array(_numbering(vocabulary, numbering, annotated).objects, np.int64)


def _with_no_objects(
    raw: RawClasses,
    vocabulary: Vocabulary,
    numbering: NumberingName,
    annotated: Numbering | None,
) -> RawClasses:
    """With `NO_OBJECT` for the object classes that say so."""
    if not vocabulary.has_missing_objects:
        return raw
    without = raw.object == -1
    # The numbering `hoi-category` leaves that of boxes open, which the number of a person tells.
    told = numbering == "hoi-category"
    for name in ("hoia", "zero-based") if told else (numbering,):
        ids = _object_ids(vocabulary, name, annotated)
        numbered = (raw.subject == ids[vocabulary.person]) | (not told)
        without |= numbered & (raw.object == ids.max() + 1)
    return replace(raw, object=np.where(without, NO_OBJECT, raw.object))


def _first_verb(
    vocabulary: Vocabulary, numbering: NumberingName, annotated: Numbering | None = None
) -> int:
    return _numbering(vocabulary, numbering, annotated).first_verb


def _first_hoi(annotated: Numbering | None) -> int:
    return 1 if annotated is None else annotated.first_hoi


def _numbering(
    vocabulary: Vocabulary, numbering: NumberingName, annotated: Numbering | None
) -> Numbering:
    if numbering == "hoia":
        return annotated or usual(vocabulary)
    if numbering == "hoi" or numbering == "hoi-category":
        return numbering_of("zero-based", vocabulary)
    return numbering_of(numbering, vocabulary)


def _hois(
    raw: RawClasses,
    verb: np.ndarray,
    vocabulary: Vocabulary,
    numbering: NumberingName,
    annotated: Numbering | None,
) -> np.ndarray:
    """(N,) HOI class of verb and object; of a verb without objects, that of the verb alone."""
    hoi_of = vocabulary.hoi_of.copy()
    alone = (hoi_of[:, :-1] == UNKNOWN).all(axis=1)
    hoi_of[alone] = hoi_of[alone, -1:]
    object_ = _numbering(vocabulary, numbering, annotated).object_classes(raw.object)
    return hoi_of[verb, np.where(raw.object == NO_OBJECT, vocabulary.num_objects, object_)]
