"""HOICLIP's own settings (`hoiclip` in params.yaml), with the paper's values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hoiclip.config import check
from hoiclip.model.config import InteractionConfig, VerbConfig
from hoiclip.ranges import Config, CountOrZero, Weight


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
