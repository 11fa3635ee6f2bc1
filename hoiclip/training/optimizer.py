"""AdamW and the step schedule."""

from __future__ import annotations

from typing import Any

import torch

from hoiclip.training.config import OptimizationConfig


def build_optimizer(
    groups: list[dict[str, Any]], config: OptimizationConfig
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW with weight decay on every trained tensor, and the step schedule (per epoch).

    Args:
        groups: parameters by learning rate, see `hoiclip.contract.method.Method`.
        config: weight decay, epoch and factor of the drop.
    """
    optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda epoch: config.lr_drop_factor if epoch >= config.lr_drop_epoch else 1.0,
    )
    return optimizer, schedule
