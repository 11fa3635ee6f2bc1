"""The rows of the paper's ablation (table 5); what each switches stands in sweeps/ablation.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class AblationRow:
    """One row.

    Attributes:
        label: as the report prints it.
        what: in words.
        published: row of `report.published.ROWS` with the paper's figures.
    """

    label: str
    what: str
    published: str


ABLATION_ROWS: Mapping[str, AblationRow] = MappingProxyType(
    {
        "base": AblationRow("Base", "no CLIP features", "hico-base"),
        "clip": AblationRow("+ CLIP", "second cross-attention, weights of its own", "hico-clip"),
        "integration": AblationRow(
            "+ integration", "both cross-attentions share weights", "hico-integration"
        ),
        "verb": AblationRow("+ verb", "verb classifier from CLIP's arithmetic", "hico-verb"),
        # The training of `verb`, predicted with the enhancement.
        "free": AblationRow("+ free", "training-free enhancement", "hico"),
    }
)
"""Rows by name, in the paper's order: each adds to the one before."""
