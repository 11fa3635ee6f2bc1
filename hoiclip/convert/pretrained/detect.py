"""What a foreign file is, and its conversion by the converters at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hoiclip.checkpoints.clip import convert_clip
from hoiclip.checkpoints.pytorch import WRAPPERS, Checkpoint, checkpoint_of, load_pickle
from hoiclip.checkpoints.torchscript import is_torchscript
from hoiclip.convert.pretrained.detr import START_WEIGHTS, START_WEIGHTS_HEADS, convert_detr
from hoiclip.convert.pretrained.kinds import KINDS
from hoiclip.convert.pretrained.report import Conversion
from hoiclip.convert.pretrained.verb_file import convert_verb_file
from hoiclip.core.files import sha256_file
from hoiclip.errors import WeightsError

_NO_METHOD = ("detr", "clip", "verb")
_SUFFIX = dict.fromkeys(KINDS, ".safetensors") | {"verb": ".parquet"}

Released = Mapping[str, Callable[[Checkpoint, Path, str | None], Conversion]]
"""Kind of a released model of a method → its converter: checkpoint, file to write, setting."""

# Prefixes of tensor names that this kind has, all of them, and no kind below it has.
_SIGNS = {
    ("transformer.clip_interaction_decoder.",): "official",
    START_WEIGHTS_HEADS: START_WEIGHTS,
    ("transformer.decoder.", "verb_class_embed."): "a checkpoint of QPIC or CDN, whose pairs are "
    "other networks; give DETR's own file",
    ("transformer.instance_decoder.", "transformer.interaction_decoder."): "gen_vlkt",
    ("transformer.level_embed",): "a Deformable DETR; give a DETR, e.g. detr-r50-e632da11.pth",
    ("transformer.decoder.",): "detr",
    ("detr.", "mask_head."): "a DETR for panoptic segmentation; give the one for boxes",
    ("model.backbone.", "class_labels_classifier."): "a DETR of Hugging Face's transformers, whose "
    "tensors have other names; give the original's file, e.g. detr-r50-e632da11.pth",
    ("visual.",): "clip",
}


def convert_file(
    src: str | Path,
    dst: str | Path,
    released: Released,
    kind: str | None = None,
    setting: str | None = None,
    dilation: bool | None = None,
    clip_model: str | None = None,
) -> Conversion:
    """Converts a foreign file; `dst` is written whole or not at all.

    Args:
        src: released HOICLIP or GEN-VLKT checkpoint, DETR checkpoint, CLIP weights, or `verb.pth`.
        dst: `.safetensors`, or `.parquet` for verb vectors.
        released: converters of methods' models; files of other methods are refused by name.
        kind: one of `KINDS` that `src` has to be, or None for whatever it is.
        setting: published setting that a released checkpoint has to be of, or None.
        dilation: whether the backbone's last stage is dilated ("DC5"), for a checkpoint that does
            not say so itself, as DETR's; None takes its word, or no dilation.
        clip_model: open_clip's name of a CLIP, e.g. `ViT-B-32-quickgelu`; its sizes follow.

    Raises:
        WeightsError: one line: not such a file, of another kind or setting, truncated, with objects
            that are not read, or with a tensor that does not fit.
    """
    src, dst = Path(src), Path(dst)
    if kind not in (None, *KINDS):
        raise WeightsError(f"unknown kind {kind!r}; known are {', '.join(KINDS)}")
    if kind == "clip" or (kind is None and src.is_file() and is_torchscript(src)):
        return _convert_clip(src, dst, clip_model)
    if src.suffix in (".safetensors", ".parquet"):
        raise WeightsError(f"{src}: a {src.suffix} file is taken as it is, without conversion")
    content = load_pickle(src)
    checkpoint = checkpoint_of(src, content)
    found = _kind(src, content, checkpoint)
    if kind not in (None, found):
        raise WeightsError(f"{src}: its kind is {found!r} ({KINDS[found]}), not {kind!r}")
    if found not in (*_NO_METHOD, *released):
        raise WeightsError(f"{src}: {KINDS[found]}; no such file is taken here")
    if setting is not None and found in _NO_METHOD:
        raise WeightsError(f"{src}: a file of kind {found!r} has no setting; leave it out")
    if dst.suffix != _SUFFIX[found]:
        raise WeightsError(f"{dst}: kind {found!r} becomes a {_SUFFIX[found]} file; name it so")
    if found == "clip":
        return _convert_clip(src, dst, clip_model)
    if found == "verb" or checkpoint is None:
        return convert_verb_file(src, content, dst)
    if dilation is not None:
        if checkpoint.args.get("dilation", dilation) != dilation:
            raise WeightsError(f"{src}: its args say dilation {not dilation}, not {dilation}")
        checkpoint = replace(checkpoint, args={**checkpoint.args, "dilation": dilation})
    if found == "detr":
        return convert_detr(checkpoint, dst)
    return released[found](checkpoint, dst, setting)


def _convert_clip(src: Path, dst: Path, model_name: str | None) -> Conversion:
    if dst.suffix != _SUFFIX["clip"]:
        raise WeightsError(f"{dst}: kind 'clip' becomes a {_SUFFIX['clip']} file; name it so")
    convert_clip(src, dst, model_name)
    provenance = {"source": src.name, "model": model_name, "sha256": sha256_file(src)}
    return Conversion(dst, "clip", provenance=provenance)


def _kind(src: Path, content: Any, checkpoint: Checkpoint | None) -> str:
    if torch.is_tensor(content):
        return "verb"
    if checkpoint is None:
        keys = ", ".join(WRAPPERS)
        raise WeightsError(f"{src}: holds no state dict (name → tensor), bare or under {keys}")
    for prefixes, kind in _SIGNS.items():
        if all(any(name.startswith(p) for name in checkpoint.state) for p in prefixes):
            if kind not in KINDS:
                raise WeightsError(f"{src}: {kind}")
            return kind
    first = next(iter(checkpoint.state))
    raise WeightsError(
        f"{src}: no checkpoint of HOICLIP, GEN-VLKT or DETR; its first tensor is {first}"
    )
