"""What a weight file may say of its CLIP: open_clip's settings of a ViT, each in its range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from hoiclip.core.config import check, from_mapping
from hoiclip.util.ranges import Config, Count, CountOrZero, Layers, Pixels, Range, Width

Ratio = Annotated[float, Range(0, 64, above=True)]
Scale = Annotated[float, Range(0, 100, above=True)]
Tokens = Annotated[int, Range(1, 4096)]
Pool = Literal["tok", "avg", "none", "first", "last", "argmax", "eos"]


@dataclass(frozen=True, kw_only=True)
class VisionTower(Config):
    """The image tower; names and defaults are `open_clip.CLIPVisionCfg`'s."""

    image_size: Pixels
    patch_size: Pixels
    width: Width
    layers: Layers
    head_width: Width = 64
    mlp_ratio: Ratio = 4.0
    ls_init_value: Scale | None = None
    attentional_pool: bool = False
    attn_pooler_queries: Tokens = 256
    attn_pooler_heads: Tokens = 8
    no_ln_pre: bool = False
    final_ln_after_pool: bool = False
    pool_type: Pool = "tok"
    output_tokens: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        size, patch = self.image_size, self.patch_size
        check(patch <= size, f"patch_size: {patch}, expected at most image_size {size}")
        divides = self.width % self.head_width == 0
        check(divides, f"head_width: {self.head_width} does not divide width {self.width}")


@dataclass(frozen=True, kw_only=True)
class TextTower(Config):
    """The text tower; names and defaults are `open_clip.CLIPTextCfg`'s."""

    context_length: Tokens
    vocab_size: Count
    width: Width
    heads: Tokens
    layers: Layers
    mlp_ratio: Ratio = 4.0
    ls_init_value: Scale | None = None
    embed_cls: bool = False
    pad_id: CountOrZero = 0
    eos_id: CountOrZero = 2
    no_causal_mask: bool = False
    final_ln_after_pool: bool = False
    pool_type: Pool = "argmax"
    proj_bias: bool = False
    output_tokens: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.width % self.heads == 0, f"heads: {self.heads} do not divide {self.width}")


@dataclass(frozen=True, kw_only=True)
class Towers(Config):
    """Both towers and what they share."""

    embed_dim: Width
    vision_cfg: VisionTower
    text_cfg: TextTower | None = None
    quick_gelu: bool = False


@dataclass(frozen=True, kw_only=True)
class ClipConfig(Config):
    """A CLIP of `hoiclip.clip.encoder`, which says what its keys mean."""

    model_cfg: Towers
    conv_stem: bool = False
    mean: list[Annotated[float, Range(-1000, 1000)]] | None = None
    std: list[Scale] | None = None
    token_ids: list[CountOrZero] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("mean", "std"):
            value = getattr(self, name)
            check(value is None or len(value) == 3, f"{name}: {value}, expected three numbers")
        vision = self.model_cfg.vision_cfg
        patch = vision.patch_size
        fits = patch.bit_count() == 1 < patch <= 2 * vision.width
        problem = "expected patches of a power of two, up to twice the width"
        check(not self.conv_stem or fits, f"conv_stem: patch_size {patch}, {problem}")


def check_clip_config(config: Any, where: str = "clip") -> None:
    """Holds a file's configuration against the ranges before anything is built from it.

    Raises:
        ParamsError: a key is unknown or missing, or a value of another type or out of range.
    """
    from_mapping(ClipConfig, config, where)
