"""Names of tensors in released checkpoints → names in a model file, complete in both directions.

Keys are prefixes in which `*` stands for a layer's number; the longest that fits a name decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from hoiclip.errors import WeightsError

KeyMap = Mapping[str, tuple[str, ...]]

_SHARED: KeyMap = {  # by HOICLIP's code and by GEN-VLKT's, which it grew from
    "backbone.0.": ("model.encoder.backbone.",),
    "input_proj.": ("model.encoder.input_projection.",),
    "transformer.encoder.": ("model.encoder.transformer.",),
    "transformer.instance_decoder.": ("model.instance_decoder.decoder.",),
    "query_embed_h.": ("model.instance_decoder.human_queries.",),
    "query_embed_o.": ("model.instance_decoder.object_queries.",),
    "pos_guided_embedd.": ("model.instance_decoder.position_guided.",),
    "hum_bbox_embed.": ("model.instance_decoder.human_box_head.",),
    "obj_bbox_embed.": ("model.instance_decoder.object_box_head.",),
    "obj_class_fc.": ("model.object_classifier.projection.",),
    "obj_visual_projection.weight": ("model.object_classifier.classifier.table",),
    "obj_visual_projection.bias": ("model.object_classifier.classifier.bias",),
    "obj_logit_scale": ("model.object_classifier.logit_scale",),
    "logit_scale": ("model.logit_scale",),
}

OFFICIAL_KEY_MAP: KeyMap = {
    **_SHARED,
    "transformer.queries2spacial_proj.": ("model.interaction_decoder.query_projection.0.",),
    "transformer.queries2spacial_proj_norm.": ("model.interaction_decoder.query_projection.1.",),
    # V_d's map to CLIP's width; the object classifier's projection has the same name without
    # `transformer.`.
    "transformer.obj_class_fc.": ("model.interaction_decoder.memory_projection.0.",),
    "transformer.obj_class_ln.": ("model.interaction_decoder.memory_projection.1.",),
    "transformer.clip_interaction_decoder.": ("model.interaction_decoder.",),
    "inter2verb.": ("model.verb_classifier.adapter.",),
    "verb_projection.weight": ("model.verb_classifier.vectors",),
    "clip_model.visual.": ("clip.tower.",),
    "clip_model.visual.proj": ("clip.tower.proj", "model.visual_projection"),
}

_ALL_CLASSES_HEAD: KeyMap = {
    "visual_projection.weight": ("model.hoi_classifier.table",),
    "visual_projection.bias": ("model.hoi_classifier.bias",),
    "verb2hoi_proj": ("model.verb_classifier.verb_to_hoi",),
}
_ZERO_SHOT_HEAD: KeyMap = {
    "eval_visual_projection.weight": ("model.hoi_classifier.table",),
    "verb2hoi_proj_eval": ("model.verb_classifier.verb_to_hoi",),
}

OFFICIAL_DROPPED: Mapping[str, str] = {
    "transformer.interaction_decoder.": "built but never used",
    "transformer.clip_interaction_decoder.layers.*.norm4.": "built but never used",
    "transformer.inter_guided_embedd.": "built but never used",
    "hoi_class_fc.": "built but never used",
    "clip_model.logit_scale": "CLIP's own temperature; the classifiers have theirs",
    "clip_model.positional_embedding": "CLIP's text tower; the text tables carry its result",
    "clip_model.text_projection": "CLIP's text tower; the text tables carry its result",
    "clip_model.token_embedding.": "CLIP's text tower; the text tables carry its result",
    "clip_model.ln_final.": "CLIP's text tower; the text tables carry its result",
    "clip_model.transformer.": "CLIP's text tower; the text tables carry its result",
}
_ALL_CLASSES_DROPPED = {"verb2hoi_proj_eval": "equals verb2hoi_proj where all classes are seen"}
_ZERO_SHOT_DROPPED = {
    "visual_projection.": "training head over the seen classes",
    "verb2hoi_proj": "training head over the seen classes",
}

_GEN_VLKT_SHARED: KeyMap = {
    **_SHARED,
    "transformer.interaction_decoder.": ("model.interaction_decoder.",),
    "hoi_class_fc.": ("model.hoi_projection.",),
}


def official_key_map(zero_shot: bool) -> tuple[KeyMap, Mapping[str, str]]:
    """Key map of a released HOICLIP checkpoint, and what is dropped with the reason.

    Args:
        zero_shot: whether it has a training head over the seen classes beside the one over all.
    """
    head, dropped = (
        (_ZERO_SHOT_HEAD, _ZERO_SHOT_DROPPED)
        if zero_shot
        else (_ALL_CLASSES_HEAD, _ALL_CLASSES_DROPPED)
    )
    return {**OFFICIAL_KEY_MAP, **head}, {**OFFICIAL_DROPPED, **dropped}


def gen_vlkt_key_map(zero_shot: bool) -> tuple[KeyMap, Mapping[str, str]]:
    """Key map of a released GEN-VLKT checkpoint, and what is dropped with the reason.

    Args:
        zero_shot: as for `official_key_map`.
    """
    head = "eval_visual_projection." if zero_shot else "visual_projection."
    key_map = {
        **_GEN_VLKT_SHARED,
        f"{head}weight": ("model.hoi_classifier.table",),
        f"{head}bias": ("model.hoi_classifier.bias",),
    }
    dropped = {"visual_projection.": _ZERO_SHOT_DROPPED["visual_projection."]} if zero_shot else {}
    return key_map, dropped


def inverted(path: Path, state: Mapping[str, Tensor], key_map: KeyMap) -> dict[str, Tensor]:
    """The reverse of `rename`: tensors under the released names.

    Args:
        path: where they come from, for messages.
        state: tensors under our names.
        key_map: of a release, in which no two keys fill one name.

    Raises:
        WeightsError: the release has no place for a tensor.
    """
    reverse = {ours: (theirs,) for theirs, group in key_map.items() for ours in group}
    return rename(path, state, reverse, {})[0]


def rename(
    path: Path, state: Mapping[str, Tensor], key_map: KeyMap, dropped: Mapping[str, str]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors under our names, and the names of those left out with the reason.

    Raises:
        WeightsError: a tensor has no place in the map.
    """
    patterns = {key: _pattern(key) for key in (*key_map, *dropped)}
    renamed, left_out = {}, {}
    for name, tensor in state.items():
        fitting = [key for key, pattern in patterns.items() if pattern.match(name)]
        if not fitting:
            raise WeightsError(f"{path}: tensor {name} belongs to no known part of the network")
        key = max(fitting, key=len)
        if key in dropped:
            left_out[name] = dropped[key]
        for ours in key_map.get(key, ()):
            renamed[ours + name.removeprefix(key)] = tensor
    return renamed, left_out


def _pattern(key: str) -> re.Pattern[str]:
    """A key that ends in a dot is a prefix; any other one is a whole name."""
    literal = re.escape(key).replace(r"\*", r"\d+")
    return re.compile(literal if key.endswith(".") else literal + r"\Z")


def check_fit(path: Path, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Checks that `found` has exactly the tensors of `expected`, in their shapes, all finite.

    Args:
        path: the source, for messages.
        found: renamed tensors.
        expected: a network's state dict; may be on the meta device.

    Raises:
        WeightsError: names the first tensor that is missing, surplus, misshapen or not finite.
    """
    missing = [name for name in expected if name not in found]
    if missing:
        raise WeightsError(f"{path}: nothing fills {missing[0]} ({len(missing)} tensors missing)")
    for name, tensor in found.items():
        if name not in expected:
            raise WeightsError(f"{path}: the network has no {name}, which the file would fill")
        shape, wanted = tuple(tensor.shape), tuple(expected[name].shape)
        if shape != wanted:
            raise WeightsError(
                f"{path}: the tensor for {name} has shape {shape}, the others make it {wanted}"
            )
        if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
            raise WeightsError(f"{path}: the tensor for {name} holds values that are not finite")
