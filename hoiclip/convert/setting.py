"""Which of the published settings a released checkpoint belongs to, and its vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

import numpy as np
import torch

from hoiclip.catalog.vocabularies import hico_det, vcoco
from hoiclip.checkpoints.pytorch import Checkpoint
from hoiclip.core.files import read_json
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.errors import WeightsError

DEFAULT, V_COCO = "default", "vcoco"


@dataclass(frozen=True)
class Setting:
    """A published setting.

    Attributes:
        name: `default` (HICO-DET, also its fractions), `vcoco`, or a zero-shot setting's.
        vocabulary: HICO-DET's or V-COCO's.
        zero_shot: whether training saw a part of the HOI classes only.
        verb_weight: its published λ_v.
        seen: (S,) HOI classes of its training head, ascending.
        verb_to_hoi: (V, S) 0/1, the verb-of-HOI matrix of HOICLIP's training head.
    """

    name: str
    vocabulary: Vocabulary
    zero_shot: bool
    verb_weight: float
    seen: np.ndarray
    verb_to_hoi: np.ndarray


def _unseen_lists() -> dict[str, list[int]]:
    with resources.as_file(
        resources.files("hoiclip.catalog") / "published" / "zero_shot_splits.json"
    ) as path:
        return read_json(path)


def setting_names() -> list[str]:
    """Names of all settings, `default` first."""
    return [DEFAULT, *sorted(_unseen_lists()), V_COCO]


def released_vcoco_verb_to_hoi(vocabulary: Vocabulary) -> np.ndarray:
    """(V, C) 0/1: the released matrix, whose columns are objects where HOI classes are meant.

    Released V-COCO models are trained with it, so their logits need it.
    """
    matrix = np.zeros((vocabulary.num_verbs, vocabulary.num_hois), np.float32)
    matrix[vocabulary.verb_of_hoi, vocabulary.object_of_hoi] = 1
    return matrix


def published_settings() -> Iterator[Setting]:
    """Every setting; V-COCO twice, with the released matrix first and the right one second."""
    hico, verbs = hico_det(), vcoco()
    hois = np.arange(hico.num_hois)
    yield Setting(DEFAULT, hico, False, 0.5, hois, hico.verb_to_hoi)
    for name, unseen in _unseen_lists().items():
        seen = np.setdiff1d(hois, unseen)
        yield Setting(name, hico, True, 0.5, seen, hico.verb_to_hoi[:, seen])
    for matrix in (released_vcoco_verb_to_hoi(verbs), verbs.verb_to_hoi):
        yield Setting(V_COCO, verbs, False, 0.1, np.arange(verbs.num_hois), matrix)


def detect_setting(checkpoint: Checkpoint, asked: str | None = None) -> Setting:
    """The setting whose verb-of-HOI matrix the checkpoint carries; no two share theirs.

    Args:
        checkpoint: a released HOICLIP checkpoint.
        asked: name of the setting that it has to be of, or None for whatever it is.

    Raises:
        WeightsError: it is of no known setting, of another one than `asked`, or its `args` name
            another one.
    """
    path = checkpoint.path
    check_known(asked)
    shape = checkpoint.shape("verb2hoi_proj", 2)
    matrix = checkpoint.state["verb2hoi_proj"].float()
    for setting in published_settings():
        expected = torch.from_numpy(np.ascontiguousarray(setting.verb_to_hoi))
        if shape == tuple(expected.shape) and torch.equal(matrix, expected):
            break
    else:
        raise WeightsError(
            f"{path}: verb2hoi_proj {shape} is of no published setting "
            f"({', '.join(setting_names())})"
        )
    check_agrees(checkpoint, setting, asked)
    return setting


def check_known(asked: str | None) -> None:
    """Checks the name of a setting that a person gave.

    Raises:
        WeightsError: no published setting has it.
    """
    if asked not in (None, *setting_names()):
        raise WeightsError(f"unknown setting {asked!r}; known are {', '.join(setting_names())}")


def check_agrees(checkpoint: Checkpoint, setting: Setting, asked: str | None) -> None:
    """Checks that a checkpoint's setting, told from its tensors, is the one asked for and stated.

    Raises:
        WeightsError: it is not the one in `asked`, or its `args` name another one.
    """
    path = checkpoint.path
    if asked not in (None, setting.name):
        raise WeightsError(
            f"{path}: a checkpoint of setting {setting.name!r}, not of {asked!r}; "
            "name the right setting or none"
        )
    said = checkpoint.args.get("zero_shot_type")
    if said is not None and setting.name != V_COCO and said != setting.name:
        raise WeightsError(
            f"{path}: its args say zero_shot_type {said!r}, its tensors are of {setting.name!r}"
        )
