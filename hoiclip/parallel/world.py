"""The processes that work together: those that torchrun started, or one alone."""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

T = TypeVar("T")
LONGEST_PASS = timedelta(days=2)
"""One may be at its share of a pass for hours; where one dies, torchrun ends all."""


@dataclass(frozen=True)
class World:
    """The processes, and which of them this is.

    What they tell each other through this class goes by the CPU (gloo), so that no device waits.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
        local_rank: number of this process on its machine, which is that of its device.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @classmethod
    def of_environment(cls) -> World:
        """As torchrun states it in the environment; one process where it states nothing."""
        said = os.environ
        if "RANK" not in said or "WORLD_SIZE" not in said:
            return cls()
        rank = int(said["RANK"])
        return cls(rank, int(said["WORLD_SIZE"]), int(said.get("LOCAL_RANK", rank)))

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def join(self, longest_wait: timedelta = LONGEST_PASS) -> World:
        """Connects the processes, until they end; of one process there is nothing to connect.

        Args:
            longest_wait: for another process, on the CPU and on GPUs; then all end with an error.
        """
        if self.size > 1 and not dist.is_initialized():
            backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            dist.init_process_group(backend, timeout=longest_wait)
            atexit.register(dist.destroy_process_group)
        return self

    def wait(self) -> None:
        """Returns once all processes are here."""
        self.sum(torch.zeros(1))

    def sum(self, values: Tensor) -> Tensor:
        """The sum over processes of tensors on the CPU."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def of_main(self, value: T) -> T:
        """What the main process gives, of plain values and tensors on the CPU."""
        held = [value]
        if self.size > 1:
            dist.broadcast_object_list(held, src=0)
        return held[0]
