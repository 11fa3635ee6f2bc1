"""A released HOICLIP checkpoint → a model file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hoiclip.checkpoints.pytorch import Checkpoint
from hoiclip.clip.encoder import ClipVisual
from hoiclip.contract.model_file import Detector
from hoiclip.convert.pretrained.arguments import Arguments, read_arguments
from hoiclip.convert.pretrained.key_map import KeyMap, check_fit, rename
from hoiclip.convert.pretrained.report import Conversion
from hoiclip.convert.pretrained.sizes import set_prediction_config
from hoiclip.convert.released import (
    RELEASED,
    RELEASED_KEY_MAP,
    RELEASED_TRANSFORMS,
    TRAINING_HEAD,
    check_text_table,
    released_provenance,
    released_scores,
)
from hoiclip.convert.setting import Setting, detect_setting
from hoiclip.errors import WeightsError
from hoiclip.methods.hoiclip.model.config import InteractionConfig, ModelConfig, Scoring, VerbConfig
from hoiclip.methods.hoiclip.model.method import HoiclipMethod, tables_of_state
from hoiclip.methods.hoiclip.model.network import HOICLIP

RELEASED_ENHANCEMENT = Scoring(k=10, weight=1.0, kind="sigmoid")

_HEAD_WIDTH = 64  # of every CLIP ViT that OpenAI released

OFFICIAL_KEY_MAP: KeyMap = {
    **RELEASED_KEY_MAP,
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
    "visual_projection.": TRAINING_HEAD,
    "verb2hoi_proj": TRAINING_HEAD,
}

_HOI, _OBJECT = "model.hoi_classifier.", "model.object_classifier.classifier."
_VERB = "model.verb_classifier."


def convert_official(
    checkpoint: Checkpoint, dst: str | Path, setting: str | None = None
) -> Conversion:
    """Writes a model file that gives the released model's logits and boxes.

    Its header carries what makes the released scores: V_d's padding is not masked, the enhancement
    is a sigmoid, pair NMS counts inclusive pixels, and so do HICO-DET's boxes. Biases of the frozen
    classifiers, and V-COCO's verb-of-HOI matrix as it was in training, travel as tensors.

    Args:
        checkpoint: of any published setting.
        dst: the `.safetensors` file to write.
        setting: name of the setting that the checkpoint has to be of, or None.

    Raises:
        WeightsError: a tensor is unknown, missing or misshapen, or the setting is another one.
    """
    path, found = checkpoint.path, detect_setting(checkpoint, setting)
    if checkpoint.args.get("no_clip_cls_init"):
        raise WeightsError(
            f"{path}: trained with no_clip_cls_init, whose random projection is in no checkpoint"
        )
    assumed = {**RELEASED, "verb_weight": found.verb_weight}
    arguments = read_arguments(checkpoint, assumed)
    renamed, dropped = rename(path, checkpoint.state, *official_key_map(found.zero_shot))
    state = {name: tensor.detach().float() for name, tensor in renamed.items()}
    provenance = released_provenance(checkpoint, found, arguments, dropped)
    detector = _detector(checkpoint, found, arguments, state, provenance)
    detector.save(dst)
    return Conversion(Path(dst), "official", found.name, dropped, {}, provenance)


def _detector(
    checkpoint: Checkpoint,
    setting: Setting,
    arguments: Arguments,
    state: dict[str, Tensor],
    provenance: dict[str, Any],
) -> Detector:
    """The network around the checkpoint's tensors, which are neither copied nor changed."""
    path = checkpoint.path
    config = model_config(checkpoint, arguments)
    parts = {
        part: {k.removeprefix(part): v for k, v in state.items() if k.startswith(part)}
        for part in ("model.", "clip.")
    }
    clip_sizes = clip_config(checkpoint)
    _check_tables(path, setting, state, clip_sizes["model_cfg"]["embed_dim"])
    try:
        with torch.device("meta"):
            clip = ClipVisual(clip_sizes)
            model = HOICLIP(config, tables_of_state(parts["model."]), clip.visual_projection)
    except (AssertionError, RuntimeError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise WeightsError(f"{path}: its shapes make no network ({problem})") from None
    expected = {"model." + k: v for k, v in model.state_dict().items()}
    expected |= {"clip." + k: v for k, v in clip.state_dict().items()}
    check_fit(path, state, expected)
    model.load_state_dict(parts["model."], assign=True)
    clip.load_state_dict(parts["clip."], assign=True)
    method = HoiclipMethod(model, clip, setting.vocabulary, config, RELEASED_ENHANCEMENT)
    return Detector(
        method.eval(),
        RELEASED_TRANSFORMS,
        released_scores(arguments, setting),
        provenance,
    )


def _check_tables(path: Path, setting: Setting, state: dict[str, Tensor], embed_width: int) -> None:
    """The classifiers' tables have the vocabulary's sizes and are CLIP's own."""
    vocabulary = setting.vocabulary
    verbs, hois = vocabulary.num_verbs, vocabulary.num_hois
    objects = vocabulary.num_objects + vocabulary.has_missing_objects + 1
    shapes = {
        _HOI + "table": (hois, embed_width),
        _OBJECT + "table": (objects, embed_width),
        _VERB + "vectors": (verbs, embed_width),
        _VERB + "verb_to_hoi": (verbs, hois),
        _HOI + "bias": (hois,),
        _OBJECT + "bias": (objects,),
    }
    for name, shape in shapes.items():
        if name not in state:
            if name.endswith("bias"):
                continue
            raise WeightsError(
                f"{path}: nothing fills {name}, which setting {setting.name!r} has. "
                "Is the file complete?"
            )
        if tuple(state[name].shape) != shape:
            raise WeightsError(
                f"{path}: the tensor for {name} has shape {tuple(state[name].shape)}, setting "
                f"{setting.name!r} makes it {shape}"
            )
    for name in (_HOI + "table", _OBJECT + "table"):
        check_text_table(path, name, state[name])
    if setting.zero_shot:
        matrix = state[_VERB + "verb_to_hoi"]
        if not torch.equal(matrix, torch.from_numpy(vocabulary.verb_to_hoi)):
            raise WeightsError(f"{path}: verb2hoi_proj_eval is not HICO-DET's verb-of-HOI matrix")


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


def model_config(checkpoint: Checkpoint, arguments: Arguments) -> ModelConfig:
    """A released HOICLIP, whose interaction decoder does not mask V_d's padding.

    Raises:
        WeightsError: see `set_prediction_config`.
    """
    decoder = "transformer.clip_interaction_decoder."
    shared = set_prediction_config(checkpoint, arguments, decoder)
    detector = shared.detector
    return ModelConfig(
        num_queries=shared.num_queries,
        decoder_layers=shared.decoder_layers,
        detector=detector,
        interaction=InteractionConfig(
            clip_attention="shared",
            mask_detector_memory=False,
            heads=detector.heads,
            feed_forward=checkpoint.shape(f"{decoder}layers.0.linear1.weight", 2)[0],
            dropout=detector.dropout,
        ),
        verb=VerbConfig(
            representation="arithmetic",
            weight=float(arguments["verb_weight"]),
            adapter_hidden=checkpoint.shape("inter2verb.layers.0.weight", 2)[0],
        ),
    )


def clip_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """Image tower of an OpenAI CLIP, as `hoiclip.clip.encoder.ClipVisual` takes it."""
    width, _, patch, _ = checkpoint.shape("clip_model.visual.conv1.weight", 4)
    tokens, _ = checkpoint.shape("clip_model.visual.positional_embedding", 2)
    return {
        "model_cfg": {
            "embed_dim": checkpoint.shape("clip_model.visual.proj", 2)[1],
            "quick_gelu": True,
            "vision_cfg": {
                "image_size": math.isqrt(tokens - 1) * patch,
                "patch_size": patch,
                "width": width,
                "layers": checkpoint.layers("clip_model.visual.transformer.resblocks."),
                "head_width": _HEAD_WIDTH,
            },
        }
    }
