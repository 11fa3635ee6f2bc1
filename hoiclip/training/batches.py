"""Which images a step learns from, and which process takes which of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

Part = list[int]
"""Images that go through the network together."""


@dataclass(frozen=True)
class BatchOrder:
    """The order of images, which depends on the seed and the epoch alone.

    Every step takes `batch_size` images, however many processes share them; what an epoch has left
    at its end is dropped.

    Attributes:
        images: how many there are.
        batch_size: images of a step, over all processes.
        seed: of the order.
        rank: number of this process.
        processes: how many share a batch.
        most: images that a process takes at once; more go through one part after another. None for
            all of its share.
    """

    images: int
    batch_size: int
    seed: int
    rank: int = 0
    processes: int = 1
    most: int | None = None

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.images // self.batch_size

    @property
    def parts(self) -> int:
        """Parts in which this process takes its share of a batch."""
        share = len(range(self.rank, self.batch_size, self.processes))
        return 1 if self.most is None else -(-share // self.most)

    def epoch(self, epoch: int, done: int = 0) -> Iterator[list[Part]]:
        """This process's parts of each batch of an epoch, after the `done` first ones."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.images)
        for step in range(done, self.steps):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            share = batch[self.rank :: self.processes]
            yield [part.tolist() for part in np.array_split(share, self.parts)]
