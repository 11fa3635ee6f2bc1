"""A released HOICLIP checkpoint → a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hoiclip.clip_encoder import ClipVisual
from hoiclip.convert.arguments import RELEASED, Arguments, read_arguments
from hoiclip.convert.checkpoint import Checkpoint
from hoiclip.convert.key_map import check_fit, official_key_map, rename
from hoiclip.convert.released import (
    RELEASED_TRANSFORMS,
    check_text_table,
    released_provenance,
    released_scores,
)
from hoiclip.convert.report import Conversion
from hoiclip.convert.setting import Setting, detect_setting
from hoiclip.convert.sizes import clip_config, model_config
from hoiclip.errors import WeightsError
from hoiclip.methods.hoiclip.config import Scoring
from hoiclip.methods.hoiclip.method import Hoiclip, tables_of_state
from hoiclip.model.hoiclip import HOICLIP
from hoiclip.model_file import Detector

RELEASED_ENHANCEMENT = Scoring(k=10, weight=1.0, kind="sigmoid")

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
    method = Hoiclip(model, clip, setting.vocabulary, config, RELEASED_ENHANCEMENT)
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
