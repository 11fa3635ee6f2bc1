"""What is trained, at which rate (HOICLIP section 4.1)."""

from __future__ import annotations

import torch
from torch import nn

from hoiclip.model.hoiclip import HOICLIP
from hoiclip.training.config import TrainConfig


def parameter_groups(model: HOICLIP, config: TrainConfig) -> list[dict]:
    """Parameters by learning rate; what is frozen is in no group and gets no gradient.

    Stem and first stage of the backbone are never trained; a backbone rate of 0 freezes it whole.
    """
    backbone = model.encoder.backbone
    frozen = {id(p) for part in backbone.frozen_part() for p in part.parameters()}
    if config.lr_backbone == 0:
        frozen |= {id(p) for p in backbone.parameters()}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) not in frozen)
    of_backbone = {id(p) for p in backbone.parameters()}
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [{"params": [p for p in trained if id(p) not in of_backbone], "lr": config.lr}]
    if config.lr_backbone > 0:
        rate = config.lr_backbone
        groups.append({"params": [p for p in trained if id(p) in of_backbone], "lr": rate})
    return groups


def build_optimizer(
    model: nn.Module, config: TrainConfig
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW with weight decay on every trained tensor, and the step schedule (per epoch)."""
    optimizer = torch.optim.AdamW(parameter_groups(model, config), weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda epoch: config.lr_drop_factor if epoch >= config.lr_drop_epoch else 1.0,
    )
    return optimizer, schedule
