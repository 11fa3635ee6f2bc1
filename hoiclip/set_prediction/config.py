"""Training of methods that predict a set of pairs (`train` in params.yaml)."""

from __future__ import annotations

from dataclasses import dataclass

from hoiclip.batches.transforms import TransformsConfig
from hoiclip.set_prediction.criterion import LossConfig
from hoiclip.set_prediction.matcher import MatchingConfig
from hoiclip.training.config import OptimizationConfig
from hoiclip.util.ranges import CountOrZero, Rate


@dataclass(frozen=True, kw_only=True)
class TrainConfig(OptimizationConfig):
    """Optimisation, losses and augmentation (`train` in params.yaml), with the papers' values.

    Attributes:
        warm_start: whether what a DETR has starts from the one of `weights` (papers: yes) or from
            random weights.
        lr_backbone: the backbone's rate (1e-5); 0 freezes it.
        aspect_window: images among which batches of like shapes are made, so that less is padded; 0
            makes them at random (papers).
        loss: weights of the losses.
        matching: weights of the matching cost.
        transforms: image sizes and augmentation.
    """

    warm_start: bool
    lr_backbone: Rate
    aspect_window: CountOrZero
    loss: LossConfig
    matching: MatchingConfig
    transforms: TransformsConfig
