"""Which images a step learns from, and which process takes which of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

Part = list[int]
"""Images that go through the network together."""


@dataclass(frozen=True)
class Aspects:
    """Makes batches of images of like shapes, so that less of them is padding.

    Attributes:
        of_images: (I,) width by height of each.
        window: images, in random order, among which batches are made.
    """

    of_images: np.ndarray
    window: int

    def grouped(self, order: np.ndarray, batch_size: int, rng: np.random.Generator) -> np.ndarray:
        """`order`, whole batches, sorted by aspect within windows, whose batches are then shuffled.

        Args:
            order: indices of images.
            batch_size: of a step.
            rng: of the shuffling.
        """
        most = max(1, self.window // batch_size) * batch_size
        windows = []
        for start in range(0, len(order), most):
            window = order[start : start + most]
            alike = window[np.argsort(self.of_images[window], kind="stable")]
            windows.append(rng.permutation(alike.reshape(-1, batch_size)).ravel())
        return np.concatenate([order[:0], *windows])


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
        aspects: makes batches of images of like shapes; None makes them at random.
    """

    images: int
    batch_size: int
    seed: int
    rank: int = 0
    processes: int = 1
    most: int | None = None
    aspects: Aspects | None = None

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
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(self.images)[: self.steps * self.batch_size]
        if self.aspects is not None:
            order = self.aspects.grouped(order, self.batch_size, rng)
        for step in range(done, self.steps):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            share = batch[self.rank :: self.processes]
            yield [part.tolist() for part in np.array_split(share, self.parts)]
