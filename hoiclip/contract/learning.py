"""What training knows of a method's data: samples, batches, and the files that they come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Tensor


class TrainingBatch(Protocol):
    """What training knows of a batch; the rest is between a method and its data."""

    @property
    def clip_pixels(self) -> Tensor | None:
        """(B, 3, R, R) views for CLIP; None where features of theirs are cached or not needed."""

    @property
    def indices(self) -> list[int]:
        """Index of each sample in its data."""

    @property
    def flipped(self) -> list[bool]:
        """Whether each view is mirrored."""


_CollatedT = TypeVar("_CollatedT", bound=TrainingBatch, covariant=True)


class TrainingData(Protocol[_CollatedT]):
    """Samples to learn from, of which `collate` makes batches.

    A sample depends on the data's seed, on the epoch and on its index alone, so that neither
    workers nor a resumed training change it.
    """

    file_names: list[str]

    def __len__(self) -> int:
        """Number of samples."""

    def sample(self, index: int, epoch: int) -> Any:
        """A sample as the epoch, from 0, shows it."""

    def collate(self, samples: list[Any]) -> _CollatedT:
        """A batch of samples."""


@dataclass(frozen=True)
class BatchCounts:
    """What loss terms are divided by where a batch is worked on in parts, one after another or in
    several processes, so that the sum of the parts' terms is that of the whole batch.

    Attributes:
        whole: (N,) float64, `Method.loss_counts` summed over all parts of the batch.
        own: (N,) those of the parts in this process.
        processes: among which the parts are shared.
    """

    whole: Tensor
    own: Tensor
    processes: int


class TrainingFiles(Protocol):
    """What a method's training reads: tables, images, caches, weights; its fields say which."""

    def files(self) -> list[Path]:
        """All of them, files and folders. With other contents it is another training."""
