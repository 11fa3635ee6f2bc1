"""A released GEN-VLKT checkpoint → a model file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hoiclip.checkpoints.pytorch import Checkpoint
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
from hoiclip.convert.setting import (
    Setting,
    check_agrees,
    check_known,
    published_settings,
    setting_names,
)
from hoiclip.errors import WeightsError
from hoiclip.methods.gen_vlkt.model.config import GenVlktConfig, GenVlktModelConfig
from hoiclip.methods.gen_vlkt.model.method import GenVlktMethod
from hoiclip.methods.gen_vlkt.model.network import ClassEmbeddings, GenVlkt

MODEL = "model."
_HEAD, _EVAL_HEAD, _OBJECT_HEAD = (
    f"{name}visual_projection.weight" for name in ("", "eval_", "obj_")
)
_WITHOUT_CLIP = ("hoi_class_embedding.", "obj_class_embed.")
"""Classifiers of a checkpoint that was trained without text embeddings."""

_KEY_MAP: KeyMap = {
    **RELEASED_KEY_MAP,
    "transformer.interaction_decoder.": ("model.interaction_decoder.",),
    "hoi_class_fc.": ("model.hoi_projection.",),
}

_TRAINING: Mapping[str, Any] = {
    "with_mimic": True,
    "mimic_loss_coef": 20.0,
    "lr": 1e-4,
    "lr_clip": 1e-5,
    "ft_clip_with_small_lr": True,  # else the tables learn at `lr`, and `lr_clip` is not read
}
# Rows of one text, embedded in two batches of half precision, are this close to each other.
_SAME_ROW = 1e-2


def convert_gen_vlkt(
    checkpoint: Checkpoint, dst: str | Path, setting: str | None = None
) -> Conversion:
    """Writes a model file that gives the released model's logits and boxes.

    Of a zero-shot checkpoint the head over all classes is kept, with its bias. The header carries
    pair NMS, which counts inclusive pixels, and that HICO-DET's boxes do.

    Args:
        checkpoint: of any published setting.
        dst: the `.safetensors` file to write.
        setting: name of the setting that the checkpoint has to be of, or None.

    Raises:
        WeightsError: a tensor is unknown, missing or misshapen, the setting is another one, or the
            checkpoint was trained without text embeddings.
    """
    path = checkpoint.path
    for prefix in _WITHOUT_CLIP:
        if any(name.startswith(prefix) for name in checkpoint.state):
            raise WeightsError(
                f"{path}: a GEN baseline, whose classifier {prefix.rstrip('.')} is not made of "
                "CLIP's text embeddings; only checkpoints with both text tables are converted"
            )
    found = detect_gen_vlkt_setting(checkpoint, setting)
    assumed = {**RELEASED, **_TRAINING, "fix_clip": found.zero_shot}
    arguments = read_arguments(checkpoint, assumed)
    renamed, dropped = rename(path, checkpoint.state, *gen_vlkt_key_map(found.zero_shot))
    config = _config(checkpoint, arguments)
    network = _network(path, found, config, renamed)
    provenance = released_provenance(checkpoint, found, arguments, dropped)
    method = GenVlktMethod(network, found.vocabulary, config)
    scores = released_scores(arguments, found)
    Detector(method.eval(), RELEASED_TRANSFORMS, scores, provenance).save(dst)
    return Conversion(Path(dst), "gen_vlkt", found.name, dropped, {}, provenance)


def detect_gen_vlkt_setting(checkpoint: Checkpoint, asked: str | None = None) -> Setting:
    """The setting that fits the classifiers' rows.

    A zero-shot checkpoint has a head over all classes beside the one of its training, whose rows
    are those of the seen classes.

    Args:
        checkpoint: a released GEN-VLKT checkpoint.
        asked: name of the setting that it has to be of, or None for whatever it is.

    Raises:
        WeightsError: it is of no known setting, of another one than `asked`, or its `args` name
            another one.
    """
    check_known(asked)
    rows, width = checkpoint.shape(_HEAD, 2)
    objects, _ = checkpoint.shape(_OBJECT_HEAD, 2)
    zero_shot = _EVAL_HEAD in checkpoint.state
    for setting in published_settings():
        vocabulary = setting.vocabulary
        if (
            setting.zero_shot == zero_shot
            and rows == len(setting.seen)
            and objects == vocabulary.num_objects + vocabulary.has_missing_objects + 1
            and (not zero_shot or _holds_seen_rows(checkpoint, setting, width))
        ):
            break
    else:
        head = "rows of their own" if zero_shot else "no head over all classes"
        raise WeightsError(
            f"{checkpoint.path}: {rows} HOI classes with {head} and {objects} objects are of no "
            f"published setting ({', '.join(setting_names())})"
        )
    check_agrees(checkpoint, setting, asked)
    return setting


def _holds_seen_rows(checkpoint: Checkpoint, setting: Setting, width: int) -> bool:
    if checkpoint.shape(_EVAL_HEAD, 2) != (setting.vocabulary.num_hois, width):
        return False
    seen, every = (checkpoint.state[name].float() for name in (_HEAD, _EVAL_HEAD))
    return bool(((seen - every[torch.from_numpy(setting.seen)]).norm(dim=1) <= _SAME_ROW).all())


def _config(checkpoint: Checkpoint, arguments: Arguments) -> GenVlktModelConfig:
    shared = set_prediction_config(checkpoint, arguments, "transformer.interaction_decoder.")
    rate = "lr_clip" if arguments["ft_clip_with_small_lr"] else "lr"
    try:
        switches = GenVlktConfig(
            classifiers="frozen" if arguments["fix_clip"] else "trained",
            classifier_bias=True,
            classifier_start="text",
            lr_classifiers=float(arguments[rate]),
            mimic=float(arguments["mimic_loss_coef"]) if arguments["with_mimic"] else 0.0,
            mimic_layers="all",
            guidance="per_layer",
            position_guided=True,
        )
    except ValueError as error:
        raise WeightsError(f"{checkpoint.path}: its args make no training: {error}") from None
    return GenVlktModelConfig(**vars(shared), gen_vlkt=switches)


def _network(
    path: Path, setting: Setting, config: GenVlktModelConfig, renamed: Mapping[str, Tensor]
) -> GenVlkt:
    """The network of exactly these tensors, whose tables, where they are frozen, are CLIP's own."""
    vocabulary = setting.vocabulary
    objects = vocabulary.num_objects + vocabulary.has_missing_objects + 1
    width = renamed[f"{MODEL}hoi_classifier.table"].shape[1]
    with torch.device("meta"):
        tables = ClassEmbeddings(
            torch.empty(vocabulary.num_hois, width), torch.empty(objects, width)
        )
        network = GenVlkt(config, tables)
    check_fit(path, renamed, {MODEL + name: t for name, t in network.state_dict().items()})
    if config.gen_vlkt.classifiers == "frozen":
        for name in ("hoi_classifier.table", "object_classifier.classifier.table"):
            check_text_table(path, MODEL + name, renamed[MODEL + name])
    state = {name.removeprefix(MODEL): tensor.detach().float() for name, tensor in renamed.items()}
    network.load_state_dict(state, assign=True)
    return network


def gen_vlkt_key_map(zero_shot: bool) -> tuple[KeyMap, Mapping[str, str]]:
    """Key map of a released GEN-VLKT checkpoint, and what is dropped with the reason.

    Args:
        zero_shot: whether it has a training head over the seen classes beside the one over all.
    """
    head = "eval_visual_projection." if zero_shot else "visual_projection."
    key_map = {
        **_KEY_MAP,
        f"{head}weight": ("model.hoi_classifier.table",),
        f"{head}bias": ("model.hoi_classifier.bias",),
    }
    dropped = {"visual_projection.": TRAINING_HEAD} if zero_shot else {}
    return key_map, dropped
