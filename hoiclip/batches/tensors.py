"""What dataclasses of tensors have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tensors:
    """Base of dataclasses of tensors, of such dataclasses, and of other things."""

    def to(self, device: torch.device) -> Self:
        """The same on `device`."""
        return self._each(
            lambda tensor: tensor.to(device, non_blocking=True), lambda part: part.to(device)
        )

    def pin_memory(self) -> Self:
        """The same in pinned memory, from which a copy to a GPU keeps nobody waiting; `DataLoader`
        calls it."""
        return self._each(Tensor.pin_memory, Tensors.pin_memory)

    def _each(self, tensor: Callable[[Tensor], Tensor], part: Callable[[Tensors], Tensors]) -> Self:
        changed: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                changed[field.name] = tensor(value)
            elif isinstance(value, Tensors):
                changed[field.name] = part(value)
        return replace(self, **changed)
