"""Images and their annotated pairs."""

from __future__ import annotations

from dataclasses import dataclass

from hoiclip.batches.batch import Batch
from hoiclip.set_prediction.model.targets import Targets


@dataclass(frozen=True)
class LabelledBatch(Batch):
    """B images and their annotated pairs.

    Attributes:
        targets: the pairs.
    """

    targets: Targets
