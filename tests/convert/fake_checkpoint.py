"""Checkpoints of random numbers with the names and shapes of the released ones, at any size."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hoiclip.catalog.vocabularies import hico_det
from hoiclip.convert.setting import published_settings

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Sizes:
    """Sizes of a released network; the defaults are as small as the layout allows."""

    width: int = 16
    heads: int = 2
    feed_forward: int = 24
    encoder_layers: int = 2
    layers: int = 2
    queries: int = 5
    blocks: tuple[int, ...] = (2, 1, 1, 1)
    channels: tuple[int, ...] = (64, 8, 8, 12)
    clip_width: int = 128
    clip_layers: int = 2
    patch: int = 16
    image: int = 32
    embed: int = 12
    text_width: int = 8
    text_layers: int = 1
    text_length: int = 7
    text_tokens: int = 20
    adapter: int = 6


REAL = Sizes(
    width=256, heads=8, feed_forward=2048, encoder_layers=6, layers=3, queries=64,
    blocks=(3, 4, 6, 3), channels=(64, 128, 256, 512), clip_width=768, clip_layers=12, patch=32,
    image=224, embed=512, text_width=512, text_layers=12, text_length=77, text_tokens=49408,
    adapter=256,
)  # fmt: skip


def linear(name: str, output: int, input_: int) -> Shapes:
    return {f"{name}.weight": (output, input_), f"{name}.bias": (output,)}


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def attention(name: str, width: int) -> Shapes:
    projected = {f"{name}.in_proj_weight": (3 * width, width), f"{name}.in_proj_bias": (3 * width,)}
    return projected | linear(f"{name}.out_proj", width, width)


def layer(name: str, width: int, hidden: int, attentions: list[str], norms: int) -> Shapes:
    shapes: Shapes = {}
    for which in attentions:
        shapes |= attention(f"{name}.{which}", width)
    shapes |= linear(f"{name}.linear1", hidden, width) | linear(f"{name}.linear2", width, hidden)
    for index in range(1, norms + 1):
        shapes |= norm(f"{name}.norm{index}", width)
    return shapes


def mlp(name: str, widths: list[int]) -> Shapes:
    shapes: Shapes = {}
    for index, (input_, output) in enumerate(pairwise(widths)):
        shapes |= linear(f"{name}.layers.{index}", output, input_)
    return shapes


def frozen_norm(name: str, width: int) -> Shapes:
    return {
        f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")
    }


def resnet(sizes: Sizes) -> Shapes:
    body = "backbone.0.body."
    shapes: Shapes = {f"{body}conv1.weight": (64, 3, 7, 7)} | frozen_norm(f"{body}bn1", 64)
    before = 64
    for stage, (blocks, width) in enumerate(zip(sizes.blocks, sizes.channels, strict=True), 1):
        for block in range(blocks):
            name = f"{body}layer{stage}.{block}"
            kernels = [(width, before, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)]
            for index, kernel in enumerate(kernels, 1):
                shapes |= {f"{name}.conv{index}.weight": kernel}
                shapes |= frozen_norm(f"{name}.bn{index}", kernel[0])
            if block == 0:
                shapes |= {f"{name}.downsample.0.weight": (4 * width, before, 1, 1)}
                shapes |= frozen_norm(f"{name}.downsample.1", 4 * width)
            before = 4 * width
    return shapes


def clip_blocks(name: str, layers: int, width: int) -> Shapes:
    shapes: Shapes = {}
    for index in range(layers):
        block = f"{name}.resblocks.{index}"
        shapes |= attention(f"{block}.attn", width) | norm(f"{block}.ln_1", width)
        shapes |= linear(f"{block}.mlp.c_fc", 4 * width, width)
        shapes |= linear(f"{block}.mlp.c_proj", width, 4 * width) | norm(f"{block}.ln_2", width)
    return shapes


def detector_shapes(sizes: Sizes) -> Shapes:
    """Backbone, projection and encoder, whose names DETR and HOICLIP share."""
    shapes = resnet(sizes)
    input_ = (sizes.width, 4 * sizes.channels[-1], 1, 1)
    shapes |= {"input_proj.weight": input_, "input_proj.bias": (sizes.width,)}
    for index in range(sizes.encoder_layers):
        name = f"transformer.encoder.layers.{index}"
        shapes |= layer(name, sizes.width, sizes.feed_forward, ["self_attn"], 2)
    return shapes


def decoder_shapes(name: str, layers: int, width: int, hidden: int, norms: int = 3) -> Shapes:
    shapes = norm(f"{name}.norm", width)
    for index in range(layers):
        both = ["self_attn", "multihead_attn"]
        shapes |= layer(f"{name}.layers.{index}", width, hidden, both, norms)
    return shapes


def detr_shapes(sizes: Sizes, layers: int) -> Shapes:
    d = sizes.width
    shapes = detector_shapes(sizes)
    shapes |= decoder_shapes("transformer.decoder", layers, d, sizes.feed_forward)
    shapes |= linear("class_embed", 92, d) | mlp("bbox_embed", [d, d, d, 4])
    return shapes | {"query_embed.weight": (100, d)}


def official_shapes(sizes: Sizes, setting: str = "default") -> Shapes:
    """Names and shapes of a released checkpoint of a setting."""
    found = next(s for s in published_settings() if s.name == setting)
    vocabulary, seen = found.vocabulary, found.verb_to_hoi.shape[1]
    verbs, hois = vocabulary.num_verbs, vocabulary.num_hois
    objects = vocabulary.num_objects + vocabulary.has_missing_objects + 1
    d, w, e, hidden = sizes.width, sizes.clip_width, sizes.embed, sizes.feed_forward
    shapes: Shapes = {"logit_scale": (), "obj_logit_scale": (), "verb2hoi_proj": (verbs, seen)}
    if setting != "vcoco":
        shapes |= {"verb2hoi_proj_eval": (verbs, hois)}
    if found.zero_shot:
        shapes |= {"eval_visual_projection.weight": (hois, e)}
    shapes |= detector_shapes(sizes)
    for name in ("instance_decoder", "interaction_decoder"):
        shapes |= decoder_shapes(f"transformer.{name}", sizes.layers, d, hidden)
    shapes |= decoder_shapes("transformer.clip_interaction_decoder", sizes.layers, w, hidden, 4)
    shapes |= {"transformer.inter_guided_embedd.weight": (sizes.queries, w)}
    shapes |= linear("transformer.queries2spacial_proj", w, d)
    shapes |= norm("transformer.queries2spacial_proj_norm", w)
    shapes |= linear("transformer.obj_class_fc", w, d) | norm("transformer.obj_class_ln", w)
    for name in ("query_embed_h", "query_embed_o", "pos_guided_embedd"):
        shapes |= {f"{name}.weight": (sizes.queries, d)}
    shapes |= mlp("hum_bbox_embed", [d, d, d, 4]) | mlp("obj_bbox_embed", [d, d, d, 4])
    shapes |= mlp("inter2verb", [e, sizes.adapter, sizes.adapter, e])
    visual = "clip_model.visual."
    shapes |= {
        "clip_model.positional_embedding": (sizes.text_length, sizes.text_width),
        "clip_model.text_projection": (sizes.text_width, e),
        "clip_model.logit_scale": (),
        "clip_model.token_embedding.weight": (sizes.text_tokens, sizes.text_width),
        f"{visual}class_embedding": (w,),
        f"{visual}positional_embedding": ((sizes.image // sizes.patch) ** 2 + 1, w),
        f"{visual}proj": (w, e),
        f"{visual}conv1.weight": (w, 3, sizes.patch, sizes.patch),
    }
    shapes |= norm("clip_model.ln_final", sizes.text_width)
    shapes |= norm(f"{visual}ln_pre", w) | norm(f"{visual}ln_post", w)
    shapes |= clip_blocks(f"{visual}transformer", sizes.clip_layers, w)
    shapes |= clip_blocks("clip_model.transformer", sizes.text_layers, sizes.text_width)
    for name in ("hoi_class_fc", "obj_class_fc"):
        shapes |= linear(f"{name}.0", e, d) | norm(f"{name}.1", e)
    shapes |= {"verb_projection.weight": (verbs, e)}
    shapes |= linear("visual_projection", seen, e)
    return shapes | linear("obj_visual_projection", objects, e)


def random_state(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    """Random values of a size at which a deep network neither vanishes nor saturates."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator)
        fan_in = math.prod(shape[1:]) if len(shape) > 1 else 1
        if name.endswith("running_var"):
            values = 1 + 0.1 * values.abs()
        elif len(shape) == 1:
            values = 0.1 * values + name.endswith("weight")
        elif len(shape) > 1 and not name.startswith(("query_embed", "pos_guided")):
            values = values / math.sqrt(fan_in)
        state[name] = values
    return state


def official_state(sizes: Sizes = Sizes(), setting: str = "default") -> dict[str, Tensor]:
    """A released checkpoint's state dict: random, but for the fixed matrices."""
    state = random_state(official_shapes(sizes, setting))
    found = next(s for s in published_settings() if s.name == setting)
    for name in state:
        if name.endswith("visual_projection.weight") or name == "verb_projection.weight":
            state[name] = F.normalize(state[name], dim=-1)
    state["verb2hoi_proj"] = torch.from_numpy(found.verb_to_hoi.copy())
    if "verb2hoi_proj_eval" in state:
        state["verb2hoi_proj_eval"] = torch.from_numpy(hico_det().verb_to_hoi.copy())
    return state


def official_file(sizes: Sizes = Sizes(), setting: str = "default", **args: Any) -> dict[str, Any]:
    """What the released code saves."""
    said = {
        "nheads": sizes.heads, "dropout": 0.1, "dilation": False, "verb_weight": 0.5,
        "zero_shot_type": "default" if setting == "vcoco" else setting, "hoi_path": "/data/hico",
    }  # fmt: skip
    return {
        "model": official_state(sizes, setting),
        "epoch": 89,
        "args": argparse.Namespace(**(said | args)),
    }
