"""What is worked out in float32 also where a network runs in bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

ReturnT = TypeVar("ReturnT")


def in_float32(method: Callable[..., ReturnT]) -> Callable[..., ReturnT]:
    """For methods of modules, which take a tensor first: they work in float32, whatever autocast
    says outside.

    Boxes and logits have too few digits in bfloat16: of a side of 1,000 px it tells apart 4 px.
    """

    @wraps(method)
    def run(module: Any, first: Tensor, *others: Any) -> ReturnT:
        given = [each.float() if _is_half(each) else each for each in (first, *others)]
        if not torch.amp.is_autocast_available(first.device.type):
            return method(module, *given)
        with torch.autocast(first.device.type, enabled=False):
            return method(module, *given)

    return run


def _is_half(value: Any) -> bool:
    return torch.is_tensor(value) and value.dtype in (torch.bfloat16, torch.float16)
