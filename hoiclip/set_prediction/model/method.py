"""What training and inference of every method that predicts a set of pairs have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from hoiclip.batches.batch import Batch
from hoiclip.batches.boxes import cxcywh_to_xyxy
from hoiclip.contract.learning import BatchCounts
from hoiclip.contract.method import FrozenFeatures, Method, NotFiniteError, RankSettings, ScoringT
from hoiclip.contract.scored_pairs import ScoredPairs
from hoiclip.model.config import SetPredictionConfig
from hoiclip.set_prediction.model.batch import LabelledBatch
from hoiclip.set_prediction.model.outputs import Outputs
from hoiclip.set_prediction.model.parameter_groups import DetectorRates
from hoiclip.set_prediction.model.postprocess import postprocess
from hoiclip.set_prediction.model.targets import Targets


class Criterion(Protocol):
    """What a method asks of `hoiclip.set_prediction.criterion.Criterion`, which training alone
    imports."""

    def __call__(
        self, outputs: Outputs, targets: Targets, counts: BatchCounts | None = None
    ) -> dict[str, Tensor]:
        """Weighted loss terms by name."""

    def counts(self, targets: Targets, num_queries: int) -> Tensor:
        """What they are divided by."""


class SetPrediction(Method[LabelledBatch, DetectorRates, ScoringT]):
    """A method whose network gives a fixed number of pairs with scores of all classes.

    Attributes:
        criterion: its loss; None outside training.
    """

    uses_labels = True
    clip_source = "resized"
    config: SetPredictionConfig
    criterion: Criterion | None = None

    @abstractmethod
    def outputs(self, batch: Batch, features: FrozenFeatures | None) -> Outputs:
        """What the network says of a batch.

        Args:
            batch: images and padding, anywhere.
            features: of frozen towers, on the network's device.
        """

    def enhancement(self, outputs: Outputs, scoring: ScoringT) -> np.ndarray | None:
        """(B, C) float32 that is added to every pair's score of a class; None for none."""
        return None

    def loss_counts(self, batch: LabelledBatch) -> Tensor:
        """See `Method.loss_counts`; `hoiclip.set_prediction.model.targets.TargetCounts`.

        Raises:
            RuntimeError: the method has no criterion.
        """
        return self._criterion().counts(batch.targets, self.config.num_queries)

    def training_step(
        self,
        batch: LabelledBatch,
        features: FrozenFeatures | None,
        counts: BatchCounts | None = None,
    ) -> dict[str, Tensor]:
        """See `Method.training_step`; the losses are worked out in float32 always."""
        outputs = self.outputs(batch, features)
        with torch.autocast(self.device.type, enabled=False):
            return self.losses(outputs, batch, features, counts)

    def losses(
        self,
        outputs: Outputs,
        batch: LabelledBatch,
        features: FrozenFeatures | None,
        counts: BatchCounts | None = None,
    ) -> dict[str, Tensor]:
        """Weighted loss terms of what the network says.

        Raises:
            RuntimeError: the method has no criterion.
        """
        return self._criterion()(outputs, batch.targets, counts)

    def _criterion(self) -> Criterion:
        if self.criterion is None:
            raise RuntimeError("outside training there is no criterion")
        return self.criterion

    @torch.inference_mode()
    def score_pairs(
        self, batch: Batch, settings: RankSettings, scorings: Sequence[ScoringT]
    ) -> list[ScoredPairs]:
        """See `Method.score_pairs`; scores are of the last decoder layer."""
        features = None
        if batch.clip_pixels is not None:
            features = self.frozen_features(batch.clip_pixels.to(self.device))
        outputs = self.outputs(batch, features)
        _check_finite(outputs)
        human_boxes, object_boxes = _boxes_in_pixels(outputs, batch.sizes)
        object_logits = outputs.object_logits[-1, ..., :-1]
        if self.vocabulary.has_missing_objects:
            missing = object_logits.argmax(-1) == self.vocabulary.num_objects
            object_boxes[missing.cpu().numpy()] = np.nan
        return postprocess(
            outputs.hoi_logits[-1].sigmoid().cpu().numpy(),
            object_logits.sigmoid().cpu().numpy(),
            human_boxes,
            object_boxes,
            self.vocabulary.object_of_hoi,
            [self.enhancement(outputs, scoring) for scoring in scorings],
            top_k=settings.top_k,
            nms=settings.nms,
            threads=settings.threads,
        )


def _boxes_in_pixels(
    outputs: Outputs, sizes: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Human and object boxes_xyxy (B, Q, 4) of the last layer, in pixels of the original images."""
    boxes = torch.stack([outputs.human_boxes_cxcywh[-1], outputs.object_boxes_cxcywh[-1]])
    scale = torch.tensor(sizes, dtype=torch.float32, device=boxes.device).repeat(1, 2)[:, None]
    humans, objects = (cxcywh_to_xyxy(boxes) * scale).cpu().numpy()
    return humans, objects


def _check_finite(outputs: Outputs) -> None:
    last = [
        outputs.hoi_logits[-1],
        outputs.object_logits[-1],
        outputs.human_boxes_cxcywh[-1],
        outputs.object_boxes_cxcywh[-1],
    ]
    if outputs.clip_similarity is not None:
        last.append(outputs.clip_similarity)
    finite = torch.stack([torch.isfinite(values).flatten(1).all(1) for values in last]).all(0)
    if not finite.all():
        raise NotFiniteError(int(finite.int().argmin()))
