"""What of a network for pairs is trained, at which rate (HOICLIP section 4.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from hoiclip.model.detector_encoder import Backbone


def parameter_groups(
    network: nn.Module,
    backbone: Backbone,
    rates: Mapping[str, float],
    apart: Mapping[str, Iterable[nn.Parameter]] | None = None,
) -> list[dict[str, Any]]:
    """Parameters by learning rate; what is frozen is in no group and gets no gradient.

    Stem and first stage of the backbone are never trained; a rate of 0, but for `lr`, freezes its
    whole group.

    Args:
        network: all that may be trained.
        backbone: its part.
        rates: `lr`, `lr_backbone`, and one for each name in `apart`.
        apart: name of a rate → parameters that learn at it and not at `lr`.

    Returns:
        Groups at `lr`, at `lr_backbone` and as in `apart`, without empty ones.
    """
    rate_of = {id(p): "lr" for p in network.parameters()}
    rate_of |= {id(p): "lr_backbone" for p in backbone.parameters()}
    for name, parameters in (apart or {}).items():
        rate_of |= {id(p): name for p in parameters}
    frozen = {id(p) for part in backbone.frozen_part() for p in part.parameters()}
    groups: dict[str, list[nn.Parameter]] = {"lr": [], "lr_backbone": []}
    for parameter in network.parameters():
        name = rate_of[id(parameter)]
        parameter.requires_grad_(id(parameter) not in frozen and (name == "lr" or rates[name] > 0))
        if parameter.requires_grad:
            groups.setdefault(name, []).append(parameter)
    return [{"params": group, "lr": rates[name]} for name, group in groups.items() if group]
