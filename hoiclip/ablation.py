"""The rows of the paper's ablation (table 5), each with what it switches over params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_ATTENTION, _VERB = "hoiclip.interaction.clip_attention", "hoiclip.verb.representation"


@dataclass(frozen=True)
class AblationRow:
    """One row.

    Attributes:
        label: as the report prints it.
        what: in words.
        published: row of `report.published.ROWS` with the paper's figures.
        overrides: dotted keys of params.yaml and their values; None for a row without a training
            of its own.
    """

    label: str
    what: str
    published: str
    overrides: Mapping[str, str] | None = None


ABLATION_ROWS: Mapping[str, AblationRow] = MappingProxyType(
    {
        "base": AblationRow(
            "Base", "no CLIP features", "hico-base", {_ATTENTION: "none", _VERB: "none"}
        ),
        "clip": AblationRow(
            "+ CLIP",
            "second cross-attention, weights of its own",
            "hico-clip",
            {_ATTENTION: "separate", _VERB: "none"},
        ),
        "integration": AblationRow(
            "+ integration",
            "both cross-attentions share weights",
            "hico-integration",
            {_ATTENTION: "shared", _VERB: "none"},
        ),
        "verb": AblationRow(
            "+ verb",
            "verb classifier from CLIP's arithmetic",
            "hico-verb",
            {_ATTENTION: "shared", _VERB: "arithmetic"},
        ),
        # The training of `verb`, predicted with the enhancement.
        "free": AblationRow("+ free", "training-free enhancement", "hico"),
    }
)
"""Rows by name, in the paper's order: each adds to the one before."""
