"""CLIP, frozen: image tokens, global image features and text features, through open_clip."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import open_clip
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from hoiclip.errors import WeightsError

OPENAI_MEAN, OPENAI_STD = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD

# open_clip builds no image tower without a text tower; this one is thrown away.
_NO_TEXT = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}


class ClipFeatures(NamedTuple):
    """What the image tower makes of B images.

    Attributes:
        tokens: (B, 1 + P, token_width); CLS first, then P patches by row; after the final
            LayerNorm, before the visual projection (V_s of the paper).
        global_feature: (B, embed_dim), L2-normalised.
    """

    tokens: Tensor
    global_feature: Tensor


def conv_stem(width: int, patch_size: int) -> nn.Sequential:
    """Stride-2 convolutions with batch norm that replace the patch embedding of a small ViT.

    Args:
        width: channels of the output.
        patch_size: stride of the whole, a power of two.
    """
    halvings = patch_size.bit_length() - 1
    channels = [3, *(width >> (halvings - i) for i in range(1, halvings + 1))]
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers += [
            nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    layers.append(nn.Conv2d(width, width, 1))
    return nn.Sequential(*layers)


def build_clip(config: dict[str, Any]) -> open_clip.CLIP:
    """A trainable open_clip model with fresh weights.

    Args:
        config: `model_cfg` (open_clip's `embed_dim`, `vision_cfg`, `text_cfg`, `quick_gelu`), and
            optionally `conv_stem` (true replaces the patch embedding by `conv_stem`).

    Raises:
        ValueError: a tower is one of timm or Hugging Face, which open_clip would download.
    """
    model_cfg = config["model_cfg"]
    towers = (*model_cfg["vision_cfg"], *model_cfg.get("text_cfg", ()))
    if elsewhere := [key for key in towers if key.startswith(("timm_", "hf_"))]:
        raise ValueError(f"a CLIP with {elsewhere[0]} is not built here: only CLIP's own towers")
    model = open_clip.CLIP(**{"text_cfg": _NO_TEXT, **model_cfg})
    if config.get("conv_stem", False):
        vision = model_cfg["vision_cfg"]
        model.visual.conv1 = conv_stem(vision["width"], vision["patch_size"])
    return model


def visual_config(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a CLIP's configuration (JSON) that the image tower alone needs."""
    model_cfg = {k: v for k, v in config["model_cfg"].items() if k != "text_cfg"}
    return {k: v for k, v in config.items() if k != "token_ids"} | {"model_cfg": model_cfg}


class ClipVisual(nn.Module):
    """The frozen image tower of a CLIP ViT: always in eval mode, never trained.

    A checkpoint carries it as `config` (JSON) and `state_dict()`; `ClipVisual(config)` followed by
    `load_state_dict` restores it without CLIP's own weight file.

    Args:
        config: see `build_clip`; also `mean` and `std`, three numbers each (default OpenAI's).
        tower: an existing tower to share instead of a fresh one.
    """

    def __init__(
        self, config: dict[str, Any], tower: open_clip.transformer.VisionTransformer | None = None
    ) -> None:
        super().__init__()
        self.config = visual_config(config)
        self.tower: open_clip.transformer.VisionTransformer = (
            build_clip(self.config).visual if tower is None else tower
        )
        self.image_size: int = self.tower.image_size[0]
        self.token_width: int = self.tower.proj.shape[0]
        self.embed_dim: int = self.tower.proj.shape[1]
        self.mean: tuple[float, ...] = tuple(config.get("mean", OPENAI_MEAN))
        self.std: tuple[float, ...] = tuple(config.get("std", OPENAI_STD))
        self.preprocess: Callable[[Image.Image], Tensor] = open_clip.image_transform(
            self.image_size, is_train=False, mean=self.mean, std=self.std
        )
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> ClipVisual:
        """Stays in eval mode whatever `mode` says: CLIP is frozen."""
        return super().train(False)

    @property
    def visual_projection(self) -> Tensor:
        """(token_width, embed_dim): CLIP's map from image tokens to the shared space."""
        return self.tower.proj

    @torch.no_grad()
    def encode_image_tokens(self, pixels: Tensor) -> ClipFeatures:
        """Encodes images.

        Args:
            pixels: (B, 3, image_size, image_size), normalised with `mean` and `std`.
        """
        out = self.tower.forward_intermediates(
            pixels,
            indices=1,
            normalize_intermediates=True,
            output_fmt="NLC",
            output_extra_tokens=True,
        )
        tokens = (out["image_intermediates_prefix"][-1], out["image_intermediates"][-1])
        return ClipFeatures(torch.cat(tokens, dim=1), F.normalize(out["image_features"], dim=-1))

    @torch.no_grad()
    def encode_image(self, pixels: Tensor) -> Tensor:
        """Projected image features (B, embed_dim), not normalised; `pixels` as above."""
        return self.tower(pixels)


class ClipEncoder(ClipVisual):
    """Both frozen towers.

    Args:
        config: as for `ClipVisual`, with `model_cfg.text_cfg`. Where `token_ids` lists K ascending
            ids of CLIP's tokenizer, the text tower has K embeddings, one for each of them.
        model: an existing open_clip model to take over (its `visual` is moved out of it).
    """

    def __init__(self, config: dict[str, Any], model: open_clip.CLIP | None = None) -> None:
        model = build_clip(config) if model is None else model
        tower = model.visual
        del model.visual
        super().__init__(config, tower)
        self.text = model.requires_grad_(False).eval()
        self.token_ids = config.get("token_ids")
        self.provenance: dict[str, Any] = {}

    def visual(self) -> ClipVisual:
        """The image tower alone, sharing its weights."""
        return ClipVisual(self.config, self.tower)

    def tokenize(self, texts: list[str]) -> Tensor:
        """Token ids (N, context_length) int64 of N texts, padded with 0 after the end token.

        Raises:
            WeightsError: the text tower has no embedding for some word.
        """
        tokens = open_clip.tokenize(texts, self.text.context_length)
        return compact_tokens(tokens, texts, self.token_ids)

    @torch.no_grad()
    def encode_text(self, texts: list[str], batch_size: int = 256) -> Tensor:
        """L2-normalised text features (N, embed_dim) of N texts."""
        device = self.text.positional_embedding.device
        features = [
            self.text.encode_text(tokens.to(device), normalize=True)
            for tokens in self.tokenize(texts).split(batch_size)
        ]
        return torch.cat(features)


def compact_tokens(tokens: Tensor, texts: list[str], token_ids: list[int] | None) -> Tensor:
    """Positions in `token_ids` (ascending, K) of each token (N, L); unchanged where it is None.

    Raises:
        WeightsError: a token is not listed.
    """
    if token_ids is None:
        return tokens
    known = torch.tensor(token_ids)
    compact = torch.searchsorted(known, tokens).clamp(max=len(known) - 1)
    strange = (known[compact] != tokens).any(dim=1).nonzero().flatten().tolist()
    if strange:
        raise WeightsError(
            f"CLIP's text tower has no embedding for some word of {texts[strange[0]]!r}: "
            f"it was trained on {len(known)} tokens only. Use the weights of a full CLIP"
        )
    return compact
