"""What of a detector is trained, at which rate (HOICLIP section 4.1, GEN-VLKT section 4.1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from torch import nn

from hoiclip.contract.method import Rates
from hoiclip.model.detector_encoder import Backbone


class DetectorRates(Rates, Protocol):
    """The rates that `hoiclip.set_prediction.config.TrainConfig` has."""

    @property
    def lr_backbone(self) -> float:
        """Of the backbone."""


def parameter_groups(
    network: nn.Module,
    backbone: Backbone,
    rates: DetectorRates,
    others: Iterable[tuple[Iterable[nn.Parameter], float]] = (),
) -> list[dict[str, Any]]:
    """Parameters by learning rate; what is frozen is in no group and gets no gradient.

    Stem and first stage of the backbone are never trained; a backbone rate of 0 freezes it whole.

    Args:
        network: whose parameters they are.
        backbone: part of it.
        rates: of what is in no other group, and of the backbone.
        others: further groups, parameters and rate each; a rate of 0 freezes them.
    """
    special = [(list(backbone.parameters()), rates.lr_backbone)]
    special += [(list(parameters), rate) for parameters, rate in others]
    frozen = {id(p) for part in backbone.frozen_part() for p in part.parameters()}
    frozen |= {id(p) for parameters, rate in special if rate == 0 for p in parameters}
    for parameter in network.parameters():
        parameter.requires_grad_(id(parameter) not in frozen)
    apart = {id(p) for parameters, _ in special for p in parameters}
    main = [p for p in network.parameters() if p.requires_grad and id(p) not in apart]
    groups: list[dict[str, Any]] = [{"params": main, "lr": rates.lr}]
    for parameters, rate in special:
        if trained := [p for p in parameters if p.requires_grad]:
            groups.append({"params": trained, "lr": rate})
    return groups
