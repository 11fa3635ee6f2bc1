"""A module with the tensors of a file in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from hoiclip.config import check

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
