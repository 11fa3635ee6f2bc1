"""Checkpoints of random numbers with the names and shapes of GEN-VLKT's released ones."""

from __future__ import annotations

import argparse
from typing import Any

from fake_checkpoint import (
    Shapes,
    Sizes,
    decoder_shapes,
    detector_shapes,
    linear,
    mlp,
    norm,
    random_state,
)
from torch import Tensor
from torch.nn import functional as F

from hoiclip.catalog.vocabularies import hico_det
from hoiclip.convert.setting import published_settings
from hoiclip.splits.zero_shot import published_settings as unseen_lists

SMALL = Sizes()
LARGE = Sizes(blocks=(3, 4, 23, 3), layers=6)
"""As small, with the depth of the release's L."""


def gen_vlkt_shapes(sizes: Sizes = SMALL, setting: str = "default") -> Shapes:
    found = next(s for s in published_settings() if s.name == setting)
    vocabulary, seen = found.vocabulary, found.verb_to_hoi.shape[1]
    objects = vocabulary.num_objects + vocabulary.has_missing_objects + 1
    d, e = sizes.width, sizes.embed
    shapes: Shapes = {"logit_scale": (), "obj_logit_scale": ()} | detector_shapes(sizes)
    for name in ("instance_decoder", "interaction_decoder"):
        shapes |= decoder_shapes(f"transformer.{name}", sizes.layers, d, sizes.feed_forward)
    for name in ("query_embed_h", "query_embed_o", "pos_guided_embedd"):
        shapes |= {f"{name}.weight": (sizes.queries, d)}
    shapes |= mlp("hum_bbox_embed", [d, d, d, 4]) | mlp("obj_bbox_embed", [d, d, d, 4])
    for name in ("hoi_class_fc", "obj_class_fc"):
        shapes |= linear(f"{name}.0", e, d) | norm(f"{name}.1", e)
    shapes |= linear("visual_projection", seen, e) | linear("obj_visual_projection", objects, e)
    if found.zero_shot:
        shapes |= linear("eval_visual_projection", vocabulary.num_hois, e)
    return shapes


def gen_vlkt_state(
    sizes: Sizes = SMALL, setting: str = "default", seed: int = 0
) -> dict[str, Tensor]:
    """A released checkpoint's state dict. Trained tables are not of unit length."""
    state = random_state(gen_vlkt_shapes(sizes, setting), seed)
    found = next(s for s in published_settings() if s.name == setting)
    if found.zero_shot:
        for name in ("eval_visual_projection.weight", "obj_visual_projection.weight"):
            state[name] = F.normalize(state[name], dim=-1)
        table = state["eval_visual_projection.weight"]
        state["visual_projection.weight"] = table[seen_of(setting)]
    return state


def seen_of(setting: str) -> list[int]:
    """HOI classes of a zero-shot setting's training head, by the published list of the others."""
    unseen = set(unseen_lists()[setting])
    return [hoi for hoi in range(hico_det().num_hois) if hoi not in unseen]


def gen_vlkt_file(sizes: Sizes = SMALL, setting: str = "default", **args: Any) -> dict[str, Any]:
    """What the released code saves."""
    zero_shot = setting not in ("default", "vcoco")
    said = {
        "nheads": sizes.heads, "dropout": 0.1, "dilation": False, "dec_layers": sizes.layers,
        "zero_shot_type": setting if zero_shot else "default", "del_unseen": zero_shot,
        "fix_clip": zero_shot, "with_clip_label": True, "with_obj_clip_label": True,
        "hoi_path": "/data/hico",
    }  # fmt: skip
    return {
        "model": gen_vlkt_state(sizes, setting),
        "epoch": 89,
        "args": argparse.Namespace(**(said | args)),
    }
