"""The protocols: their names and rules, in one list that everything else reads.

The same predictions differ by some tenths of a point between the protocols: a number stands with
the name of its protocol.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

RecallSteps = Literal["exact", "matlab", "numpy"]
"""How the recalls 0, 0.1 ... 1 are made: without rounding, or in doubles, of which those above
their tenth miss it. Matlab's `0:0.1:1` counts from both ends, and is above 0.3 alone; numpy's
`np.arange(0, 1.1, 0.1)` is above 0.3, 0.6 and 0.7."""

Offset = tuple[float, float, float, float]

V_COCO: Literal["vcoco"] = "vcoco"
"""The protocol of action-roles, whose rules `vcoco` (the module) has."""

ProtocolName = Literal["hico", "hoiclip", "pocket", "vcoco"]
"""Every protocol: those of HOI classes in `PROTOCOLS`, and `V_COCO`."""


@dataclass(frozen=True)
class OverlapRule:
    """How a protocol measures overlap, and how much it asks for.

    Attributes:
        inclusive: extents are x2 - x1 + 1.
        least_extent: an intersection narrower or lower than, or equal to, this counts as none.
        strict: IoU > 0.5 is asked for, not IoU >= 0.5.
    """

    inclusive: bool
    least_extent: float
    strict: bool


@dataclass(frozen=True)
class Protocol:
    """One way to count HOI classes.

    Attributes:
        name: its name in metrics and reports.
        title: its rules in words, after "the rules of".
        offset_xyxy: what is added to the schema's continuous, 0-based boxes to obtain the
            protocol's.
        rule: overlap, and how much is enough.
        recall_steps: how the recalls are made at which precision is taken.
        skip_unpredicted: a class with ground truth that no prediction names is left out of the
            means over subsets (not out of `full`).
    """

    name: ProtocolName
    title: str
    offset_xyxy: Offset
    rule: OverlapRule
    recall_steps: RecallSteps = "exact"
    skip_unpredicted: bool = False


# Chao et al., WACV 2018, the Matlab evaluator: 1-based inclusive pixels.
HICO = Protocol(
    "hico",
    "HICO-DET's original evaluator in Matlab",
    (1, 1, 0, 0),
    OverlapRule(inclusive=True, least_extent=0, strict=False),
    recall_steps="matlab",
)
# The Python evaluator released with HOICLIP: 0-based inclusive pixels.
HOICLIP = Protocol(
    "hoiclip",
    "the Python port in HOICLIP's released code",
    (0, 0, -1, -1),
    OverlapRule(inclusive=True, least_extent=1, strict=False),
    recall_steps="numpy",
    skip_unpredicted=True,
)
# The library behind UPT and PViC: continuous coordinates.
POCKET = Protocol(
    "pocket",
    "the pocket library, which the UPT family's figures use",
    (0, 0, 0, 0),
    OverlapRule(inclusive=False, least_extent=0, strict=True),
)

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in (HICO, HOICLIP, POCKET)}
"""Rules by name, of the protocols that score HOI classes."""

PROTOCOL_TITLES = {
    **{name: protocol.title for name, protocol in PROTOCOLS.items()},
    V_COCO: "V-COCO's evaluator",
}
"""Whose rules each protocol has, in words."""


def protocol_named(name: str, recall_steps: RecallSteps | None = None) -> Protocol:
    """The rules of that name, or the same with other recall steps.

    Raises:
        ValueError: there are none, or no such steps.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}, expected one of {', '.join(PROTOCOLS)}")
    if recall_steps is None:
        return PROTOCOLS[name]
    if recall_steps not in get_args(RecallSteps):
        known = ", ".join(get_args(RecallSteps))
        raise ValueError(f"unknown recall steps {recall_steps!r}, expected one of {known}")
    return replace(PROTOCOLS[name], recall_steps=recall_steps)
