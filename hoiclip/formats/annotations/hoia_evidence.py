"""The numbering of "HOIA" annotations, found out from what their numbers can mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from hoiclip.catalog.vocabularies import COCO_IDS, hico_det, vcoco
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.errors import InputError
from hoiclip.formats.annotations.hoia_numbering import (
    NAMES,
    Numbering,
    is_of_coco,
    numbering_of,
    usual,
)
from hoiclip.formats.annotations.source_rows import UNKNOWN

_MOST = 0.5
_SUBJECT, _OBJECT, _VERB, _STATED, _PAIR = 1, 2, 3, 4, 5
"""Why a pair does not fit."""


@dataclass(frozen=True)
class PairNumbers:
    """Class numbers of R pairs as a file has them.

    Attributes:
        subject: (R,) `category_id` of the subject's box.
        object: (R,) `category_id` of the object's box; without meaning where `alone`.
        alone: (R,) bool: no object.
        verb: (R,) `category_id` of the pair.
        hoi: (R,) `hoi_category_id` of the pair; without meaning where not `stated`.
        stated: (R,) bool.
        row: (R,) row of the file.
    """

    subject: np.ndarray
    object: np.ndarray
    alone: np.ndarray
    verb: np.ndarray
    hoi: np.ndarray
    stated: np.ndarray
    row: np.ndarray


def find(
    path: Path, numbers: PairNumbers, vocabulary: Vocabulary, hint: Numbering | None = None
) -> tuple[Numbering, str | None]:
    """The numbering that the file's numbers fit, and a note where that is not the usual one.

    A pair fits a numbering if its subject is a person, its object and verb are classes, both
    together are an HOI class, and that is the one that the file states, if it states one. For
    HICO-DET's and V-COCO's classes the usual numbering holds unless it cannot be meant.

    Args:
        path: the file, for messages.
        numbers: its pairs.
        vocabulary: the classes.
        hint: decides between numberings that fit equally well.

    Raises:
        InputError: none fits most pairs, or several fit equally well.
    """
    known, count = usual(vocabulary), len(numbers.verb)
    if not count:
        return hint or known, None
    is_published = vocabulary in (hico_det(), vcoco())
    if is_published and not _impossible(numbers, vocabulary, known):
        return known, None
    likely, unlikely = _candidates(vocabulary, with_zero_hoi=bool(numbers.stated.any()))
    for candidates in (likely, unlikely):
        wrong = [int(_misfits(numbers, vocabulary, c).sum()) for c in candidates]
        whole = [c for c, n in zip(candidates, wrong, strict=True) if n == 0]
        if whole:
            return _decided(path, numbers, vocabulary, whole, hint, known)
    if is_published:
        return known, None
    wrong = [int(_misfits(numbers, vocabulary, c).sum()) for c in likely]
    least = min(wrong)
    best = [c for c, n in zip(likely, wrong, strict=True) if n == least]
    if least <= _MOST * count:
        return _decided(path, numbers, vocabulary, best, hint, known)
    raise _none_fits(path, numbers, vocabulary, known if known in best else best[0])


def with_first_hoi(numbers: PairNumbers, vocabulary: Vocabulary, numbering: Numbering) -> Numbering:
    """The numbering, its `hoi_category_id` counted from 0 where only then all pairs fit.

    That of HICO-DET's and V-COCO's classes counts from 1.
    """
    from_zero = replace(numbering, first_hoi=0)
    is_published = vocabulary in (hico_det(), vcoco())
    if is_published or not _misfits(numbers, vocabulary, numbering).any():
        return numbering
    return numbering if _misfits(numbers, vocabulary, from_zero).any() else from_zero


def doubt(numbers: PairNumbers, vocabulary: Vocabulary, numbering: Numbering) -> str | None:
    """What speaks against the numbering: most pairs do not fit it, or all fit another one."""
    wrong = int(_misfits(numbers, vocabulary, numbering).sum())
    if not wrong:
        return None
    likely, _ = _candidates(vocabulary, with_zero_hoi=False)
    better = [c.name for c in likely if not _misfits(numbers, vocabulary, c).any()]
    if not better and wrong <= _MOST * len(numbers.verb):
        return None
    told = (
        f"{wrong} of {len(numbers.verb)} pairs do not fit the vocabulary, read as {numbering.name}"
    )
    return told + (f", but all do as {' or '.join(better)}" if better else "")


def _candidates(
    vocabulary: Vocabulary, *, with_zero_hoi: bool
) -> tuple[list[Numbering], list[Numbering]]:
    """Numberings that files have, and those that they have where nothing else fits."""
    likely: list[Numbering] = []
    unlikely: list[Numbering] = []
    for name in NAMES:
        by_place = name.startswith("coco") and not is_of_coco(vocabulary)
        if by_place and vocabulary.num_objects > len(COCO_IDS):
            continue
        # COCO's ids by place for a shorter list of other classes would be odd.
        odd = by_place and vocabulary.num_objects < len(COCO_IDS)
        (unlikely if odd else likely).append(numbering_of(name, vocabulary))
    if with_zero_hoi:
        unlikely += [replace(c, first_hoi=0) for c in (*likely, *unlikely)]
    return likely, unlikely


def _decided(
    path: Path,
    numbers: PairNumbers,
    vocabulary: Vocabulary,
    fitting: list[Numbering],
    hint: Numbering | None,
    known: Numbering,
) -> tuple[Numbering, str | None]:
    """The only reading among those that fit equally well, or the hint."""
    readings = {_classes(numbers, vocabulary, c).tobytes(): c for c in reversed(fitting)}
    # Of equal readings, the usual name.
    chosen = known if known in fitting else fitting[0]
    if len(readings) > 1:
        if hint is None or hint not in fitting:
            names = " or ".join(c.name for c in fitting)
            problem = f"its class numbers could be {names}"
            raise InputError(path, problem, fix="Say which with --annotation-numbering")
        chosen = hint
        others = ", ".join(c.name for c in fitting if c != hint)
        return chosen, (
            f"class numbers of the annotations are read as {hint.name}, as --numbering says, "
            f"though {others} would fit too; --annotation-numbering decides"
        )
    if (chosen.objects, chosen.first_verb, chosen.first_hoi) == (
        known.objects,
        known.first_verb,
        known.first_hoi,
    ):
        return chosen, None
    zero = ", hoi_category_id from 0" if chosen.first_hoi == 0 else ""
    told = f"class numbers of the annotations are read as {chosen.name}{zero}, which fits them best"
    return chosen, f"{told}; --annotation-numbering states another"


def _classes(numbers: PairNumbers, vocabulary: Vocabulary, numbering: Numbering) -> np.ndarray:
    """(2, R) verb and object of each pair, `num_objects` for no object; `UNKNOWN` for no class."""
    verb = numbers.verb - numbering.first_verb
    verb = np.where((verb >= 0) & (verb < vocabulary.num_verbs), verb, UNKNOWN)
    object_ = numbering.object_classes(numbers.object)
    return np.stack([verb, np.where(numbers.alone, vocabulary.num_objects, object_)])


def _misfits(numbers: PairNumbers, vocabulary: Vocabulary, numbering: Numbering) -> np.ndarray:
    """(R,) bool: the pair does not fit."""
    return _reasons(numbers, vocabulary, numbering) != 0


def _reasons(numbers: PairNumbers, vocabulary: Vocabulary, numbering: Numbering) -> np.ndarray:
    """(R,) why each pair does not fit, 0 where it does."""
    verb, object_ = _classes(numbers, vocabulary, numbering)
    # Without meaning where verb or object is no class, which is the reason then.
    hoi = vocabulary.hoi_of[verb, object_]
    subject = numbering.object_classes(numbers.subject)
    return np.select(
        [
            subject != vocabulary.person,
            object_ == UNKNOWN,
            verb == UNKNOWN,
            hoi == UNKNOWN,
            numbers.stated & (numbers.hoi - numbering.first_hoi != hoi),
        ],
        [_SUBJECT, _OBJECT, _VERB, _PAIR, _STATED],
        0,
    )


def _impossible(numbers: PairNumbers, vocabulary: Vocabulary, numbering: Numbering) -> bool:
    """Whether most pairs do not fit, and some not for what they are but for their numbers."""
    reasons = _reasons(numbers, vocabulary, numbering)
    is_odd = np.isin(reasons, (_SUBJECT, _OBJECT, _VERB)).any()
    return bool(is_odd) and int((reasons != 0).sum()) > _MOST * len(reasons)


def _none_fits(
    path: Path, numbers: PairNumbers, vocabulary: Vocabulary, nearest: Numbering
) -> InputError:
    reasons = _reasons(numbers, vocabulary, nearest)
    first = int(np.argmax(reasons != 0))
    verb, object_ = _classes(numbers, vocabulary, nearest)[:, first]
    ids, last = nearest.objects, nearest.first_verb + vocabulary.num_verbs - 1
    name = ""
    if reasons[first] in (_PAIR, _STATED):
        named = [*vocabulary.objects, "(no object)"][object_]
        name = f"{vocabulary.verbs[verb].name} {named}"
    told = {
        _SUBJECT: f"the subject's category_id {numbers.subject[first]} is not a person, which is "
        f"{ids[vocabulary.person]}",
        _OBJECT: f"the object's category_id {numbers.object[first]} is no class of {_spans(ids)}",
        _VERB: f"the pair's category_id {numbers.verb[first]} is no verb of "
        f"{nearest.first_verb}..{last}",
        _PAIR: f"{name} is no HOI class",
        _STATED: f"hoi_category_id {numbers.hoi[first]} is not {name}",
    }[int(reasons[first])]
    count = int((reasons != 0).sum())
    problem = f"no numbering fits the vocabulary: not {count} of {len(reasons)} pairs even as"
    fix = "Give the --vocabulary of the file, its classes in the file's order"
    return InputError(
        path,
        f"{problem} {nearest.name}, as {told}",
        row=int(numbers.row[first]),
        fix=f"{fix}, or state --annotation-numbering",
    )


def _spans(ids: Sequence[int]) -> str:
    """Whole numbers, runs as A..B."""
    runs = groupby(enumerate(sorted(ids)), lambda item: item[1] - item[0])
    told = []
    for _, run in runs:
        values = [value for _, value in run]
        told.append(str(values[0]) if len(values) == 1 else f"{values[0]}..{values[-1]}")
    return ", ".join(told)
