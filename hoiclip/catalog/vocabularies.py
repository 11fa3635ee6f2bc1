"""Vocabularies from JSON: HICO-DET's and V-COCO's, which ship with the package, and people's own.

The layout: `objects` a list of names with `person` among them; `verbs` a list of {`name`, `phrase`,
`phrase_alone`}, where a phrase is the -ing form for prompts or null; `hois` a list of
[verb name, object name or null]. The order of each list gives the ids.
"""

from __future__ import annotations

import reprlib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from hoiclip.core.files import read_json
from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.errors import InputError
from hoiclip.util.json_values import entries, like, mapping, text

_UNUSED_COCO_IDS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}

COCO_IDS = tuple(i for i in range(1, 91) if i not in _UNUSED_COCO_IDS)
"""COCO's category id of each of its object classes, in COCO order."""


@cache
def hico_det() -> Vocabulary:
    """HICO-DET: objects in COCO order, verbs alphabetical, HOI classes in HICO's order."""
    return _packaged("hico_det.json")


@cache
def vcoco() -> Vocabulary:
    """V-COCO: a verb is an action-role; HOI classes in the order of the released checkpoints."""
    return _packaged("vcoco.json")


SHIPPED = {"hico_det": hico_det, "vcoco": vcoco}
"""Vocabularies that come with the package, by name."""


def named_vocabulary(name: str) -> Vocabulary:
    """The vocabulary of that name in `SHIPPED`, or in that file (`.json` or Parquet).

    Raises:
        InputError: no such file, or malformed.
    """
    if name in SHIPPED:
        return SHIPPED[name]()
    if name.lower().endswith(".json"):
        return read_vocabulary(name)
    if not Path(name).is_file():
        raise InputError(name, "no such file", fix=f"Or name one of {', '.join(SHIPPED)}")
    return Vocabulary.read(name)


def published_rare(vocabulary: Vocabulary) -> np.ndarray | None:
    """(num_hois,) bool: HICO-DET's rare classes as published; None for other vocabularies.

    They have fewer than 10 instances in the published train partition.
    """
    if vocabulary.hois != hico_det().hois:
        return None
    file = resources.files("hoiclip.catalog") / "published" / "hico_det_rare.json"
    with resources.as_file(file) as path:
        listed = read_json(path)["rare"]
    rare = np.zeros(vocabulary.num_hois, bool)
    rare[listed] = True
    return rare


def _packaged(name: str) -> Vocabulary:
    file = resources.files("hoiclip.catalog") / "published" / name
    with resources.as_file(file) as path:
        return read_vocabulary(path)


def read_vocabulary(path: str | Path) -> Vocabulary:
    """Reads a vocabulary in the layout above.

    Raises:
        InputError: not such a file, a name listed twice, a class of an unknown verb or object.
    """
    document = mapping(path, None, "document", read_json(path))
    objects = [text(path, i, "objects", v) for i, v in entries(path, document, "objects")]
    verbs = [_verb(path, i, v) for i, v in entries(path, document, "verbs")]
    object_ids = {name: index for index, name in enumerate(objects)}
    verb_ids = {verb.name: index for index, verb in enumerate(verbs)}
    hois = [_hoi(path, i, v, verb_ids, object_ids) for i, v in entries(path, document, "hois")]
    try:
        return Vocabulary(tuple(objects), tuple(verbs), tuple(hois))
    except ValueError as error:
        raise InputError(path, str(error)) from None


def _verb(path: str | Path, row: int, value: Any) -> Verb:
    value = mapping(path, row, "verbs", value)
    name = text(path, row, "verbs.name", value.get("name"))
    phrases = [
        None if value.get(key) is None else text(path, row, f"verbs.{key}", value[key])
        for key in ("phrase", "phrase_alone")
    ]
    return Verb(name, *phrases)


def _hoi(
    path: str | Path, row: int, value: Any, verbs: dict[str, int], objects: dict[str, int]
) -> Hoi:
    if not isinstance(value, list) or len(value) != 2:
        problem = f"{reprlib.repr(value)}, expected [verb, object or null]"
        raise InputError(path, problem, row=row, key="hois")
    verb = text(path, row, "hois", value[0])
    object_ = None if value[1] is None else text(path, row, "hois", value[1])
    if verb not in verbs:
        problem = f"{verb!r} is not one of `verbs`{like(verb, verbs)}"
        raise InputError(path, problem, row=row, key="hois")
    if object_ is not None and object_ not in objects:
        problem = f"{object_!r} is not one of `objects`{like(object_, objects)}"
        raise InputError(path, problem, row=row, key="hois")
    return Hoi(verbs[verb], None if object_ is None else objects[object_])
