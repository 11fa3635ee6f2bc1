"""Switches of GEN-VLKT (`gen_vlkt` in params.yaml), with the paper's values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hoiclip.model.config import SetPredictionConfig
from hoiclip.util.ranges import Config, Rate, Weight


@dataclass(frozen=True, kw_only=True)
class GenVlktConfig(Config):
    """What GEN-VLKT has beside the sizes that it shares (`gen_vlkt` in params.yaml).

    Attributes:
        classifiers: whether the tables of HOI and object classes are `trained` on from their start
            (paper), or `frozen`, as for classes that training never sees.
        classifier_bias: whether classifiers add a bias, which starts at zero and is trained where
            the tables are (paper: yes; here no for unseen classes, whose bias nothing would train).
        classifier_start: start of the tables: embeddings of CLIP's `text` (paper) or `random` unit
            vectors.
        lr_classifiers: rate of trained tables and their biases (1e-5).
        mimic: weight of the mimic loss in each decoder layer that has it (20); 0 leaves it out.
        mimic_layers: decoder layers that have it, `all` (paper) or the `last`.
        guidance: query embeddings of the interaction decoder: `per_layer`, the mean of each pair's
            human and object feature in the same layer of the instance decoder (i-GE, paper);
            `last`, that of its last layer for all; `none`, embeddings of their own.
        position_guided: whether the two queries of a pair share an embedding (p-GE, paper: yes).
    """

    classifiers: Literal["trained", "frozen"]
    classifier_bias: bool
    classifier_start: Literal["text", "random"]
    lr_classifiers: Rate
    mimic: Weight
    mimic_layers: Literal["all", "last"]
    guidance: Literal["per_layer", "last", "none"]
    position_guided: bool


@dataclass(frozen=True, kw_only=True)
class GenVlktModelConfig(SetPredictionConfig):
    """The network: the sizes of `model` in params.yaml, and its switches.

    Attributes:
        gen_vlkt: the switches.
    """

    gen_vlkt: GenVlktConfig
