"""How "HOIA" annotations number their classes.

| name | `category_id` of a box | of a pair |
|---|---|---|
| `coco` | COCO's id | verb from 1 |
| `one-based` | object class from 1 | verb from 1 |
| `zero-based` | object class from 0 | verb from 0 |
| `coco-verbs-from-0`, `one-based-verbs-from-0` | as above | verb from 0 |
| `zero-based-verbs-from-1` | as above | verb from 1 |

COCO's ids belong to classes by name where all objects of the vocabulary are COCO's, else by place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from hoiclip.catalog.vocabularies import COCO_IDS, hico_det, vcoco
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.errors import InputError
from hoiclip.formats.annotations.source_rows import UNKNOWN

NumberingName = Literal[
    "coco",
    "one-based",
    "zero-based",
    "coco-verbs-from-0",
    "one-based-verbs-from-0",
    "zero-based-verbs-from-1",
]
NAMES: tuple[NumberingName, ...] = get_args(NumberingName)


@dataclass(frozen=True)
class Numbering:
    """How a file numbers its classes.

    Attributes:
        objects: id of each object class in the file, in the vocabulary's order.
        first_verb: id of the first verb.
        first_hoi: `hoi_category_id` of the first HOI class.
        name: one of `NAMES`.
    """

    objects: Sequence[int]
    first_verb: int
    first_hoi: int = 1
    name: NumberingName = "coco"

    def object_classes(self, ids: np.ndarray) -> np.ndarray:
        """(N,) object class of each of (N,) ids; `UNKNOWN` for one that is none."""
        known = np.array(self.objects, np.int64)
        order = np.argsort(known)
        place = np.searchsorted(known[order], ids).clip(max=len(known) - 1)
        return np.where(known[order][place] == ids, order[place], UNKNOWN)


HICO_DET = Numbering(COCO_IDS, first_verb=1)
V_COCO = Numbering(COCO_IDS, first_verb=0, name="coco-verbs-from-0")


def numbering_of(name: NumberingName, vocabulary: Vocabulary) -> Numbering:
    """The numbering of that name.

    Raises:
        ValueError: COCO's ids, for more object classes than COCO has.
    """
    first_verb = int(name in ("coco", "one-based", "zero-based-verbs-from-1"))
    if name.startswith("coco"):
        if vocabulary.num_objects > len(COCO_IDS):
            raise ValueError(f"COCO has no ids for {vocabulary.num_objects} object classes")
        return Numbering(_coco_ids(vocabulary), first_verb, name=name)
    first_object = int(name.startswith("one-based"))
    objects = range(first_object, first_object + vocabulary.num_objects)
    return Numbering(tuple(objects), first_verb, name=name)


def named_numbering(path: Path, name: NumberingName, vocabulary: Vocabulary) -> Numbering:
    """`numbering_of`, for a file.

    Raises:
        InputError: the vocabulary has no such numbering.
    """
    try:
        return numbering_of(name, vocabulary)
    except ValueError as error:
        raise InputError(path, f"not numbered as {name}: {error}") from None


def usual(vocabulary: Vocabulary) -> Numbering:
    """The numbering of HICO-DET's and V-COCO's files; from 1 for objects other than COCO's."""
    if vocabulary == vcoco():
        return V_COCO
    is_coco = vocabulary.objects == hico_det().objects
    return numbering_of("coco" if is_coco else "one-based", vocabulary)


def is_of_coco(vocabulary: Vocabulary) -> bool:
    """Whether all objects of the vocabulary are COCO's, by name."""
    return set(map(_plain, vocabulary.objects)) <= set(map(_plain, hico_det().objects))


def _coco_ids(vocabulary: Vocabulary) -> tuple[int, ...]:
    if not is_of_coco(vocabulary):
        return COCO_IDS[: vocabulary.num_objects]
    ids = dict(zip(map(_plain, hico_det().objects), COCO_IDS, strict=True))
    return tuple(ids[_plain(name)] for name in vocabulary.objects)


def _plain(name: str) -> str:
    return name.replace("_", " ").replace("-", " ").casefold()
