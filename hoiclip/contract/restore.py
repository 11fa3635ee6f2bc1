"""Modules with the tensors of a file in them, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from hoiclip.core.config import check
from hoiclip.core.vocabulary import Vocabulary

M = TypeVar("M", bound=nn.Module)


def restore_module(build: Callable[[], M], state: Mapping[str, Tensor]) -> M:
    """What `build` makes, with `state` in it; without memory for more than the file holds.

    Raises:
        ValueError: a tensor is missing or of another shape; names it.
    """
    with torch.device("meta"):
        expected = build().state_dict()
    for name, tensor in expected.items():
        check(name in state, f"{name} is missing")
        found, wanted = tuple(state[name].shape), tuple(tensor.shape)
        check(found == wanted, f"{name} has shape {found}, the header's sizes need {wanted}")
    module = build()
    module.load_state_dict(state)
    return module


def check_classes(
    vocabulary: Vocabulary, hoi_embeddings: Tensor, object_embeddings: Tensor
) -> None:
    """Sees to it that a file's tables have a row for each class.

    Args:
        vocabulary: of the file.
        hoi_embeddings: (C, E).
        object_embeddings: (O + 1, E), 'nothing' last.

    Raises:
        ValueError: another number of rows.
    """
    objects = vocabulary.num_objects + vocabulary.has_missing_objects + 1
    for name, table, rows in (
        ("HOI classes", hoi_embeddings, vocabulary.num_hois),
        ("objects", object_embeddings, objects),
    ):
        check(len(table) == rows, f"vocabulary: {rows} {name}, the tensors have {len(table)}")
