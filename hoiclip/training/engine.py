"""One step of optimisation over a batch, in one process or several, at once or in parts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import reduce
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hoiclip.contract.learning import BatchCounts, TrainingBatch
from hoiclip.contract.method import FrozenFeatures, Method
from hoiclip.parallel.world import World
from hoiclip.training.config import OptimizationConfig

BatchT = TypeVar("BatchT", bound=TrainingBatch)
Features = Callable[[TrainingBatch], FrozenFeatures | None]
Losses = dict[str, Tensor]
_MOST_GRAPHS = 64


class _Losses(nn.Module):
    """A method's loss terms as a module, as `DistributedDataParallel` wants them."""

    def __init__(self, method: Method[Any, Any, Any]) -> None:
        super().__init__()
        self.method, self.network = method, method.network
        # DDP looks for unused parameters (see `Engine`) and, were there none, would advise against.
        self.unused = nn.Parameter(torch.zeros((), device=method.device))

    def forward(
        self, batch: TrainingBatch, features: FrozenFeatures | None, counts: BatchCounts | None
    ) -> Losses:
        return self.method.training_step(batch, features, counts)


class Engine(Generic[BatchT]):
    """Makes steps of AdamW.

    The sum of the terms of a batch's parts is the batch's loss (`BatchCounts`), so that neither the
    number of processes nor that of parts changes a step, but for the draws of dropout and the
    last bits.

    Args:
        method: on its device, ready to train.
        features: gives the features by frozen towers of a batch.
        optimizer: of the network's parameters.
        config: precision, compilation, clipping, seed.
        world: the processes.
    """

    def __init__(
        self,
        method: Method[BatchT, Any, Any],
        features: Features,
        optimizer: torch.optim.Optimizer,
        config: OptimizationConfig,
        world: World,
    ) -> None:
        self.method, self.features, self.optimizer = method, features, optimizer
        self.config, self.world = config, world
        if config.compile:
            # In place, so that the names of its tensors stay. Sizes that change become free ones;
            # further graphs are of what a guard takes for special, as squares or no padding.
            torch._dynamo.config.recompile_limit = _MOST_GRAPHS
            method.network.compile(fullgraph=True)
        self.losses: nn.Module = _Losses(method)
        if world.size > 1:
            # Otherwise gradients are packed anew after a process's first step, which moves them to
            # another place in the order of sums: a training that goes on would differ in last bits.
            with warnings.catch_warnings():
                # What it names as a successor synchronises buffers, too, which all have alike.
                warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)
                self.losses = DistributedDataParallel(
                    self.losses, broadcast_buffers=False, find_unused_parameters=True
                )

    def step(self, parts: Sequence[BatchT], number: int) -> Losses:
        """One step.

        Args:
            parts: this process's share of a batch.
            number: of the step, from 0 over all epochs; the draws of dropout depend on it, the seed
                and the process alone, so that a training may stop after any step.

        Returns:
            Loss terms of this share, and their sum `total`, scalars on the device.
        """
        torch.manual_seed(seed_of_step(self.config.seed, number, self.world.rank))
        counts = self._counts(parts)
        sums: Losses = {}
        for place, part in enumerate(parts, 1):
            with self._apart(place < len(parts)):
                terms = self._terms(part, counts)
                # Over processes gradients are averaged, and these are shares of a sum.
                (terms["total"] * self.world.size).backward()
            for name, term in terms.items():
                sums[name] = sums.get(name, 0) + term.detach()
        if self.config.clip_norm > 0:
            nn.utils.clip_grad_norm_(self.method.network.parameters(), self.config.clip_norm)
        self.optimizer.step()
        # Here, not before the backward pass: the next forward pass needs the memory.
        self.optimizer.zero_grad(set_to_none=True)
        return sums

    def _counts(self, parts: Sequence[BatchT]) -> BatchCounts | None:
        if len(parts) == 1 and self.world.size == 1:
            return None
        own = torch.stack([self.method.loss_counts(part) for part in parts]).sum(0)
        return BatchCounts(self.world.sum(own), own, self.world.size)

    def _apart(self, apart: bool) -> AbstractContextManager[Any]:
        """Lets a backward pass add to the gradients without telling other processes."""
        if apart and isinstance(self.losses, DistributedDataParallel):
            return self.losses.no_sync()
        return nullcontext()

    def _terms(self, part: BatchT, counts: BatchCounts | None) -> Losses:
        # Frozen towers work in float32, as in inference and where their features are kept.
        features, device = self.features(part), self.method.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.config.precision == "bf16"):
            terms = self.losses(part, features, counts)
        return {**terms, "total": reduce(torch.add, terms.values())}


def seed_of_step(seed: int, step: int, rank: int) -> int:
    """Seed of what a process draws in a step."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0])
