"""The optimiser and its schedule (HOICLIP section 4.1)."""

from __future__ import annotations

import torch

from hoiclip.model.hoiclip import HOICLIP
from hoiclip.set_prediction.parameter_groups import parameter_groups
from hoiclip.training.config import TrainConfig


def build_optimizer(
    model: HOICLIP, config: TrainConfig
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW with weight decay on every trained tensor, and the step schedule (per epoch)."""
    rates = {"lr": config.lr, "lr_backbone": config.lr_backbone}
    groups = parameter_groups(model, model.encoder.backbone, rates)
    optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda epoch: config.lr_drop_factor if epoch >= config.lr_drop_epoch else 1.0,
    )
    return optimizer, schedule
