"""HOICLIP's own settings (`hoiclip` in params.yaml), with the paper's values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hoiclip.core.config import check
from hoiclip.model.config import Heads, SetPredictionConfig
from hoiclip.util.ranges import Config, CountOrZero, Dropout, Weight, Width


@dataclass(frozen=True, kw_only=True)
class InteractionConfig(Config):
    """Interaction decoder.

    Attributes:
        clip_attention: `shared` is knowledge integration (the paper), `separate` adds an attention
            to CLIP's tokens of its own, `none` leaves CLIP's tokens out.
        mask_detector_memory: whether V_d's padding is masked; the released models do not mask it.
        heads: of every attention (paper: 8).
        feed_forward: hidden width of feed-forward blocks (2048).
        dropout: probability (0.1).
    """

    clip_attention: Literal["none", "separate", "shared"]
    mask_detector_memory: bool
    heads: Heads
    feed_forward: Width
    dropout: Dropout


@dataclass(frozen=True, kw_only=True)
class VerbConfig(Config):
    """Verb adapter and classifier.

    Attributes:
        representation: where the verb vectors come from: `arithmetic` (the paper), `average`,
            `text`; `none` leaves the verb classifier out.
        weight: λ_v, weight of the verb logits (0.5 on HICO-DET, 0.1 on V-COCO).
        adapter_hidden: hidden width of the adapter (256).
    """

    representation: Literal["none", "arithmetic", "average", "text"]
    weight: Weight
    adapter_hidden: Width


@dataclass(frozen=True, kw_only=True)
class ModelConfig(SetPredictionConfig):
    """HOICLIP's network.

    Attributes:
        interaction: interaction decoder.
        verb: verb adapter and classifier.
    """

    interaction: InteractionConfig
    verb: VerbConfig


@dataclass(frozen=True, kw_only=True)
class Scoring(Config):
    """The training-free enhancement (section 3.5): CLIP's view of the whole image joins the score.

    Attributes:
        k: HOI classes that it keeps (10); 0 is none.
        weight: factor on it (1).
        kind: `cosine` (the paper) or `sigmoid` (the released code).
    """

    k: CountOrZero = 10
    weight: Weight = 1.0
    kind: Literal["cosine", "sigmoid"] = "cosine"


@dataclass(frozen=True, kw_only=True)
class EnhancementConfig(Config):
    """The training-free enhancement, its k perhaps still to be chosen.

    Attributes:
        k: see `Scoring`; null takes the best of `sweep_k` on the validation partition.
        sweep_k: values tried on the validation partition.
        weight: see `Scoring`.
        kind: see `Scoring`.
    """

    k: CountOrZero | None
    sweep_k: list[CountOrZero]
    weight: Weight
    kind: Literal["cosine", "sigmoid"]

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            self.k is not None or bool(self.sweep_k),
            "sweep_k: empty, but k null needs values to choose from",
        )

    def scorings(self) -> list[Scoring]:
        """What validation may choose from, ascending in k."""
        ks = [self.k] if self.k is not None else sorted(set(self.sweep_k))
        return [Scoring(k=k, weight=self.weight, kind=self.kind) for k in ks]


@dataclass(frozen=True, kw_only=True)
class HoiclipConfig(Config):
    """HOICLIP's own settings (`hoiclip` in params.yaml).

    Attributes:
        interaction: interaction decoder.
        verb: verb adapter and classifier.
        enhancement: training-free enhancement.
    """

    interaction: InteractionConfig
    verb: VerbConfig
    enhancement: EnhancementConfig
