"""Loss terms of training steps, read from the device now and then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from hoiclip.errors import NonFiniteLossError
from hoiclip.parallel.world import World
from hoiclip.training.engine import Losses
from hoiclip.training.state import Progress

STEPS_PER_RECORD = 20
"""Steps of an epoch between two readings, of which each is a row of the history."""


class Recent:
    """Loss terms of the last steps, which stay on the device until they are read.

    Args:
        world: the processes, whose terms are summed.
        section: of params, for messages.
        file_names: of all images, for messages.
    """

    def __init__(self, world: World, section: str, file_names: Sequence[str]) -> None:
        self.world, self.section, self.file_names = world, section, file_names
        self.losses: list[Losses] = []
        self.first_images: list[list[int]] = []

    def add(self, losses: Losses, parts: Sequence[Any]) -> None:
        """Adds a step's terms; `parts` are the batches that it learnt from."""
        self.losses.append(losses)
        self.first_images.append(parts[0].indices[:4])

    def read(self, progress: Progress) -> list[dict[str, float]]:
        """The terms of each step since the last reading, over all processes.

        Raises:
            NonFiniteLossError: one is not a finite number.
        """
        if not self.losses:
            return []
        names = list(self.losses[0])
        table = torch.stack([torch.stack([step[name] for name in names]) for step in self.losses])
        table = self.world.sum(table.double().cpu())
        first, images = progress.step - len(table), self.first_images
        self.losses, self.first_images = [], []
        for row in (~torch.isfinite(table)).any(1).nonzero().flatten().tolist()[:1]:
            said = dict(zip(names, table[row].tolist(), strict=True))
            shown = ", ".join(self.file_names[index] for index in images[row])
            raise NonFiniteLossError(
                f"epoch {progress.epoch + 1}, step {first + row + 1}: the loss is not finite "
                f"({said}), first images {shown}. "
                f"Lower {self.section}.lr or {self.section}.clip_norm"
            )
        return [dict(zip(names, values, strict=True)) for values in table.tolist()]
