"""A DETR checkpoint → the file that `weights.detector` names."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from hoiclip.catalog.vocabularies import COCO_IDS, hico_det
from hoiclip.checkpoints.pytorch import Checkpoint
from hoiclip.convert.pretrained.arguments import DETR, read_arguments
from hoiclip.convert.pretrained.key_map import check_fit, rename
from hoiclip.convert.pretrained.report import Conversion
from hoiclip.convert.pretrained.sizes import detector_config
from hoiclip.core.files import atomic_file, sha256_file
from hoiclip.detr.file import DETR_HEADER
from hoiclip.errors import WeightsError
from hoiclip.model.detector_encoder import DetectorEncoder
from hoiclip.model.tensors import HEADER_KEY, read_safetensors
from hoiclip.set_prediction.model.instance_decoder import InstanceDecoder
from hoiclip.set_prediction.warm_start import DETR_FRESH, DETR_KEY_MAP

START_WEIGHTS_HEADS = ("class_embed.", "obj_class_embed.")
"""Heads that start weights have both of: DETR's own, and the one made of it."""

START_WEIGHTS = (
    "DETR start weights made by convert_parameters.py; give DETR's own file (or convert it), "
    "e.g. detr-r50-e632da11.pth"
)
"""What the script of QPIC, CDN, GEN-VLKT and HOICLIP makes of DETR's file for its own network."""

_HEADS = ("class_embed.", "query_embed.")
"""What detecting takes of DETR's, and starting does not."""

_OTHER_CLASSES = "its classes are not COCO's, so that nothing says what they are called"


def convert_detr(checkpoint: Checkpoint, dst: str | Path) -> Conversion:
    """Writes a DETR in this project's layout.

    Names stay DETR's, which `hoiclip.detr.file` and `hoiclip.set_prediction.warm_start`
    map; all decoder layers are kept. The class head loses the rows of COCO ids without a class; the
    header's `objects` names the others in order, after which comes 'nothing'. Its `model_detector`
    is what `model.detector` of params.yaml has to be, without settings of training. A head of other
    classes is left out, and the queries with it: such a file starts a training, but detects
    nothing.

    Args:
        checkpoint: of a DETR for boxes, e.g. DETR-R50 or DETR-R101 trained on COCO.
        dst: the `.safetensors` file to write.

    Raises:
        WeightsError: a tensor is unknown, missing or misshapen.
    """
    path, arguments = checkpoint.path, read_arguments(checkpoint, DETR)
    config = detector_config(checkpoint, arguments)
    layers = checkpoint.layers("transformer.decoder.layers.")
    key_map = {theirs: ours for theirs, ours in DETR_KEY_MAP.items() if ours}
    renamed, heads = rename(path, checkpoint.state, key_map, dict.fromkeys(_HEADS, _OTHER_CLASSES))
    kept = _coco_heads(checkpoint, config.width)
    check_fit(path, kept, kept)
    dropped = {name: why for name, why in heads.items() if name not in kept}
    with torch.device("meta"):
        encoder = DetectorEncoder(config)
        decoder = InstanceDecoder(config, num_queries=1, layers=layers)
    expected = {"encoder." + k: v for k, v in encoder.state_dict().items()}
    expected |= {"instance_decoder." + k: v for k, v in decoder.state_dict().items()}
    filled_by_detr = tuple(ours for group in key_map.values() for ours in group)
    check_fit(path, renamed, {k: v for k, v in expected.items() if k.startswith(filled_by_detr)})
    provenance = {
        "source": path.name,
        "sha256": sha256_file(path),
        "model_detector": config.sizes(),
        "arguments": arguments.provenance(),
        "dropped": sorted(dropped),
        "fresh": dict(DETR_FRESH),
        "objects": list(hico_det().objects) if kept else None,
    }
    tensors = {
        name: tensor.detach().float().clone().contiguous()
        for name, tensor in {**checkpoint.state, **kept}.items()
        if name not in dropped
    }
    with atomic_file(dst) as aside:
        save_file(tensors, aside, {DETR_HEADER: json.dumps(provenance, sort_keys=True)})
        aside.chmod(0o644)  # which safetensors makes private
    return Conversion(Path(dst), "detr", None, dropped, dict(DETR_FRESH), provenance)


def _coco_heads(checkpoint: Checkpoint, width: int) -> dict[str, Tensor]:
    """Queries and class head of a DETR of COCO's classes; empty for another one.

    The head's rows are COCO's ids from 0, of which some are no class, and 'nothing'.
    """
    nothing = COCO_IDS[-1] + 1
    state = checkpoint.state
    queries = state.get("query_embed.weight", torch.empty(0))
    shapes = {"class_embed.weight": (nothing + 1, width), "class_embed.bias": (nothing + 1,)}
    fitting = all(k in state and tuple(state[k].shape) == shape for k, shape in shapes.items())
    if not fitting or queries.dim() != 2 or queries.shape[1] != width or not len(queries):
        return {}
    rows = torch.tensor([*COCO_IDS, nothing])
    return {"query_embed.weight": queries} | {name: state[name][rows] for name in shapes}


def check_detr_file(path: str | Path) -> None:
    """Checks that a safetensors file holds a DETR, as `convert_detr` writes it.

    Raises:
        WeightsError: absent, damaged, or with a tensor that no DETR has.
    """
    state, metadata = read_safetensors(path)
    if all(any(name.startswith(head) for name in state) for head in START_WEIGHTS_HEADS):
        raise WeightsError(f"{path}: {START_WEIGHTS}")
    strange = [name for name in state if not name.startswith(tuple(DETR_KEY_MAP))]
    if strange or not state:
        what = "a model file of a method" if HEADER_KEY in metadata else "no DETR"
        raise WeightsError(
            f"{path}: {what} (tensor {min(strange, default=None)}). weights.detector names a DETR, "
            "as released or as `hoiclip convert` writes it"
        )
