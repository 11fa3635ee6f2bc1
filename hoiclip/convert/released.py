"""What the released codes of HOICLIP and of GEN-VLKT, which it grew from, have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hoiclip.batches.transforms import TransformsConfig
from hoiclip.checkpoints.pytorch import Checkpoint
from hoiclip.convert.pretrained.arguments import DETR, Arguments
from hoiclip.convert.pretrained.key_map import KeyMap
from hoiclip.convert.setting import Setting
from hoiclip.core.files import sha256_file
from hoiclip.errors import WeightsError

RELEASED: Mapping[str, Any] = {
    **DETR,
    "use_nms_filter": True,
    "thres_nms": 0.7,
    "nms_alpha": 1.0,
    "nms_beta": 0.5,
}
"""Those of HOICLIP and GEN-VLKT; HOICLIP's weight of the verb logits depends on the setting."""

RELEASED_KEY_MAP: KeyMap = {
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
"""Parts that both have by the same names."""

TRAINING_HEAD = "training head over the seen classes"
"""Why a zero-shot checkpoint's head of training is left out."""

RELEASED_TRANSFORMS = TransformsConfig(
    flip=0.5,
    color_jitter=0.4,
    scales=list(range(480, 801, 32)),
    crop_scales=[400, 500, 600],
    crop_sides=[384, 600],
    max_side=1333,
    test_scale=800,
)
RELEASED_TOP_K = 100

_KEPT_ARGS = (
    "dataset_file", "zero_shot_type", "frac", "lr", "epochs", "batch_size", "seed",
)  # fmt: skip
# A text table that went through float16 is this close to unit rows; a trained one is not.
_UNIT_TOLERANCE = 1e-2


def released_provenance(
    checkpoint: Checkpoint, setting: Setting, arguments: Arguments, dropped: Mapping[str, str]
) -> dict[str, Any]:
    """Where a converted model comes from, for its header."""
    return {
        "source": checkpoint.path.name,
        "sha256": sha256_file(checkpoint.path),
        "setting": setting.name,
        "args": {key: checkpoint.args[key] for key in _KEPT_ARGS if key in checkpoint.args},
        "arguments": arguments.provenance(),
        "dropped": dict(Counter(dropped.values())),
    }


def released_scores(arguments: Arguments, setting: Setting) -> dict[str, Any]:
    """How the released codes rank pairs, as `hoiclip.inference.predict.PredictConfig` names it."""
    nms = {
        "threshold": float(arguments["thres_nms"]) if arguments["use_nms_filter"] else 0.0,
        "human_power": float(arguments["nms_alpha"]),
        "object_power": float(arguments["nms_beta"]),
        "plus_one_extents": True,
    }
    # HOIA files, which they train on, have HICO-DET's boxes end at the last pixel inside.
    inclusive_boxes = not setting.vocabulary.has_missing_objects
    return {"nms": nms, "top_k": RELEASED_TOP_K, "inclusive_boxes": inclusive_boxes}


def check_text_table(path: Path, name: str, table: Tensor) -> None:
    """Checks that a frozen table is CLIP's: rows of unit length.

    Raises:
        WeightsError: some row is not.
    """
    worst = (table.norm(dim=-1) - 1).abs().max().item()
    if not worst <= _UNIT_TOLERANCE:
        raise WeightsError(
            f"{path}: rows of the tensor for {name} are not of unit length (off by "
            f"{worst:.2g}), so it is not CLIP's, as that of a frozen classifier has to be"
        )
